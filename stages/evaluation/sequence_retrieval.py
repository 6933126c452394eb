"""Texts of several sentences against whole videos, by every exact score of sequences: what order is worth.

Caption average forgets order; DTW, OTAM and Drop-DTW keep it. DTW must explain every window, OTAM may begin late and
end early, Drop-DTW may leave out what fits nothing. Letters: P texts, V videos, S sentences, N windows, E joint width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.alignment.drop_dtw import cost_percentile
from models.alignment.scorers import Scorer, Scorers
from stages.evaluation.records import F32, F64, ProtocolResult, RankedQueries
from stages.evaluation.retrieval import Definition, beside, ranked_result
from stages.evaluation.scoring import ProtocolSettings, ScoreRows, rank_queries

_DROP_PERCENT = 30.0
"""Of all costs of the set: a cell that is dearer than both of its drops is left out. Drop-DTW's own default."""

LABELS = {"caption_average": "caption average", "dtw": "DTW", "otam": "OTAM", "drop_dtw": "Drop-DTW"}
"""Every score by the last part of a protocol's name, as people call it, in the order of the tables."""

SIMILARITIES = {
    "caption_average": "mean over sentences of the best window's cosine",
    "dtw": "hard DTW on 1 - cosine, minus the total cost over the cells on the path",
    "otam": "hard OTAM on 1 - cosine, both orientations, each total over its number of rows, added, negated",
    "drop_dtw": "Drop-DTW on 1 - cosine, minus the total cost over matched cells and dropped items; a drop costs the "
    f"{_DROP_PERCENT:g}th percentile of 1 - cosine over the set",
}

RERANKED_BY = "dtw"
"""How a query re-ranks the videos that the index offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceQueries:
    """Texts that are asked for.

    Attributes:
        ids: P ids.
        sentences: P arrays (S, E).
        targets: P positions of the right video.
        texts: what they say, by id.
    """

    ids: tuple[str, ...]
    sentences: tuple[F32, ...]
    targets: tuple[int, ...]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceGallery:
    """Videos that are searched: V ids and arrays (N, E)."""

    ids: tuple[str, ...]
    windows: tuple[F32, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceWords:
    """How a protocol names what it measures.

    Attributes:
        prefix: of the results' names.
        title: of the results' titles.
        definition: see `ProtocolResult`.
    """

    prefix: str
    title: str
    definition: str

    def of(self, key: str, similarity: str) -> Definition:
        """The words of one score's result."""
        return Definition(
            name=f"{self.prefix}.{key}",
            title=f"{self.title}, {LABELS[key]}",
            definition=self.definition,
            similarity=similarity,
        )

    def not_evaluated(self, why: str, missing: Mapping[str, int]) -> list[ProtocolResult]:
        """Results that say why there is no number."""
        return [self.of(key, SIMILARITIES[key]).result(not_evaluated=why, missing=missing) for key in LABELS]


def fitted_scorer(key: str, scorers: Scorers, texts: Sequence[F32], videos: Sequence[F32]) -> tuple[Scorer, str]:
    """Settle what depends on the set, which is the drop cost.

    Args:
        key: which score.
        scorers: of the device.
        texts: P arrays (S, E), at least one.
        videos: V arrays (N, E), at least one.

    Returns:
        The function, and its definition with every number in it.

    Raises:
        ValueError: a vector holds NaN.
    """
    if key != "drop_dtw":
        scorer: Scorer = getattr(scorers, key)
        return scorer, SIMILARITIES[key]
    price = cost_percentile(texts, videos, _DROP_PERCENT)
    return partial(scorers.drop_dtw, drop_clip=price, drop_sentence=price), (
        f"{SIMILARITIES[key]}; here {price:.5f} for a window as for a sentence"
    )


def sequence_retrieval(
    words: SequenceWords,
    asked: SequenceQueries,
    gallery: SequenceGallery,
    settings: ProtocolSettings,
    missing: Mapping[str, int],
) -> list[ProtocolResult]:
    """Rank all videos for each text, by every score.

    Args:
        words: what it is called.
        asked: at least one.
        gallery: at least one.
        settings: cut-offs, bootstrap, scorers and index.
        missing: what could not take part.

    Returns:
        One result a score, in the order of `LABELS`.
    """
    return [_by_score(key, words, asked, gallery, settings, missing) for key in LABELS]


def _by_score(
    key: str,
    words: SequenceWords,
    asked: SequenceQueries,
    gallery: SequenceGallery,
    settings: ProtocolSettings,
    missing: Mapping[str, int],
) -> ProtocolResult:
    scorer, similarity = fitted_scorer(key, settings.scorers, asked.sentences, gallery.windows)

    def score_rows(rows: slice) -> F64:
        return scorer(asked.sentences[rows], gallery.windows)

    definition = words.of(key, similarity)
    result = ranked_result(definition, _rank(asked, gallery, score_rows), settings, missing=missing, texts=asked.texts)
    if key != RERANKED_BY or settings.index is None:
        return result
    offered, name = settings.index.offers(asked.sentences, gallery.ids, gallery.windows)

    def score_offered(rows: slice) -> F64:
        return np.where(offered[rows], score_rows(rows), -np.inf)

    return beside(result, name, _rank(asked, gallery, score_offered), settings)


def _rank(asked: SequenceQueries, gallery: SequenceGallery, score_rows: ScoreRows) -> RankedQueries:
    relevant = [np.array([target]) for target in asked.targets]
    return rank_queries(score_rows, query_ids=asked.ids, gallery_ids=gallery.ids, relevant=relevant)
