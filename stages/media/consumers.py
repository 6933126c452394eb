"""What is made of a video's frames in its one pass: which times each consumer looks up, how large, and as what."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Geometry
from stages.media.presets import ClipPreset, FramePreset
from stages.media.timelines import Tail, Times, clip_spans, frame_times

THUMBNAIL_WIDTH = 160
"""Pixels."""

THUMBNAIL_QUALITY = 80
"""Of the JPEGs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What a consumer's plan depends on.

    Attributes:
        end_s: of the last frame, seconds.
        keyframes_s: (K,) float64 ascending, presentation times of the keyframes; only where those alone are decoded.
    """

    end_s: float
    keyframes_s: Times = field(default_factory=lambda: np.zeros(0), repr=False)

    def to_json(self) -> dict[str, Any]:
        """For a message."""
        return {"end_s": self.end_s, "keyframes_s": self.keyframes_s.tolist()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Clock":
        """The inverse; what else a message holds is passed over."""
        return cls(end_s=fields["end_s"], keyframes_s=np.array(fields["keyframes_s"], dtype=np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a consumer wants of one video.

    Attributes:
        spans: (N, 2) float64 seconds, half-open.
        times: (M,) float64 ascending look-ups without repeats.
        table: (N, F) int64, which of the look-ups each frame of each span is; ascending along both axes.
        padded: (N,) bool, spans that the video's end cuts short: their last frame is repeated.
    """

    spans: Times = field(repr=False)
    times: Times = field(repr=False)
    table: NDArray[np.int64] = field(repr=False)
    padded: NDArray[np.bool_] = field(repr=False)


class Consumer(Protocol):
    """One thing that is made of a video's frames in the pass."""

    @property
    def geometry(self) -> Geometry:
        """The picture size."""

    @property
    def quality(self) -> int | None:
        """Of the JPEGs that it wants; None: it wants pixels."""

    @property
    def frames_per_clip(self) -> int:
        """F."""

    def plan(self, clock: Clock) -> Plan:
        """Lay its spans over a video and say which frames they hold."""

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
        quality: of its JPEGs.
        most: spans that are kept, the first ones; None: all.
    """

    clip_s: float
    stride_s: float
    fps: float
    frames_per_clip: int
    tail: Tail
    geometry: Geometry
    quality: int | None = None
    most: int | None = None

    def plan(self, clock: Clock) -> Plan:
        """See `Consumer`. A time behind the end becomes one just before it: the last frame is repeated."""
        spans = clip_spans(clock.end_s, self.clip_s, self.stride_s, self.tail, tolerance_s=0.5 / self.fps)[: self.most]
        padded = spans[:, 1] - spans[:, 0] < self.clip_s - 1e-9
        return _join(spans, frame_times(spans, self.fps, self.frames_per_clip), padded, clock.end_s)

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "grid", **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadConsumer:
    """A fixed number of spans of one frame each, evenly over the whole video; see `Consumer`.

    Attributes:
        num_spans: N.
        geometry: the picture size.
        quality: of its JPEGs.
    """

    frames_per_clip: ClassVar[int] = 1

    num_spans: int
    geometry: Geometry
    quality: int | None = None

    def plan(self, clock: Clock) -> Plan:
        """See `Consumer`."""
        edges = np.linspace(0.0, clock.end_s, self.num_spans + 1)
        spans = np.stack([edges[:-1], edges[1:]], axis=1)
        return _join(spans, spans.mean(axis=1, keepdims=True), np.zeros(len(spans), np.bool_), clock.end_s)

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "spread", **asdict(self)}


def has_row(consumer: Consumer, clock: Clock, decoded_s: float) -> bool:
    """Whether a video of which frames decode up to `decoded_s` gets at least one span."""
    times = consumer.plan(clock).times
    return bool(len(times) and times[0] < decoded_s)


def clip_geometry(preset: ClipPreset) -> Geometry:
    """Return the picture size of S3D clips."""
    return Geometry(short_side=preset.short_side, crop=preset.crop)


def clip_consumer(preset: ClipPreset, tail: Tail) -> GridConsumer:
    """Make the consumer of S3D clips."""
    return GridConsumer(
        clip_s=preset.clip_s, stride_s=preset.stride_s, fps=preset.fps, frames_per_clip=preset.frames_per_clip,
        tail=tail, geometry=clip_geometry(preset),
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
        geometry=Geometry(width=THUMBNAIL_WIDTH), quality=THUMBNAIL_QUALITY,
    )  # fmt: skip


def frames_consumer(num_frames: int, fps: float | None, geometry: Geometry, quality: int) -> Consumer:
    """Make the consumer of training frames: spread over the video, or its first ones at a rate."""
    if fps is None:
        return SpreadConsumer(num_spans=num_frames, geometry=geometry, quality=quality)
    return GridConsumer(
        clip_s=1.0 / fps, stride_s=1.0 / fps, fps=fps, frames_per_clip=1, tail="keep", geometry=geometry,
        quality=quality, most=num_frames,
    )  # fmt: skip


def _join(spans: Times, wanted: Times, padded: NDArray[np.bool_], end_s: float) -> Plan:
    """Join equal look-ups: (N, F) times become a plan."""
    # Rounding to the microsecond joins times that two spans reach by different sums.
    rounded: Times = np.round(np.minimum(wanted, end_s - 2e-6), 6).astype(np.float64)
    times = np.unique(rounded)
    return Plan(spans=spans, times=times, table=np.searchsorted(times, rounded).astype(np.int64), padded=padded)
