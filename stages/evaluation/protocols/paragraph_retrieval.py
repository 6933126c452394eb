"""Paragraph to video: which video shows these things, by exact scores of whole sequences.

Caption average forgets order; DTW, OTAM and Drop-DTW keep it: on the same queries they say what order is worth. DTW
must explain every window, OTAM may begin late and end early, Drop-DTW may leave out what fits nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.alignment.caption_average import caption_average_matrix
from models.alignment.drop_dtw import cost_percentile, drop_dtw_score_matrix
from models.alignment.dtw import dtw_score_matrix
from models.alignment.otam import otam_score_matrix
from stages.evaluation.records import F32, F64, EvaluatedVideo, EvaluationSet, ProtocolResult, RankedQueries
from stages.evaluation.retrieval import Definition, beside, ranked_result
from stages.evaluation.scoring import ProtocolSettings, ScoreRows, missing_counts, rank_queries, too_small

SequenceScorer = Callable[[Sequence[F32], Sequence[F32]], F64]
"""P texts (n, E) and V videos (m, E) -> (P, V) float64, greater is better."""

_DROP_PERCENT = 30.0
"""Of all costs of the set: a cell that is dearer than both of its drops is left out. Drop-DTW's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScoring:
    """One way to score a paragraph against a video.

    Attributes:
        label: Its name for people.
        similarity: Its definition in a sentence.
        scorer: The function; None if it is fitted to the set first (`fitted`).
    """

    label: str
    similarity: str
    scorer: SequenceScorer | None

    def fitted(self, texts: Sequence[F32], videos: Sequence[F32]) -> tuple[SequenceScorer, str]:
        """Settle what depends on the set, which is the drop cost.

        Args:
            texts: P arrays (n, E), at least one.
            videos: V arrays (m, E), at least one.

        Returns:
            The function, and the definition with every number in it.

        Raises:
            ValueError: a vector holds NaN.
        """
        if self.scorer is not None:
            return self.scorer, self.similarity
        price = cost_percentile(texts, videos, _DROP_PERCENT)
        return partial(drop_dtw_score_matrix, drop_clip=price, drop_sentence=price), (
            f"{self.similarity}; here {price:.5f} for a window as for a sentence"
        )


SCORINGS: dict[str, SequenceScoring] = {
    "caption_average": SequenceScoring(
        label="caption average",
        similarity="mean over sentences of the best window's cosine",
        scorer=caption_average_matrix,
    ),
    "dtw": SequenceScoring(
        label="DTW",
        similarity="hard DTW on 1 - cosine, minus the total cost over the cells on the path",
        scorer=dtw_score_matrix,
    ),
    "otam": SequenceScoring(
        label="OTAM",
        similarity="hard OTAM on 1 - cosine, both orientations, each total over its number of rows, added, negated",
        scorer=otam_score_matrix,
    ),
    "drop_dtw": SequenceScoring(
        label="Drop-DTW",
        similarity="Drop-DTW on 1 - cosine, minus the total cost over matched cells and dropped items; a drop costs "
        f"the {_DROP_PERCENT:g}th percentile of 1 - cosine over the set",
        scorer=None,
    ),
}
"""By the last part of the protocol's name."""

RERANKED_BY = "dtw"
"""How a query re-ranks the videos that the index offers."""

_DEFINITION = "query = a paragraph's sentences in order; gallery = every video of the split, all of its windows"


def paragraphs_of(video: EvaluatedVideo) -> list[tuple[str, F32]]:
    """Split a video's narrations into its paragraphs.

    Args:
        video: A video of the split.

    Returns:
        (paragraph id, vectors (n, E)) in order; empty without narrations.
    """
    found = []
    for index in np.unique(video.paragraph_index).tolist():
        found.append((f"{video.video_id}/p{index:03d}", video.narrations[video.paragraph_index == index]))
    return found


def paragraph_retrieval(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure paragraph -> video by every sequence scorer.

    Args:
        evaluation: The split.
        settings: Cut-offs and bootstrap.

    Returns:
        `paragraph_to_video.` `caption_average`, `dtw`, `otam`, `drop_dtw`.
    """
    missing = missing_counts(evaluation)
    if why := too_small(evaluation):
        return [
            _definition(key, scoring.similarity).result(not_evaluated=why, missing=missing)
            for key, scoring in SCORINGS.items()
        ]
    asked = _queries(evaluation.videos)
    return [_by_scorer(key, asked, evaluation.videos, settings, missing) for key in SCORINGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queries:
    """The paragraphs of the split: ids, sentence vectors, the position of each one's video, and what they say."""

    ids: tuple[str, ...]
    sentences: tuple[F32, ...]
    videos: tuple[int, ...]
    texts: Mapping[str, str]


def _queries(videos: Sequence[EvaluatedVideo]) -> _Queries:
    asked = [
        (paragraph_id, vectors, position)
        for position, video in enumerate(videos)
        for paragraph_id, vectors in paragraphs_of(video)
    ]
    said = {
        paragraph_id: " ".join(
            text
            for text, index in zip(video.texts, video.paragraph_index, strict=True)
            if paragraph_id == f"{video.video_id}/p{index:03d}"
        )
        for video in videos
        for paragraph_id, _ in paragraphs_of(video)
    }
    ids, sentences, positions = zip(*asked, strict=True)
    return _Queries(ids=ids, sentences=sentences, videos=positions, texts=said)


def _by_scorer(
    key: str,
    asked: _Queries,
    videos: Sequence[EvaluatedVideo],
    settings: ProtocolSettings,
    missing: Mapping[str, int],
) -> ProtocolResult:
    gallery = [video.windows for video in videos]
    scorer, similarity = SCORINGS[key].fitted(asked.sentences, gallery)

    def score_rows(rows: slice) -> F64:
        return scorer(asked.sentences[rows], gallery)

    ranked = _rank(asked, videos, score_rows)
    result = ranked_result(_definition(key, similarity), ranked, settings, missing=missing, texts=asked.texts)
    if key != RERANKED_BY or settings.index is None:
        return result
    offered = [settings.index.nominated(sentences) for sentences in asked.sentences]
    if any(offer is None for offer in offered):
        return result
    known = [offer for offer in offered if offer is not None]
    unseen = np.array([[video.video_id not in offer for video in videos] for offer, _ in known])
    found = _rank(asked, videos, lambda rows: np.where(unseen[rows], -np.inf, score_rows(rows)))
    return beside(result, known[0][1], found, settings)


def _rank(asked: _Queries, videos: Sequence[EvaluatedVideo], score_rows: ScoreRows) -> RankedQueries:
    return rank_queries(
        score_rows,
        query_ids=asked.ids,
        gallery_ids=[video.video_id for video in videos],
        relevant=[np.array([position]) for position in asked.videos],
    )


def _definition(key: str, similarity: str) -> Definition:
    return Definition(
        name=f"paragraph_to_video.{key}",
        title=f"Paragraph → video, {SCORINGS[key].label}",
        definition=_DEFINITION,
        similarity=similarity,
    )
