"""From scores and right answers to ranks, and from ranks to numbers with intervals and chance.

Every protocol goes through here, so that ties, intervals and chance mean the same everywhere.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.bootstrap import BootstrapSettings, bootstrap, means, medians
from stages.evaluation.chance import chance_levels
from stages.evaluation.metrics import discounted_gains, relevant_ranks
from stages.evaluation.records import F64, I64, EvaluationSet, RankedQueries, Score

_BLOCK_CELLS = 4_000_000
"""Scores that stand in memory at once; the whole matrix of a large set never does."""

ScoreRows = Callable[[slice], NDArray[np.floating]]
"""Rows of queries -> (rows, G) scores, greater is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolSettings:
    """What all protocols share.

    Attributes:
        ks: Cut-offs of R@k.
        seed: Of the bootstrap.
        bootstrap: Number of resamples and confidence.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    seed: int = 0
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)

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
    found: list[tuple[I64, I64, F64]] = []
    for rows in blocks:
        scores, flags = score_rows(rows), _flags(relevant[rows], len(gallery_ids))
        ranks += relevant_ranks(scores, flags)
        found.append(_best(scores, flags))
    targets, answers, own = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return RankedQueries(
        query_ids=tuple(query_ids),
        ranks=np.array([row[0] for row in ranks], dtype=np.float64),
        target_ids=tuple(gallery_ids[column] for column in targets.tolist()),
        scores=own,
        answer_ids=tuple(gallery_ids[column] for column in answers.tolist()),
        gains=discounted_gains(ranks),
        num_relevant=np.array([row.size for row in relevant], dtype=np.int64),
        gallery_size=len(gallery_ids),
    )


def _best(scores: NDArray[np.floating], flags: NDArray[np.bool_]) -> tuple[I64, I64, F64]:
    """Columns of the best right answer and of what came first, and the score of the former."""
    # A right answer may itself score minus infinity: then the first right one is named.
    order = np.where(flags, scores, -np.inf)
    best = np.where(np.isneginf(order.max(axis=1)), flags.argmax(axis=1), order.argmax(axis=1))
    return best, scores.argmax(axis=1), scores[np.arange(best.size), best].astype(np.float64)


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
