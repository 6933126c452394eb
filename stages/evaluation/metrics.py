"""Ranks and what is computed from them, with one tie rule everywhere.

The rank of a right answer is 1 + the number of wrong answers with a greater score + half the number with an equal
one. A query with several right answers is judged by its best one; right answers never compete with each other, so
the j-th best of them has rank j + greater + half the equal, counted over wrong answers. NaN is an error: it has no
place in an order. The behaviour of the published scorers is in `legacy.py`.

Letters: Q queries, G gallery items, m right answers of a query.
"""

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F64

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]


def relevant_ranks(scores: Scores, relevant: Flags) -> list[F64]:
    """Rank every right answer of every query.

    Args:
        scores: (Q, G) float, greater is better; may hold infinities.
        relevant: (Q, G) bool, True where an item is a right answer; at least one a row.

    Returns:
        Q arrays (m_q,) float64, best first. The first entry is the query's rank.

    Raises:
        ValueError: if shapes differ, a score is NaN, or a query has no right answer.
    """
    if scores.ndim != 2 or scores.shape != relevant.shape:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape} must be (queries, gallery) and equal")
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise ValueError(f"query {row} has a NaN score: it has no rank; mend the scorer or the vectors")
    if not relevant.any(axis=1).all():
        row = int(np.flatnonzero(~relevant.any(axis=1))[0])
        raise ValueError(f"query {row} has no right answer in the gallery: leave it out and count it as missing")
    return [_rank_row(row, right) for row, right in zip(scores, relevant, strict=True)]


def _rank_row(scores: Scores, relevant: Flags) -> F64:
    right = np.sort(scores[relevant])[::-1]
    wrong = np.sort(scores[~relevant])
    greater = wrong.size - np.searchsorted(wrong, right, side="right")
    equal = np.searchsorted(wrong, right, side="right") - np.searchsorted(wrong, right, side="left")
    return np.arange(1, right.size + 1) + greater + 0.5 * equal


def ranks_of_targets(scores: Scores, targets: NDArray[np.integer]) -> F64:
    """Rank the one right answer of each query.

    Args:
        scores: (Q, G) float, greater is better.
        targets: (Q,) int, the column of the right answer.

    Returns:
        (Q,) float64 in [1, G].

    Raises:
        ValueError: as `relevant_ranks`, or a target outside the gallery.
    """
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} need one target a row, got {targets.shape}")
    if targets.size and (targets.min() < 0 or targets.max() >= scores.shape[1]):
        raise ValueError(f"targets must lie in [0, {scores.shape[1]}), got {targets.min()} to {targets.max()}")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: it has no rank; mend the scorer or the vectors")
    own = scores[np.arange(targets.size), targets][:, None]
    equal_others = (scores == own).sum(axis=1) - 1
    return np.asarray(1.0 + (scores > own).sum(axis=1) + 0.5 * equal_others, dtype=np.float64)


def discounted_gains(ranks: list[F64]) -> F64:
    """Return nDCG with binary gains, query by query.

    Args:
        ranks: Q arrays (m_q,) as `relevant_ranks` gives them.

    Returns:
        (Q,) float64 in (0, 1]: sum of 1 / log2(1 + rank) over the sum of the same for ranks 1..m.
    """
    gains = [np.sum(1.0 / np.log2(1.0 + row)) / np.sum(1.0 / np.log2(2.0 + np.arange(row.size))) for row in ranks]
    return np.array(gains, dtype=np.float64)
