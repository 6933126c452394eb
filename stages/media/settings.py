"""What can be made of a video's frames, as a run's configuration says it. Planning reads this."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stages.contract import Json, StageConfig
from stages.media.presets import CLIP_PRESETS, FramePreset
from stages.media.timelines import Tail
from stages.media.weights import name_clip_weights, name_weights

# Labels of the artifacts.
S3D, CLIP, RESNET = "features.s3d", "features.clip", "features.resnet"
FRAMES, THUMBNAILS = "frames", "thumbnails"

Precision = Literal["float32", "bfloat16"]
Arithmetic = Literal["float", "int8"]

_INT8_ROWS = "int8.2"
"""In recipes. 2: a gate and the rounding behind it are one multiplication."""

Recipe = dict[str, Json]
"""What decides a backbone's rows beside the videos and how they are decoded: `preset`, `weights`, `batch_size`."""


class S3DConfig(StageConfig):
    """The frozen S3D-G network.

    Attributes:
        preset: how a video becomes clips (`stages.media.presets.CLIP_PRESETS`).
        weights: file in the HowTo100M layout; none: a seeded He initialisation, named `random:seed=N` everywhere.
        sha256: the file's checksum; it is compared before the weights are used.
        seed: of the initialisation.
        batch_size: clips that the network is given at once; on a CPU it takes those of 224 pixels one by one, and 1
            shares them best among threads.
        arithmetic: of the convolutions: `float` in the precision of the run; or `int8`, whole numbers of eight bits,
            for a CPU with AVX2: faster, most of all with VNNI, for rows of cosine 0.9998 and more to float32's.
    """

    preset: str = "demo"
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=4, ge=1)
    arithmetic: Arithmetic = "float"

    @model_validator(mode="after")
    def _check(self) -> "S3DConfig":
        if self.preset not in CLIP_PRESETS:
            raise ValueError(f"preset: got {self.preset!r}, expected one of {', '.join(sorted(CLIP_PRESETS))}")
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 is given without weights; give the path of the file that it belongs to")
        return self

    def recipe(self) -> Recipe:
        """See `Recipe`."""
        weights = name_weights(self.weights, self.sha256, self.seed)
        recipe = {"preset": asdict(CLIP_PRESETS[self.preset]), "weights": weights, "batch_size": self.batch_size}
        # Left out where it is `float`: rows made before there was a choice are still those of their recipe.
        return recipe if self.arithmetic == "float" else {**recipe, "arithmetic": _INT8_ROWS}


class ClipConfig(StageConfig):
    """The frozen image tower of a CLIP or SigLIP model.

    Attributes:
        model: a folder in the hub's layout, or a hub id.
        fps: rows a second.
        batch_size: frames that the network sees at once.
    """

    model: str
    fps: float = Field(default=1.0, gt=0, le=60)
    batch_size: int = Field(default=8, ge=1)

    @property
    def preset(self) -> FramePreset:
        """How a video becomes images."""
        return FramePreset(name="clip", fps=self.fps)

    def recipe(self) -> Recipe:
        """See `Recipe`."""
        weights = name_clip_weights(self.model)
        return {"preset": asdict(self.preset), "weights": weights, "batch_size": self.batch_size}


class ResNetWeights(StageConfig):
    """Which ResNet.

    Attributes:
        size: how deep it is; `tiny` is for trials and was never published.
        weights: file in torchvision's, MoCo's, VCLR's or our own layout; none: a seeded He initialisation.
        sha256: the file's checksum; it is compared before the weights are used.
        seed: of the initialisation.
    """

    size: Literal["resnet50", "resnet101", "resnet152", "tiny"] = "resnet50"
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_sha256(self) -> "ResNetWeights":
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 is given without weights; give the path of the file that it belongs to")
        return self

    @property
    def weights_name(self) -> str:
        """What artifacts call the weights.

        Raises:
            ConfigError: there is no such file.
        """
        return name_weights(self.weights, self.sha256, self.seed)


class ResNetConfig(ResNetWeights):
    """A frozen ResNet, one row a frame; the picture is VCLR's.

    Attributes:
        fps: rows a second.
        short_side: the short side is scaled to this many pixels.
        crop: side of the centre square that the network sees.
        batch_size: frames that the network sees at once.
    """

    fps: float = Field(default=1.0, gt=0, le=60)
    short_side: int = Field(default=256, ge=32)
    crop: int = Field(default=224, ge=32)
    batch_size: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _check_crop(self) -> "ResNetConfig":
        if self.crop > self.short_side:
            raise ValueError(f"crop is {self.crop}, but short_side is {self.short_side}; lower the one")
        return self

    @property
    def preset(self) -> FramePreset:
        """How a video becomes images."""
        return FramePreset(name="resnet", fps=self.fps)

    def recipe(self) -> Recipe:
        """See `Recipe`."""
        shape = {"size": self.size, "short_side": self.short_side, "crop": self.crop}
        preset = {**asdict(self.preset), **shape}
        return {"preset": preset, "weights": self.weights_name, "batch_size": self.batch_size}


class FramesConfig(StageConfig):
    """JPEGs of each video, for objectives that train on pixels.

    VCLR (arXiv:2108.02722) trains on the first 300 frames at 30 a second, of 340 x 256 pixels, and fills shorter videos
    up with their last frame; here a video holds no more than it has.

    Attributes:
        num_frames: pictures a video.
        fps: unset: they are spread evenly over the whole video. A number: they are its first ones at that rate; a
            video that ends before has fewer.
        width: pixels.
        height: pixels; a picture is stretched to both, as the published sets are.
        quality: of the JPEGs.
    """

    num_frames: int = Field(default=300, ge=1, le=100_000)
    fps: float | None = Field(default=None, gt=0, le=240)
    width: int = Field(default=340, ge=16, le=4096)
    height: int = Field(default=256, ge=16, le=4096)
    quality: int = Field(default=90, ge=1, le=95)


class OutputsConfig(StageConfig):
    """What is extracted of every video: all that decides a byte.

    Attributes:
        backbones: which features; each is an artifact of its own.
        s3d: settings of S3D-G.
        clip: settings of CLIP; needed if it is among the backbones.
        resnet: settings of ResNet.
        frames: JPEGs to train on; unset: none are made.
        thumbnails: whether to make one JPEG a search window.
        window_s: length of a search window, as embed has it.
        stride_s: from the start of a search window to the next.
        tail: what becomes of the end of a video (`stages.media.timelines.Tail`).
        decode: `all` frames; or `keyframes` alone, many times faster, for what wants about one frame a second (CLIP,
            ResNet, frames, thumbnails): rows, spans and times are then those of the nearest keyframes.
        decoder: `pyav`, `decord`, `ffmpeg`, or `torchcodec` where it imports; keyframes are PyAV's.
        precision: of the networks; bfloat16 on a CPU needs avx512_bf16 or amx_bf16.
        device: where they run.
    """

    backbones: tuple[Literal["s3d", "clip", "resnet"], ...] = ("s3d",)
    s3d: S3DConfig = S3DConfig()
    clip: ClipConfig | None = None
    resnet: ResNetConfig = ResNetConfig()
    frames: FramesConfig | None = None
    thumbnails: bool = True
    window_s: float = Field(default=8.0, gt=0)
    stride_s: float = Field(default=4.0, gt=0)
    tail: Tail = "keep"
    decode: Literal["all", "keyframes"] = "all"
    decoder: Literal["pyav", "decord", "ffmpeg", "torchcodec"] = "pyav"
    precision: Precision = "float32"
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _check(self) -> "OutputsConfig":
        if len(set(self.backbones)) != len(self.backbones) or not (self.backbones or self.frames):
            raise ValueError(
                f"backbones: got {list(self.backbones)}, expected some of 's3d', 'clip' and 'resnet', each once; none "
                "only with [extract.frames]"
            )
        if "clip" in self.backbones and self.clip is None:
            raise ValueError("backbones names 'clip', but [extract.clip] is missing; set its key 'model'")
        if self.s3d.arithmetic == "int8" and self.device != "cpu":
            raise ValueError("s3d.arithmetic = 'int8' is for a CPU; with device = 'cuda' set precision = 'bfloat16'")
        if self.decode == "keyframes" and ("s3d" in self.backbones or self.decoder != "pyav"):
            raise ValueError(
                "decode = 'keyframes' gives single frames, by the decoder 'pyav': leave 's3d' out here and extract "
                "it, as it needs all frames, in a run of its own"
            )
        return self
