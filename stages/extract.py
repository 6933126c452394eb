"""extract: frozen features of every clip, frames to train on, and thumbnails, from one forward decode of each video.

Frames are decoded in a process that may be killed, ahead of the model, and reach it in bounded batches. A damaged
clip keeps its row, computed from what decoded, and is marked in the mask; whoever trains, indexes or scores leaves it
out. A batch never crosses videos and its tail is filled to the fixed size, so that a row does not depend on what
else is in the shard.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.artifacts.manifest import Video, read_videos
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError
from stages.media.presets import CLIP_PRESETS
from stages.media.settings import ClipConfig, FramesConfig, ResNetConfig, S3DConfig
from stages.media.sources import FRAME_FOLDER, FrameFolder, source_to_json
from stages.media.timelines import Tail

if TYPE_CHECKING:
    from stages.media.ahead import Job, Refused
    from stages.media.backbones import LoadedBackbone
    from stages.media.consumers import Consumer, GridConsumer
    from stages.media.geometry import Geometry
    from stages.media.makers import Maker, PassResult

SCHEMA_VERSION = 1
S3D, CLIP, RESNET = "features.s3d", "features.clip", "features.resnet"
FRAMES, THUMBNAILS = "frames", "thumbnails"
Backbone = Literal["s3d", "clip", "resnet"]
Precision = Literal["float32", "bfloat16"]


class ExtractConfig(StageConfig):
    """What is extracted, and how decoding is guarded.

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
        decoder: `pyav`, `decord` or `ffmpeg`.
        precision: of the networks; bfloat16 on a CPU needs avx512_bf16 or amx_bf16.
        device: where they run.
        threads: of torch, a worker; on CPU they decide the last bits, so they are part of what names the features.
        videos_per_shard: positions of the manifest in one unit of work, and in one tar.
        deadline_s: how long decoding may be silent before it is stopped.
        memory_mib: what a decode process may take.
        max_attempts: decode processes that one video may cost before it is quarantined.
    """

    backbones: tuple[Backbone, ...] = ("s3d",)
    s3d: S3DConfig = S3DConfig()
    clip: ClipConfig | None = None
    resnet: ResNetConfig = ResNetConfig()
    frames: FramesConfig | None = None
    thumbnails: bool = True
    window_s: float = Field(default=8.0, gt=0)
    stride_s: float = Field(default=4.0, gt=0)
    tail: Tail = "keep"
    decoder: Literal["pyav", "decord", "ffmpeg"] = "pyav"
    precision: Precision = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)
    videos_per_shard: int = Field(default=64, ge=1)
    deadline_s: float = Field(default=300.0, gt=0)
    memory_mib: int = Field(default=4096, ge=512)
    max_attempts: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "ExtractConfig":
        if len(set(self.backbones)) != len(self.backbones) or not (self.backbones or self.frames):
            raise ValueError(
                f"backbones: got {list(self.backbones)}, expected some of 's3d', 'clip' and 'resnet', each once; none "
                "only with [extract.frames]"
            )
        if "clip" in self.backbones and self.clip is None:
            raise ValueError("backbones names 'clip', but [extract.clip] is missing; set its key 'model'")
        return self


@dataclass(frozen=True)
class Extract(Stage):
    """Settings of extract.

    Attributes:
        config: what a run's file says of it.
        media: as ingest has it, a folder or a table of paths.
    """

    config: ExtractConfig
    media: Path

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 2  # 2: S3D in planar, channels-last form; rows differ from 1 in their last bits

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest: ids, positions, paths and content hashes."""
        return ("manifest",)

    def outputs(self) -> tuple[Output, ...]:
        """One `features` artifact a backbone, the frames, and the thumbnails."""
        recipes = make_recipes(self.config)
        return tuple(Output(label=label, schema=SCHEMA_VERSION, about=recipes[label]) for label in recipes)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit for each `videos_per_shard` positions that hold a video."""
        recipes = make_recipes(self.config)
        shards: dict[int, list[Video]] = defaultdict(list)
        videos = read_videos(inputs["manifest"])
        if not videos:
            raise ConfigError("[ingest] media: none of its files is a usable video; `fabula status` says why for each")
        for video in videos:
            shards[video.position // self.config.videos_per_shard].append(video)
        return [_unit(number, shards[number], recipes) for number in sorted(shards)]

    def open(self, inputs: Inputs) -> Worker:
        """Set the number of threads; networks are loaded when a unit first wants them."""
        return ExtractWorker(self.config, self.media.parent if self.media.is_file() else self.media)

    def resources(self) -> Resources:
        """Its threads, and the card."""
        return Resources(num_cpus=self.config.threads, num_gpus=1.0 if self.config.device == "cuda" else 0.0)


class ExtractWorker:
    """Decodes the videos of a unit once and feeds all that is made of them."""

    def __init__(self, config: ExtractConfig, folder: Path) -> None:
        import torch

        torch.set_num_threads(config.threads)
        if config.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("[extract] device = 'cuda': torch sees no CUDA device here; set device = 'cpu'")
        self._config = config
        self._folder = folder
        self._open = cache(lambda label: open_backbone(config, label))

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write one tar for each output that is wanted."""
        from stages.artifacts.shards import ShardWriter

        labels = sorted(out.wanted)
        makers = {label: self._maker(label) for label in labels}
        failures: list[Failure] = []
        with ExitStack() as stack:
            writers = {
                label: stack.enter_context(ShardWriter(out.create(label, f"shards/{label.rpartition('.')[2]}.tar")))
                for label in labels
            }
            for number, (video_id, end) in enumerate(self._decode(unit, out, list(makers.values()))):
                if isinstance(end, Failure):
                    failures.append(end)
                else:
                    for request, label in enumerate(labels):
                        makers[label].finish(writers[label], video_id, end, request)
                out.report((number + 1) / len(unit.inputs))
        for label in labels:
            out.describe(label, dict(makers[label].counts))
        return failures

    def close(self) -> None:
        """Nothing to do: decode processes end with their unit."""

    def _decode(self, unit: Unit, out: Out, makers: Sequence["Maker"]) -> Iterator[tuple[str, "PassResult | Failure"]]:
        """Feed the makers and say of each video how its pass ended; the makers then hold all of it."""
        from stages.media.ahead import Refused, decode_ahead
        from stages.media.attempts import AttemptLog
        from stages.media.process import IsolationSettings

        config = self._config
        isolation = IsolationSettings(deadline_s=config.deadline_s, memory_mib=config.memory_mib)
        log = AttemptLog(out.attempts_path(min(out.wanted)))
        for item in decode_ahead(self._jobs(unit, makers), isolation, log, max_attempts=config.max_attempts):
            if isinstance(item, Refused):
                yield item.input_id, _failure(item)
            elif item.header["kind"] == "plan":
                for maker in makers:
                    maker.begin(item.header["end_s"])
            elif item.header["kind"] == "batch":
                makers[item.header["request"]].add(item.header, item.payload)
            else:
                yield item.input_id, item.header["result"]

    def _jobs(self, unit: Unit, makers: Sequence["Maker"]) -> "list[Job]":
        from stages.media.ahead import Job

        consumers = [maker.consumer.to_json() for maker in makers]
        required = {label: consumer.to_json() for label, consumer in required_consumers(self._config).items()}
        common = {"decoder": self._config.decoder, "consumers": consumers, "required": required}
        return [
            Job(
                input_id=member["video_id"],
                arguments={**common, **member["source"], "path": str(self._folder / member["source"]["path"])},
            )
            for member in unit.payload["members"]
        ]

    def _maker(self, label: str) -> "Maker":
        from stages.media.makers import FeatureMaker, FeatureRecipe, FrameMaker, ThumbnailMaker

        config = self._config
        if label == THUMBNAILS:
            return ThumbnailMaker(thumbnail_consumer(config))
        if label == FRAMES and config.frames is not None:
            return FrameMaker(training_consumer(config.frames), config.frames.quality)
        loaded, recipe, backbone = self._open(label), make_recipes(config)[label], label.partition(".")[2]
        about = FeatureRecipe(backbone=backbone, preset=recipe["preset"]["name"], weights=recipe["weights"])
        consumer = make_consumer(config, label, loaded.geometry)
        return FeatureMaker(about, consumer, loaded.encode, batch_size=recipe["batch_size"])


def make_recipes(config: ExtractConfig) -> dict[str, dict[str, Any]]:
    """Everything that decides the bytes of each output beside the videos, by label."""
    how = config.model_dump(mode="json", include={"tail", "decoder", "precision", "device", "threads"})
    recipes: dict[str, dict[str, Any]] = {}
    for label, settings in ((S3D, config.s3d), (CLIP, config.clip), (RESNET, config.resnet)):
        if label.partition(".")[2] in config.backbones and settings is not None:
            recipes[label] = {**how, **settings.recipe()}
    if config.frames is not None:
        recipes[FRAMES] = {**config.frames.model_dump(mode="json"), "decoder": config.decoder}
    if config.thumbnails:
        recipes[THUMBNAILS] = config.model_dump(mode="json", include={"window_s", "stride_s", "decoder"})
    return recipes


def make_consumer(config: ExtractConfig, label: str, geometry: "Geometry | None" = None) -> "GridConsumer":
    """How the clips or images of a backbone lie on a video."""
    from stages.media.consumers import clip_consumer, image_consumer

    settings = {CLIP: config.clip, RESNET: config.resnet}.get(label)
    if settings is not None:
        return image_consumer(settings.preset, config.tail, geometry)
    return clip_consumer(CLIP_PRESETS[config.s3d.preset], config.tail, geometry)


def thumbnail_consumer(config: ExtractConfig) -> "GridConsumer":
    """Which pictures of a video become its thumbnails."""
    from stages.media.consumers import window_consumer

    return window_consumer(config.window_s, config.stride_s)


def training_consumer(config: FramesConfig) -> "Consumer":
    """Which pictures of a video become its frames to train on."""
    from stages.media.consumers import frames_consumer
    from stages.media.geometry import Geometry

    return frames_consumer(config.num_frames, config.fps, Geometry(width=config.width, height=config.height))


def required_consumers(config: ExtractConfig) -> "dict[str, Consumer]":
    """What every video must have something for, whatever is asked of a unit: the backbones, or else the frames."""
    if not config.backbones and config.frames is not None:
        return {FRAMES: training_consumer(config.frames)}
    return {label: make_consumer(config, label) for label in (f"features.{name}" for name in config.backbones)}


def open_backbone(config: ExtractConfig, label: str) -> "LoadedBackbone":
    """Load the network behind a features label; ConfigError if its weights are not what they should be."""
    from stages.media.backbones import load_clip, load_resnet, load_s3d

    precision, device = config.precision, config.device
    if label == CLIP and config.clip is not None:
        return load_clip(config.clip.model, precision=precision, device=device)
    if label == RESNET:
        return load_resnet(config.resnet, precision=precision, device=device)
    weights, preset = config.s3d, CLIP_PRESETS[config.s3d.preset]
    return load_s3d(preset, weights.weights, weights.sha256, weights.seed, precision=precision, device=device)


def _unit(number: int, videos: Sequence[Video], recipes: dict[str, dict[str, Any]]) -> Unit:
    contents = [[video.video_id, video.content_hash] for video in videos]
    return Unit(
        unit_id=f"{number:05d}",
        inputs=tuple(video.video_id for video in videos),
        payload={"members": [{"video_id": video.video_id, "source": _source(video)} for video in videos]},
        identities={label: {"settings": recipe, "videos": contents} for label, recipe in recipes.items()},
    )


def _source(video: Video) -> dict[str, Any]:
    """As a job is given it, its path still relative to the media folder."""
    path = Path(video.paths[0])
    if video.container != FRAME_FOLDER:
        return source_to_json(path)
    count = round(video.duration_s * video.frame_rate)
    return source_to_json(FrameFolder(path=path, frame_rate=video.frame_rate, num_frames=count))


def _failure(refused: "Refused") -> Failure:
    state, tried = ("quarantined", f" (after {refused.attempts} attempts)") if refused.attempts else ("failed", "")
    return Failure(input_id=refused.input_id, cause=refused.error.cause, message=f"{refused.error}{tried}", state=state)
