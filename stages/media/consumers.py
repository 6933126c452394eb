"""What is made of a video's frames in its one pass: which times each consumer looks up, and how large."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Geometry
from stages.media.presets import ClipPreset, FramePreset
from stages.media.timelines import Tail, Times, clip_spans, frame_times

THUMBNAIL_WIDTH = 160
"""Pixels."""


class Consumer(Protocol):
    """One thing that is made of a video's frames in the pass."""

    @property
    def geometry(self) -> Geometry:
        """The picture size."""

    @property
    def frames_per_clip(self) -> int:
        """F."""

    def spans(self, end_s: float) -> Times:
        """Lay its spans over a video that ends at `end_s`: (N, 2) float64 seconds."""

    def times(self, end_s: float) -> tuple[Times, NDArray[np.int64]]:
        """Plan its look-ups.

        Returns:
            (M,) float64 ascending times without repeats, and (N, F) int64: which of them each frame of each span is
            (spans that overlap share their frames). A time behind the end becomes one just before it: the last
            frame is repeated.
        """

    def to_json(self) -> dict[str, Any]:
        """For a decode process; `consumer_from_json` is the inverse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConsumer:
    """Spans of a fixed length at fixed distances; see `Consumer`.

    Attributes:
        clip_s: length of its spans, seconds.
        stride_s: from the start of a span to the next.
        fps: frames a second inside a span.
        frames_per_clip: F.
        tail: what becomes of the end of the video.
        geometry: the picture size.
        most: spans that are kept, the first ones; None: all.
    """

    clip_s: float
    stride_s: float
    fps: float
    frames_per_clip: int
    tail: Tail
    geometry: Geometry
    most: int | None = None

    def spans(self, end_s: float) -> Times:
        """See `Consumer`."""
        spans = clip_spans(end_s, self.clip_s, self.stride_s, self.tail, tolerance_s=0.5 / self.fps)
        return spans[: self.most]

    def times(self, end_s: float) -> tuple[Times, NDArray[np.int64]]:
        """See `Consumer`."""
        return _plan(frame_times(self.spans(end_s), self.fps, self.frames_per_clip), end_s)

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "grid", **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadConsumer:
    """A fixed number of spans of one frame each, evenly over the whole video; see `Consumer`.

    Attributes:
        num_spans: N.
        geometry: the picture size.
    """

    frames_per_clip: ClassVar[int] = 1

    num_spans: int
    geometry: Geometry

    def spans(self, end_s: float) -> Times:
        """See `Consumer`."""
        edges = np.linspace(0.0, end_s, self.num_spans + 1)
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def times(self, end_s: float) -> tuple[Times, NDArray[np.int64]]:
        """See `Consumer`."""
        return _plan(self.spans(end_s).mean(axis=1, keepdims=True), end_s)

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "spread", **asdict(self)}


_LAYOUTS: Mapping[str, type[GridConsumer] | type[SpreadConsumer]] = {"grid": GridConsumer, "spread": SpreadConsumer}


def consumer_from_json(fields: Mapping[str, Any]) -> Consumer:
    """Make the consumer that gave `to_json`."""
    layout, rest = fields["layout"], {name: value for name, value in fields.items() if name != "layout"}
    return _LAYOUTS[layout](**{**rest, "geometry": Geometry(**rest["geometry"])})


def has_row(consumer: Consumer, planned_s: float, decoded_s: float) -> bool:
    """Whether a video planned up to `planned_s` whose frames end at `decoded_s` gets at least one span."""
    times, _ = consumer.times(planned_s)
    return bool(len(times) and times[0] < decoded_s)


def clip_consumer(preset: ClipPreset, tail: Tail, geometry: Geometry | None = None) -> GridConsumer:
    """Make the consumer of S3D clips."""
    return GridConsumer(
        clip_s=preset.clip_s, stride_s=preset.stride_s, fps=preset.fps, frames_per_clip=preset.frames_per_clip,
        tail=tail, geometry=geometry or Geometry(),
    )  # fmt: skip


def image_consumer(preset: FramePreset, tail: Tail, geometry: Geometry | None = None) -> GridConsumer:
    """Make the consumer of CLIP images: spans of one frame each."""
    return GridConsumer(
        clip_s=preset.clip_s, stride_s=preset.clip_s, fps=preset.fps, frames_per_clip=1,
        tail=tail, geometry=geometry or Geometry(),
    )  # fmt: skip


def window_consumer(window_s: float, stride_s: float) -> GridConsumer:
    """Make the consumer of thumbnails: one picture in the middle of each search window."""
    return GridConsumer(
        clip_s=window_s, stride_s=stride_s, fps=1.0 / window_s, frames_per_clip=1, tail="keep",
        geometry=Geometry(width=THUMBNAIL_WIDTH),
    )  # fmt: skip


def frames_consumer(num_frames: int, fps: float | None, geometry: Geometry) -> Consumer:
    """Make the consumer of training frames: spread over the video, or its first ones at a rate."""
    if fps is None:
        return SpreadConsumer(num_spans=num_frames, geometry=geometry)
    return GridConsumer(
        clip_s=1.0 / fps, stride_s=1.0 / fps, fps=fps, frames_per_clip=1, tail="keep", geometry=geometry,
        most=num_frames,
    )  # fmt: skip


def _plan(wanted: Times, end_s: float) -> tuple[Times, NDArray[np.int64]]:
    """Join equal look-ups: (N, F) times to what `Consumer.times` gives."""
    # Rounding to the microsecond joins times that two spans reach by different sums.
    rounded: Times = np.round(np.minimum(wanted, end_s - 2e-6), 6).astype(np.float64)
    times = np.unique(rounded)
    return times, np.searchsorted(times, rounded).astype(np.int64)
