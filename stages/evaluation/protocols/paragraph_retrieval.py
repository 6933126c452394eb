"""Paragraph to video: which video shows these things, by exact scores of whole sequences.

Caption average forgets order; DTW, OTAM and Drop-DTW keep it: on the same queries they say what order is worth. DTW
must explain every window, OTAM may begin late and end early, Drop-DTW may leave out what fits nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.alignment.caption_average import caption_average_matrix
from models.alignment.drop_dtw import cost_percentile, drop_dtw_score_matrix
from models.alignment.dtw import dtw_score_matrix
from models.alignment.otam import otam_score_matrix
from stages.evaluation.records import F32, F64, EvaluatedVideo, EvaluationSet, ProtocolResult, RankedQueries
from stages.evaluation.scoring import ProtocolSettings, missing_counts, rank_queries, retrieval_scores, too_small

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
    why = too_small(evaluation)
    return [_by_scorer(key, evaluation, settings, why) for key in SCORINGS]


def _by_scorer(key: str, evaluation: EvaluationSet, settings: ProtocolSettings, why: str) -> ProtocolResult:
    scoring = SCORINGS[key]
    name = f"paragraph_to_video.{key}"
    ranked, similarity = (None, scoring.similarity) if why else _rank(scoring, evaluation.videos)
    return ProtocolResult(
        name=name,
        title=f"Paragraph → video, {scoring.label}",
        definition=_DEFINITION,
        similarity=similarity,
        scores=retrieval_scores(ranked, settings=settings, rng=settings.generator(name)) if ranked else (),
        ranked=ranked,
        num_units=len(ranked) if ranked else 0,
        missing=missing_counts(evaluation),
        not_evaluated=why,
    )


def _rank(scoring: SequenceScoring, videos: Sequence[EvaluatedVideo]) -> tuple[RankedQueries, str]:
    asked = [
        (paragraph_id, vectors, position)
        for position, video in enumerate(videos)
        for paragraph_id, vectors in paragraphs_of(video)
    ]
    texts, gallery = [vectors for _, vectors, _ in asked], [video.windows for video in videos]
    scorer, similarity = scoring.fitted(texts, gallery)
    scores = scorer(texts, gallery)
    ranked = rank_queries(
        lambda rows: scores[rows],
        query_ids=[paragraph_id for paragraph_id, _, _ in asked],
        gallery_ids=[video.video_id for video in videos],
        relevant=[np.array([position]) for _, _, position in asked],
    )
    return ranked, similarity
