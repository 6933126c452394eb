"""What the frozen backbones are fed: presets as data. Their numbers are part of what names an artifact."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

S3DOutputName = Literal["video_embedding", "mixed_5c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPreset:
    """How a video becomes S3D clips.

    Attributes:
        name: as configurations give it.
        fps: frames looked up a second.
        frames_per_clip: F, even.
        stride_s: seconds from the start of a clip to the next.
        short_side: the short side is scaled to this many pixels, the long one in proportion, cut to int.
        crop: side of the centre square, pixels, even, <= short_side.
        l2_normalise: whether each row gets unit length.
        output: which output of the network a row is (512 or 1024 numbers).
    """

    name: str
    fps: float
    frames_per_clip: int
    stride_s: float
    short_side: int
    crop: int
    l2_normalise: bool
    output: S3DOutputName

    @property
    def clip_s(self) -> float:
        """Seconds that a clip covers."""
        return self.frames_per_clip / self.fps


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePreset:
    """How a video becomes single images: one row every 1/fps seconds, from the frame in the middle of them.

    Attributes:
        name: as samples name it: the backbone.
        fps: rows a second. The picture size belongs to the model.
    """

    name: str
    fps: float

    @property
    def clip_s(self) -> float:
        """Seconds that a row covers."""
        return 1.0 / self.fps


CLIP_PRESETS: Mapping[str, ClipPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # VideoCLIP's feature extractor (papers.md 2.3); its zero frames behind the end are repeats here.
            ClipPreset(
                name="videoclip", fps=30.0, frames_per_clip=30, stride_s=1.0, short_side=224, crop=224,
                l2_normalise=True, output="video_embedding",
            ),
            # MIL-NCE and the S3D author's advice: 32 frames at 10 fps. Clips adjoin (one row every 3.2 s), so that
            # each frame is computed once; rows are not normalised, as their zero-shot scores are dot products.
            ClipPreset(
                name="milnce", fps=10.0, frames_per_clip=32, stride_s=3.2, short_side=224, crop=224,
                l2_normalise=False, output="video_embedding",
            ),
            # Small enough for two cores and five minutes; random weights keep more in the 1024 mixed_5c channels.
            ClipPreset(
                name="demo", fps=8.0, frames_per_clip=16, stride_s=2.0, short_side=64, crop=64,
                l2_normalise=True, output="mixed_5c",
            ),
        )
    }
)  # fmt: skip
