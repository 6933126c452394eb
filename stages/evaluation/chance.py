"""What a random order scores: exact expectations, no simulation.

With G items of which m are right, the best right answer stands behind position r with probability
S(r) = prod_{i<r} (G - m - i) / (G - i); every level below follows from S.
"""

from collections.abc import Mapping

import numpy as np

from stages.evaluation.records import F64, I64


def survival(gallery_size: int, num_relevant: int) -> F64:
    """Probability that the best right answer of a random order has a rank above r, for r = 0..G.

    Args:
        gallery_size: G >= 1.
        num_relevant: m in [1, G].

    Returns:
        (G + 1,) float64, from 1 down to 0.

    Raises:
        ValueError: if m is not in [1, G].
    """
    if not 1 <= num_relevant <= gallery_size:
        raise ValueError(f"right answers must lie in [1, {gallery_size}], got {num_relevant}")
    taken = np.arange(gallery_size)
    factors = np.maximum(gallery_size - num_relevant - taken, 0) / (gallery_size - taken)
    return np.concatenate([[1.0], np.cumprod(factors)])


def mixed_survival(gallery_size: int, num_relevant: I64) -> F64:
    """Return `survival` averaged over queries: the distribution of a random query's rank.

    Args:
        gallery_size: G.
        num_relevant: (Q,) int64, Q >= 1.

    Returns:
        (G + 1,) float64.
    """
    counts, weights = np.unique(num_relevant, return_counts=True)
    total = np.zeros(gallery_size + 1)
    for count, weight in zip(counts.tolist(), weights.tolist(), strict=True):
        total += weight * survival(gallery_size, count)
    return total / num_relevant.size


def chance_levels(gallery_size: int, num_relevant: I64, *, ks: tuple[int, ...]) -> Mapping[str, float]:
    """Return the expectation of every retrieval metric under a random order.

    Args:
        gallery_size: G.
        num_relevant: (Q,) int64 right answers of each query.
        ks: Cut-offs of R@k; one beyond the gallery gives 1.

    Returns:
        `R@k` for each k, `median_rank` (of the distribution of a random query's rank: the mean of its lower and upper
        median), `mean_rank`, `MRR`, `nDCG`.
    """
    tail = mixed_survival(gallery_size, num_relevant)
    ranks = np.arange(1, gallery_size + 1)
    levels = {f"R@{k}": float(1.0 - tail[min(k, gallery_size)]) for k in ks}
    # A hair of slack: cumulative products miss an exact one half by rounding.
    lower = int(np.argmax(tail <= 0.5 + 1e-12))
    upper = int(np.argmax(tail < 0.5 - 1e-12))
    levels["median_rank"] = (lower + upper) / 2
    levels["mean_rank"] = float(tail[:-1].sum())
    levels["MRR"] = float(np.sum((tail[:-1] - tail[1:]) / ranks))
    levels["nDCG"] = _chance_gain(gallery_size, num_relevant)
    return levels


def _chance_gain(gallery_size: int, num_relevant: I64) -> float:
    """Every position is equally likely for every right answer, so the expected gain is m times the mean discount."""
    discounts = 1.0 / np.log2(2.0 + np.arange(gallery_size))
    ideal = np.cumsum(discounts)[num_relevant - 1]
    return float(np.mean(num_relevant * discounts.mean() / ideal))
