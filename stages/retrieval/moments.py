"""From scores of windows to moments: which neighbours of a hit belong to it.

A moment is a peak and what stands above its half height: starting from the best window that was hit, neighbours that
touch it are taken in for as long as they score at least halfway between the video's median window and the peak (the
full width at half maximum of a signal). The rule has no threshold to tune and does not depend on how many windows
were retrieved, so that a small corpus, in which every window is a hit, still gets short moments.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Spans are sums of float64 strides: neighbours may miss each other by rounding, never by a microsecond.
_TOUCH_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Windows `[first, last]` of one video, the time that they cover in seconds, and the score of the best."""

    first: int
    last: int
    start_s: float
    end_s: float
    score: float


def half_height(scores: NDArray[np.float32], peak: float) -> float:
    """Halfway between the median of `scores` and `peak`: what stands out as much as that belongs to it."""
    return (float(np.median(scores)) + peak) / 2


def find_moments(scores: NDArray[np.float32], spans: NDArray[np.float64], hits: Collection[int]) -> list[Moment]:
    """The moments of one video, best first.

    Args:
        scores: float32 (N,), the query's score of every window, in order of time.
        spans: float64 (N, 2) seconds, half-open; starts and ends do not decrease.
        hits: Windows that were retrieved: each starts a moment unless it overlaps a better one.

    Returns:
        Moments that do not overlap each other; the earlier first when equally good.
    """
    moments: list[Moment] = []
    for window in sorted(hits, key=lambda window: (-scores[window], window)):
        start_s, end_s = spans[window]
        if any(start_s < moment.end_s - _TOUCH_S and moment.start_s < end_s - _TOUCH_S for moment in moments):
            continue
        moments.append(moment_around(scores, spans, window, within=range(len(scores)), taken=moments))
    return moments


def moment_around(
    scores: NDArray[np.float32],
    spans: NDArray[np.float64],
    peak: int,
    *,
    within: range,
    taken: Collection[Moment] = (),
) -> Moment:
    """The moment around a window.

    Args:
        scores: As in `find_moments`.
        spans: Likewise.
        peak: The window.
        within: Windows that may belong to it.
        taken: Better moments, at which it stops.
    """
    floor = half_height(scores, float(scores[peak]))

    def joins(window: int, neighbour: int) -> bool:
        if window not in within or scores[window] < floor:
            return False
        earlier, later = min(window, neighbour), max(window, neighbour)
        if spans[later, 0] > spans[earlier, 1] + _TOUCH_S:
            return False
        start_s, end_s = spans[window]
        return not any(start_s < m.end_s - _TOUCH_S and m.start_s < end_s - _TOUCH_S for m in taken)

    first = last = peak
    while joins(first - 1, first):
        first -= 1
    while joins(last + 1, last):
        last += 1
    # An approximate index may have missed the highest window, so the best of the moment is looked up.
    best = float(scores[first : last + 1].max())
    return Moment(first=first, last=last, start_s=float(spans[first, 0]), end_s=float(spans[last, 1]), score=best)
