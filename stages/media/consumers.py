"""What is made of a video's frames in its one pass: which times each consumer looks up, and how large."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Geometry
from stages.media.presets import ClipPreset, FramePreset
from stages.media.timelines import Tail, Times, clip_spans, frame_times

THUMBNAIL_WIDTH = 160
"""Pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One thing that is made of a video's frames in the pass.

    Attributes:
        clip_s: length of its spans, seconds.
        stride_s: from the start of a span to the next.
        fps: frames a second inside a span.
        frames_per_clip: F.
        tail: what becomes of the end of the video.
        geometry: the picture size.
    """

    clip_s: float
    stride_s: float
    fps: float
    frames_per_clip: int
    tail: Tail
    geometry: Geometry

    def spans(self, end_s: float) -> Times:
        """Lay its spans over a video that ends at `end_s`: (N, 2) float64 seconds."""
        return clip_spans(end_s, self.clip_s, self.stride_s, self.tail, tolerance_s=0.5 / self.fps)

    def times(self, end_s: float) -> tuple[Times, NDArray[np.int64]]:
        """Plan its look-ups.

        Returns:
            (M,) float64 ascending times without repeats, and (N, F) int64: which of them each frame of each span is
            (spans that overlap share their frames). A time behind the end becomes one just before it: the last
            frame is repeated.
        """
        wanted = frame_times(self.spans(end_s), self.fps, self.frames_per_clip)
        # Rounding to the microsecond joins times that two spans reach by different sums.
        rounded: Times = np.round(np.minimum(wanted, end_s - 2e-6), 6).astype(np.float64)
        times = np.unique(rounded)
        return times, np.searchsorted(times, rounded).astype(np.int64)

    def has_row(self, planned_s: float, decoded_s: float) -> bool:
        """Whether a video planned up to `planned_s` whose frames end at `decoded_s` gets at least one span."""
        times, _ = self.times(planned_s)
        return bool(len(times) and times[0] < decoded_s)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Consumer":
        """Make one of its `dataclasses.asdict`."""
        return cls(**{**fields, "geometry": Geometry(**fields["geometry"])})


def clip_consumer(preset: ClipPreset, tail: Tail, geometry: Geometry | None = None) -> Consumer:
    """Make the consumer of S3D clips."""
    return Consumer(
        clip_s=preset.clip_s, stride_s=preset.stride_s, fps=preset.fps, frames_per_clip=preset.frames_per_clip,
        tail=tail, geometry=geometry or Geometry(),
    )  # fmt: skip


def image_consumer(preset: FramePreset, tail: Tail, geometry: Geometry | None = None) -> Consumer:
    """Make the consumer of CLIP images: spans of one frame each."""
    return Consumer(
        clip_s=preset.clip_s, stride_s=preset.clip_s, fps=preset.fps, frames_per_clip=1,
        tail=tail, geometry=geometry or Geometry(),
    )  # fmt: skip


def window_consumer(window_s: float, stride_s: float) -> Consumer:
    """Make the consumer of thumbnails: one picture in the middle of each search window."""
    return Consumer(
        clip_s=window_s, stride_s=stride_s, fps=1.0 / window_s, frames_per_clip=1, tail="keep",
        geometry=Geometry(width=THUMBNAIL_WIDTH),
    )  # fmt: skip
