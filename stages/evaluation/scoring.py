"""From scores and right answers to ranks, and from ranks to numbers with intervals and chance.

Every protocol goes through here, so that ties, intervals and chance mean the same everywhere.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.alignment.scorers import CPU, Scorers
from stages.evaluation.bootstrap import BootstrapSettings, bootstrap, means, medians, outcome_bootstrap
from stages.evaluation.chance import chance_levels
from stages.evaluation.checks import OCCURRENCE_K
from stages.evaluation.legacy import legacy_metrics_of_ranks
from stages.evaluation.metrics import discounted_gains, relevant_ranks
from stages.evaluation.records import F64, I64, EvaluationSet, Outcome, RankedQueries, Score

_BLOCK_CELLS = 4_000_000
"""Scores that stand in memory at once; the whole matrix of a large set never does."""

if TYPE_CHECKING:
    from stages.evaluation.approximate import ApproximateIndex

ScoreRows = Callable[[slice], NDArray[np.floating]]
"""Rows of queries -> (rows, G) scores, greater is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSettings:
    """What all protocols share.

    Attributes:
        ks: Cut-offs of R@k.
        seed: Of the bootstrap.
        bootstrap: Number of resamples and confidence.
        scorers: Of sequences, of the device that computes them.
        index: The run's index, if it is an approximate one: its effect on each number is then measured.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    seed: int = 0
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    scorers: Scorers = CPU
    index: "ApproximateIndex | None" = None

    def generator(self, protocol: str) -> np.random.Generator:
        """A generator of its own for each protocol: adding one changes no other's interval."""
        return np.random.default_rng([self.seed, zlib.crc32(protocol.encode())])


def rank_queries(
    score_rows: ScoreRows,
    *,
    query_ids: Sequence[str],
    gallery_ids: Sequence[str],
    relevant: Sequence[NDArray[np.int64]],
) -> RankedQueries:
    """Rank the right answers of every query, block by block.

    Args:
        score_rows: Gives the scores of a run of queries against the whole gallery.
        query_ids: Q ids.
        gallery_ids: G ids.
        relevant: Q arrays of gallery positions, each with at least one.

    Returns:
        One row a query.

    Raises:
        ValueError: if a score is NaN or a query has no right answer.
    """
    size = max(1, _BLOCK_CELLS // max(1, len(gallery_ids)))
    blocks = [slice(start, min(start + size, len(query_ids))) for start in range(0, len(query_ids), size)]
    ranks: list[F64] = []
    found: list[tuple[I64, I64, F64, I64]] = []
    occurrences = np.zeros(len(gallery_ids), dtype=np.int64)
    for rows in blocks:
        scores, flags = score_rows(rows), _flags(relevant[rows], len(gallery_ids))
        ranks += relevant_ranks(scores, flags)
        found.append(_best(scores, flags))
        occurrences += _occurrences(scores)
    targets, answers, own, equal = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return RankedQueries(
        query_ids=tuple(query_ids),
        ranks=np.array([row[0] for row in ranks], dtype=np.float64),
        target_ids=tuple(gallery_ids[column] for column in targets.tolist()),
        scores=own,
        answer_ids=tuple(gallery_ids[column] for column in answers.tolist()),
        gains=discounted_gains(ranks),
        num_relevant=np.array([row.size for row in relevant], dtype=np.int64),
        gallery_size=len(gallery_ids),
        num_equal=equal,
        occurrences=occurrences,
    )


def _best(scores: NDArray[np.floating], flags: NDArray[np.bool_]) -> tuple[I64, I64, F64, I64]:
    """Columns of the best right answer and of what came first, the former's score, and wrong answers equal to it."""
    # A right answer may itself score minus infinity: then the first right one is named.
    order = np.where(flags, scores, -np.inf)
    best = np.where(np.isneginf(order.max(axis=1)), flags.argmax(axis=1), order.argmax(axis=1))
    own = scores[np.arange(best.size), best]
    equal = ((scores == own[:, None]) & ~flags).sum(axis=1)
    return best, scores.argmax(axis=1), own.astype(np.float64), equal


def _occurrences(scores: NDArray[np.floating]) -> I64:
    """How often each item of the gallery is among the first ten of a query."""
    k = min(OCCURRENCE_K, scores.shape[1])
    first = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.bincount(first.ravel(), minlength=scores.shape[1]).astype(np.int64)


def _flags(relevant: Sequence[NDArray[np.int64]], gallery_size: int) -> NDArray[np.bool_]:
    flags = np.zeros((len(relevant), gallery_size), dtype=np.bool_)
    for row, columns in zip(flags, relevant, strict=True):
        row[columns] = True
    return flags


def retrieval_scores(
    ranked: RankedQueries, *, settings: ProtocolSettings, rng: np.random.Generator
) -> tuple[Score, ...]:
    """Return R@k, median and mean rank, MRR and nDCG with intervals over queries and chance.

    Args:
        ranked: At least one query.
        settings: Cut-offs and bootstrap.
        rng: Source of the resamples.

    Returns:
        The scores in the order of the tables.
    """
    ranks = ranked.ranks
    chance = chance_levels(ranked.gallery_size, ranked.num_relevant, ks=settings.ks)
    measured = [(f"R@{k}", (ranks <= k).astype(np.float64), means) for k in settings.ks]
    measured += [
        ("median_rank", ranks, medians),
        ("mean_rank", ranks, means),
        ("MRR", 1.0 / ranks, means),
        ("nDCG", ranked.gains, means),
    ]
    scores = []
    for name, values, statistic in measured:
        found = bootstrap(values, statistic, rng=rng, settings=settings.bootstrap)
        scores.append(Score(name=name, value=found.value, low=found.low, high=found.high, chance=chance[name]))
    return tuple(scores)


def with_legacy(scores: tuple[Score, ...], ranked: RankedQueries) -> tuple[Score, ...]:
    """Put the published rule of ties (R@k and median rank over a flat list) beside our own.

    Args:
        scores: of `retrieval_scores`.
        ranked: what they came from; every query has one right answer.
    """
    ks = tuple(int(score.name[2:]) for score in scores if score.name.startswith("R@"))
    published = legacy_metrics_of_ranks(ranked.ranks, ranked.num_equal, ks=ks)
    values = {f"R@{k}": value for k, value in published.recall.items()} | {"median_rank": published.median_rank}
    return tuple(replace(score, legacy=values.get(score.name)) for score in scores)


def outcome_score(
    outcome: Outcome,
    settings: ProtocolSettings,
    rng: np.random.Generator,
    *,
    chance: float | None = None,
    legacy: float | None = None,
    baselines: Mapping[str, float] = MappingProxyType({}),
) -> Score:
    """Return a metric that is no function of a rank, with its interval.

    Args:
        outcome: at least one unit.
        settings: bootstrap.
        rng: source of the resamples.
        chance: what guessing gives.
        legacy: what the published scorer gives.
        baselines: what simpler ways give, by name.
    """
    found = outcome_bootstrap(outcome, rng=rng, settings=settings.bootstrap)
    return Score(
        name=outcome.metric,
        value=found.value,
        low=found.low,
        high=found.high,
        chance=chance,
        legacy=legacy,
        baselines=dict(baselines),
    )


def too_small(evaluation: EvaluationSet) -> str:
    """Why a set holds too little for any retrieval, or an empty string."""
    with_text = sum(1 for video in evaluation.videos if video.narration_ids)
    if with_text >= 2:
        return ""
    return (
        f"the split {evaluation.split!r} has {with_text} videos with both features and narrations "
        f"({len(evaluation.without_features)} without features, {len(evaluation.without_narrations)} without "
        "narrations); retrieval needs at least 2"
    )


def missing_counts(evaluation: EvaluationSet) -> dict[str, int]:
    """What of the split no protocol can use."""
    return {
        "videos_without_features": len(evaluation.without_features),
        "videos_without_narrations": len(evaluation.without_narrations),
    }
