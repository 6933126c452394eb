"""The rank metric as the published scorers compute it, for comparison with published tables only.

Source: fairseq MMPT `mmpt/evaluators/metric.py`, the same formula in MIL-NCE and HowTo100M. Each row of -S is
sorted; *every* position whose value equals the diagonal's exactly is appended to one flat list, and the metrics are
taken over that list. So a row with an m-way tie counts m times, and a row whose diagonal is NaN vanishes silently.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F64, I64


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyMetrics:
    """Published metrics of a square similarity matrix.

    Attributes:
        recall: k -> share of list entries with a position below k.
        median_rank: Median of the list + 1.
        num_entries: Length of the list; differs from the number of queries where there are ties or NaN.
    """

    recall: dict[int, float]
    median_rank: float
    num_entries: int


def legacy_metrics(similarity: NDArray[np.floating], *, ks: tuple[int, ...] = (1, 5, 10)) -> LegacyMetrics:
    """Score a matrix whose right answers stand on the diagonal, as published.

    Args:
        similarity: (N, N) float, rows = queries.
        ks: Cut-offs.

    Returns:
        The metrics over the flat list of positions.

    Raises:
        ValueError: if the matrix is not square, or every row's diagonal is NaN.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ValueError(f"similarity must be square, got {similarity.shape}")
    own = np.diag(similarity)[:, None]
    ties = (similarity == own).sum(axis=1)
    if ties.sum() == 0:
        raise ValueError("no row has a diagonal that is a number")
    return _of_positions((similarity > own).sum(axis=1), ties, ks)


def legacy_metrics_of_ranks(ranks: F64, num_equal: I64, *, ks: tuple[int, ...] = (1, 5, 10)) -> LegacyMetrics:
    """Score ranks as published, without the matrix that they came from; every query has one right answer.

    Args:
        ranks: (Q,) float64 by our own rule, Q >= 1.
        num_equal: (Q,) int64 wrong answers with the score of the right one.
        ks: Cut-offs.
    """
    greater = np.rint(ranks - 1.0 - 0.5 * num_equal).astype(np.int64)
    return _of_positions(greater, num_equal + 1, ks)


def _of_positions(first: I64, ties: I64, ks: tuple[int, ...]) -> LegacyMetrics:
    """The flat list: `ties` positions of each row, from `first` on."""
    within = np.arange(ties.sum()) - np.repeat(np.cumsum(ties) - ties, ties)
    positions = np.repeat(first, ties) + within
    return LegacyMetrics(
        recall={k: float(np.mean(positions < k)) for k in ks},
        median_rank=float(np.median(positions) + 1),
        num_entries=int(positions.size),
    )
