"""What can be made of a video's frames: one section of a run's configuration each. Planning reads this."""

from pathlib import Path

from pydantic import Field, model_validator

from stages.contract import StageConfig
from stages.media.presets import CLIP_PRESETS


class S3DConfig(StageConfig):
    """The frozen S3D-G network.

    Attributes:
        preset: how a video becomes clips (`stages.media.presets.CLIP_PRESETS`).
        weights: file in the HowTo100M layout; none: a seeded He initialisation, named `random:seed=N` everywhere.
        sha256: the file's checksum; it is compared before the weights are used.
        seed: of the initialisation.
        batch_size: clips that the network is given at once; on a CPU it takes clips of 224 pixels one by one, and
            what a video's last batch lacks is computed for nothing, so 1 is best there.
    """

    preset: str = "demo"
    weights: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "S3DConfig":
        if self.preset not in CLIP_PRESETS:
            raise ValueError(f"preset: got {self.preset!r}, expected one of {', '.join(sorted(CLIP_PRESETS))}")
        if self.sha256 and self.weights is None:
            raise ValueError("sha256 is given without weights; give the path of the file that it belongs to")
        return self


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
