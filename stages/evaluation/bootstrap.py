"""How sure a number is: percentile bootstrap over queries, pairs, or pairs of several seeds.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Queries are
resampled as if independent; queries of one video are not quite, so intervals of clip retrieval are a little narrow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stages.evaluation.records import F64, I64

_BLOCK_CELLS = 2_000_000
"""Resampled indices that stand in memory at once."""

Statistic = Callable[[F64], F64]
"""(B, N) resampled values -> (B,) statistic of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic and its interval.

    Attributes:
        value: On the sample itself.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """How intervals are made.

    Attributes:
        num_resamples: Resamples; 2,000 gives the ends of a 95 % interval to about 2 % of its width.
        confidence: In (0, 1).
    """

    num_resamples: int = 2000
    confidence: float = 0.95


def means(values: F64) -> F64:
    """Row means: (B, N) -> (B,)."""
    return np.asarray(values.mean(axis=1))


def medians(values: F64) -> F64:
    """Row medians: (B, N) -> (B,)."""
    return np.asarray(np.median(values, axis=1))


def bootstrap(
    values: F64, statistic: Statistic, *, rng: np.random.Generator, settings: BootstrapSettings | None = None
) -> Estimate:
    """Estimate a statistic with its percentile interval.

    Args:
        values: (N,) float64, one a query or pair, N >= 1. With N = 1 the interval has no width.
        statistic: Works on rows.
        rng: Source of the resamples; the caller owns the seed.
        settings: Number of resamples and confidence.

    Returns:
        The statistic of `values` and the interval of its resamples.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    settings = settings or BootstrapSettings()
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values must be (N,) finite numbers with N >= 1, got shape {values.shape}")
    resampled = [statistic(values[rows]) for rows in _resamples(values.size, rng, settings.num_resamples)]
    outside = 50.0 * (1.0 - settings.confidence)
    low, high = np.percentile(np.concatenate(resampled), [outside, 100.0 - outside])
    return Estimate(value=float(statistic(values[None])[0]), low=float(low), high=float(high))


def paired_bootstrap(
    first: F64, second: F64, *, rng: np.random.Generator, settings: BootstrapSettings | None = None
) -> Estimate:
    """Estimate mean(first) - mean(second) when both were measured on the same queries or pairs.

    Args:
        first: (N,) float64.
        second: (N,) float64, in the same order.
        rng: Source of the resamples.
        settings: Number of resamples and confidence.

    Returns:
        The difference; an interval above 0 says that `first` is better on these queries.

    Raises:
        ValueError: if lengths differ, or as `bootstrap`.
    """
    if first.shape != second.shape:
        raise ValueError(f"paired values need one shape, got {first.shape} and {second.shape}")
    return bootstrap(first - second, means, rng=rng, settings=settings)


def pair_accuracy(choices: F64, *, rng: np.random.Generator, settings: BootstrapSettings | None = None) -> Estimate:
    """Estimate how often the right one of a pair is chosen, resampling pairs.

    Args:
        choices: (P, 2) float64: 1 right, 0 wrong, one half a tie; one column for each video's own paragraph. The two
            choices of a pair stay together, for they are not independent.
        rng: Source of the resamples.
        settings: Number of resamples and confidence.

    Returns:
        The mean over pairs.

    Raises:
        ValueError: if the shape is not (P, 2), or as `bootstrap`.
    """
    if choices.ndim != 2 or choices.shape[1] != 2:
        raise ValueError(f"choices must be (pairs, 2), got {choices.shape}")
    return bootstrap(choices.mean(axis=1), means, rng=rng, settings=settings)


def _resamples(num_values: int, rng: np.random.Generator, num_resamples: int) -> Iterator[I64]:
    block = max(1, _BLOCK_CELLS // num_values)
    for start in range(0, num_resamples, block):
        yield rng.integers(0, num_values, size=(min(block, num_resamples - start), num_values))
