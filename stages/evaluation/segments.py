"""DiDeMo's segments: the 21 runs of neighbouring five-second chunks, and how a ranking of them is judged.

Source: papers.md 7.6 (arXiv:1708.01641, LocalizingMoments utils/eval.py). Letters: K segments that fit a video.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.datasets.didemo import NUM_CHUNKS
from stages.datasets.records import MomentQuery
from stages.evaluation.records import F64

Segment = tuple[int, int]
"""First and last chunk, both inclusive, as the annotations give them."""

SINGLE = tuple((chunk, chunk) for chunk in range(NUM_CHUNKS))
SEGMENTS: tuple[Segment, ...] = (
    *SINGLE,
    *((first, last) for first in range(NUM_CHUNKS) for last in range(first + 1, NUM_CHUNKS)),
)
"""All 21 in the published order, in which equals are taken."""

PLACE = {segment: place for place, segment in enumerate(SEGMENTS)}

METRICS = ("rank1", "rank5", "mIoU")
_AGREEING = 3
"""So many of an annotator's answers are counted: the three that agree best of (mostly) four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedSegments:
    """The segments of one video as one description ranks them.

    Attributes:
        ranks: (21,) float64 in the order of SEGMENTS; infinite where a segment does not fit the video.
        first: the segment that came first.
    """

    ranks: F64
    first: Segment


def judge(ranked: RankedSegments, annotated: Sequence[Segment], *, ignore_absent: bool = False) -> tuple[float, ...]:
    """Judge one description.

    Args:
        ranked: its segments.
        annotated: one segment an annotator.
        ignore_absent: as published, leave out answers that do not fit the video instead of missing them.

    Returns:
        rank1, rank5 and mIoU.
    """
    ranks = sorted(float(ranked.ranks[PLACE[segment]]) for segment in annotated)
    if ignore_absent:
        ranks = [rank for rank in ranks if np.isfinite(rank)] or [np.inf]
    agreed = float(np.mean(ranks[:_AGREEING]))
    (overlaps,) = _best_overlaps([ranked.first], annotated)
    return float(agreed <= 1), float(agreed <= 5), float(overlaps)


def overlap(one: Segment, other: Segment) -> float:
    """Intersection over union of two segments, in chunks."""
    intersection = max(0, min(one[1], other[1]) + 1 - max(one[0], other[0]))
    union = max(one[1], other[1]) + 1 - min(one[0], other[0])
    return intersection / union if intersection else 0.0


def by_order(order: Sequence[Segment], fits: F64) -> RankedSegments:
    """Rank the segments that fit a video in a fixed order."""
    kept = [segment for segment in order if np.isfinite(fits[PLACE[segment]])]
    ranks = np.full(len(SEGMENTS), np.inf)
    ranks[[PLACE[segment] for segment in kept]] = np.arange(1, len(kept) + 1)
    return RankedSegments(ranks=ranks, first=kept[0])


def frequency_order(moments: Sequence[MomentQuery]) -> list[Segment]:
    """All segments, those that annotators chose most often first."""
    counts = Counter(segment for moment in moments for segment in moment.spans)
    return sorted(SEGMENTS, key=lambda segment: -counts[segment])


def chance(annotated: Sequence[Segment], fits: F64) -> tuple[float, ...]:
    """What a random order of the segments that fit scores: exact expectations of rank1, rank5 and mIoU."""
    present = [segment for segment, rank in zip(SEGMENTS, fits, strict=True) if np.isfinite(rank)]
    votes = tuple(sorted(Counter(segment for segment in annotated if segment in present).values(), reverse=True))
    overlaps = _best_overlaps(present, annotated)
    return (*_chance_of_ranks(votes, len(annotated), len(present)), float(overlaps.mean()))


def _best_overlaps(first: Sequence[Segment], annotated: Sequence[Segment]) -> F64:
    """For each segment that may come first, the mean of its three best overlaps with the annotators' segments."""
    found = _OVERLAPS[np.ix_([PLACE[segment] for segment in first], [PLACE[segment] for segment in annotated])]
    best: F64 = -np.sort(-found, axis=1)[:, :_AGREEING].mean(axis=1)
    return best


def _chance_of_ranks(votes: tuple[int, ...], num_answers: int, num_segments: int) -> tuple[float, float]:
    """How often the mean of the three best ranks is at most 1, and at most 5, over all orders of the segments."""
    wanted = min(_AGREEING, num_answers)
    within = (_chance_of_sum(votes, wanted, most * wanted, 1, num_segments) for most in (1, 5))
    return next(within), next(within)


@cache
def _chance_of_sum(votes: tuple[int, ...], wanted: int, most: int, rank: int, num_segments: int) -> float:
    """Probability that `wanted` more answers come at ranks whose sum is at most `most`, going down from `rank`.

    Args:
        votes: answers for each segment that is still to come, in descending order.
        wanted: answers that are still to come.
        most: what their ranks may sum up to.
        rank: the next one.
        num_segments: of the whole order.
    """
    if wanted == 0:
        return float(most >= 0)
    if not votes or wanted * rank > most or rank > num_segments:
        return 0.0
    num_left = num_segments - rank + 1
    total = (1 - len(votes) / num_left) * _chance_of_sum(votes, wanted, most, rank + 1, num_segments)
    for place, count in enumerate(votes):
        taken, rest = min(count, wanted), (*votes[:place], *votes[place + 1 :])
        total += _chance_of_sum(rest, wanted - taken, most - taken * rank, rank + 1, num_segments) / num_left
    return total


_OVERLAPS = np.array([[overlap(one, other) for other in SEGMENTS] for one in SEGMENTS])
