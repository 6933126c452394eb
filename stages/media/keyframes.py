"""Layouts for a pass that decodes keyframes alone: what lies between them is never seen, so times are theirs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.media.consumers import Clock, Consumer, Plan
from stages.media.geometry import Geometry
from stages.media.timelines import Times


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnKeyframes:
    """A consumer of single frames, told to take keyframes; see `consumers.Consumer`.

    Attributes:
        inner: says about which instants it wants frames.
    """

    inner: Consumer

    @property
    def geometry(self) -> Geometry:
        """See `Consumer`."""
        return self.inner.geometry

    @property
    def quality(self) -> int | None:
        """See `Consumer`."""
        return self.inner.quality

    @property
    def frames_per_clip(self) -> int:
        """See `Consumer`."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeRows(_OnKeyframes):
    """One span a keyframe, for features and frames: of those wanted, each once.

    A span begins at its keyframe's presentation time and lasts until the next span's, the last one until the end.
    """

    def plan(self, clock: Clock) -> Plan:
        """See `Consumer`."""
        starts = clock.keyframes_s[np.unique(_nearest(self.inner, clock))]
        ends = np.append(starts[1:], clock.end_s)[: len(starts)]
        table = np.arange(len(starts), dtype=np.int64)[:, None]
        return _plan(np.stack([starts, ends], axis=1), starts, table)

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "keyframe_rows", "inner": self.inner.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestKeyframes(_OnKeyframes):
    """The spans as they are, for thumbnails: each shows the keyframe that is nearest to the instant it wants."""

    def plan(self, clock: Clock) -> Plan:
        """See `Consumer`."""
        nearest = _nearest(self.inner, clock)
        chosen, table = np.unique(nearest, return_inverse=True)
        spans = self.inner.plan(clock).spans[: len(nearest)]
        return _plan(spans, clock.keyframes_s[chosen], table.reshape(-1, 1))

    def to_json(self) -> dict[str, Any]:
        """See `Consumer`."""
        return {"layout": "nearest_keyframes", "inner": self.inner.to_json()}


def _nearest(inner: Consumer, clock: Clock) -> NDArray[np.int64]:
    """Index of the keyframe nearest to each wanted instant, the earlier of two; empty if there are no keyframes."""
    if not len(clock.keyframes_s):
        return np.zeros(0, np.int64)
    plan = inner.plan(clock)
    between = (clock.keyframes_s[1:] + clock.keyframes_s[:-1]) / 2
    return np.searchsorted(between, plan.times[plan.table[:, 0]]).astype(np.int64)


def _plan(spans: Times, keyframes_s: Times, table: NDArray[np.int64]) -> Plan:
    # A look-up must not lie before its frame begins, whatever the rounding.
    times = np.ceil(keyframes_s * 1e6) / 1e6
    return Plan(spans=spans, times=times, table=table.astype(np.int64), padded=np.zeros(len(spans), np.bool_))
