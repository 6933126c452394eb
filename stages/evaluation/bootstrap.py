"""How sure a number is: percentile bootstrap over queries, pairs, queries crossed with seeds, or weighted units.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Queries are
resampled as if independent; queries of one video are not quite, so intervals of clip retrieval are a little narrow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.evaluation.records import F64, I64, Outcome

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
    return _estimate(float(statistic(values[None])[0]), resampled, settings)


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


def crossed_bootstrap(values: F64, *, rng: np.random.Generator, settings: BootstrapSettings | None = None) -> Estimate:
    """Estimate a mean over queries and over trainings, resampling both: what a new draw of either would give.

    Every resample draws S seeds and N queries, and takes the mean of all cells in which a drawn row meets a drawn
    column, for a query that is hard is hard for every seed. Source: Owen, "The pigeonhole bootstrap", Annals of
    Applied Statistics, 2007. With few seeds their part of the interval is itself uncertain.

    Args:
        values: (S, N) float64, one row a seed, the same queries in each; of a paired difference, the differences.
        rng: Source of the resamples.
        settings: Number of resamples and confidence.

    Raises:
        ValueError: the shape is not (S, N) with S and N at least 1, or a value is not finite.
    """
    settings = settings or BootstrapSettings()
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values must be (seeds, queries) finite numbers, at least one, got shape {values.shape}")
    num_seeds, num_queries = values.shape
    resampled = []
    for columns in _resamples(num_queries, rng, settings.num_resamples):
        by_seed = np.stack([row[columns].mean(axis=1) for row in values], axis=1)
        rows = rng.integers(0, num_seeds, size=(len(columns), num_seeds))
        resampled.append(np.take_along_axis(by_seed, rows, axis=1).mean(axis=1))
    return _estimate(float(values.mean()), resampled, settings)


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


def outcome_bootstrap(
    outcome: Outcome, *, rng: np.random.Generator, settings: BootstrapSettings | None = None
) -> Estimate:
    """Estimate a weighted mean, resampling units within their groups.

    Args:
        outcome: at least one unit.
        rng: Source of the resamples.
        settings: Number of resamples and confidence.

    Returns:
        The mean over groups of each group's weighted mean, and its interval.

    Raises:
        ValueError: there is no unit, a value is not finite, or a weight is not positive.
    """
    settings, mean = settings or BootstrapSettings(), _GroupedMean(outcome)
    return _estimate(mean.value, [mean(rows) for rows in mean.resamples(rng, settings.num_resamples)], settings)


def paired_outcome_bootstrap(
    first: Outcome, second: Outcome, *, rng: np.random.Generator, settings: BootstrapSettings | None = None
) -> Estimate:
    """Estimate the difference first - second of a metric that was measured on the same units.

    Args:
        first: at least one unit.
        second: the same units in the same order and groups.
        rng: Source of the resamples.
        settings: Number of resamples and confidence.

    Raises:
        ValueError: the units differ, or as `outcome_bootstrap`.
    """
    if (first.unit_ids, first.groups) != (second.unit_ids, second.groups):
        raise ValueError(f"paired outcomes of {first.metric} need the same units in the same order")
    settings, one, other = settings or BootstrapSettings(), _GroupedMean(first), _GroupedMean(second)
    resampled = [one(rows) - other(rows) for rows in one.resamples(rng, settings.num_resamples)]
    return _estimate(one.value - other.value, resampled, settings)


def outcome_value(outcome: Outcome) -> float:
    """The metric itself: the mean over groups of each group's weighted mean. Raises as `outcome_bootstrap`."""
    return _GroupedMean(outcome).value


class _GroupedMean:
    """An outcome in the order of its groups, so that one call gives the metric of many resamples."""

    def __init__(self, outcome: Outcome) -> None:
        values, weights = outcome.values, outcome.weights
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all() or not (weights > 0).all():
            raise ValueError(f"{outcome.metric}: values must be (U,) finite with U >= 1 and positive weights")
        groups = np.array(outcome.groups or [""] * values.size)
        order = np.argsort(groups, kind="stable")
        _, self._starts, self._sizes = np.unique(groups[order], return_index=True, return_counts=True)
        self._weighted, self._weights = (values * weights)[order], weights[order]

    @property
    def value(self) -> float:
        """On the units themselves."""
        return float(self(np.arange(self._weights.size)[None])[0])

    def __call__(self, rows: I64) -> F64:
        """(B, U) resampled units, group by group -> (B,)."""
        top = np.add.reduceat(self._weighted[rows], self._starts, axis=1)
        bottom = np.add.reduceat(self._weights[rows], self._starts, axis=1)
        return np.asarray((top / bottom).mean(axis=1))

    def resamples(self, rng: np.random.Generator, num_resamples: int) -> Iterator[I64]:
        """Blocks (B, U) of units, each drawn within its group."""
        block = max(1, _BLOCK_CELLS // self._weights.size)
        for start in range(0, num_resamples, block):
            count = min(block, num_resamples - start)
            groups = zip(self._starts.tolist(), self._sizes.tolist(), strict=True)
            yield np.concatenate([first + rng.integers(0, size, size=(count, size)) for first, size in groups], axis=1)


def _estimate(value: float, resampled: Sequence[F64], settings: BootstrapSettings) -> Estimate:
    outside = 50.0 * (1.0 - settings.confidence)
    low, high = np.percentile(np.concatenate(resampled), [outside, 100.0 - outside])
    return Estimate(value=value, low=float(low), high=float(high))


def _resamples(num_values: int, rng: np.random.Generator, num_resamples: int) -> Iterator[I64]:
    block = max(1, _BLOCK_CELLS // num_values)
    for start in range(0, num_resamples, block):
        yield rng.integers(0, num_values, size=(min(block, num_resamples - start), num_values))
