"""Paragraph to video: which video shows these things, by the best window of each sentence and by exact hard DTW.

Caption average forgets order, DTW keeps it; the two on the same queries say what order is worth.
"""

from collections.abc import Callable, Sequence

import numpy as np

from models.alignment.caption_average import caption_average_matrix
from models.alignment.dtw import dtw_score_matrix
from stages.evaluation.records import F32, F64, EvaluatedVideo, EvaluationSet, ProtocolResult, RankedQueries
from stages.evaluation.scoring import ProtocolSettings, missing_counts, rank_queries, retrieval_scores, too_small

SequenceScorer = Callable[[Sequence[F32], Sequence[F32]], F64]
"""P texts (n, E) and V videos (m, E) -> (P, V) float64, greater is better."""

SCORERS: dict[str, tuple[str, str, SequenceScorer]] = {
    "caption_average": ("caption average", "mean over sentences of the best window's cosine", caption_average_matrix),
    "dtw": ("DTW", "hard DTW on 1 - cosine, minus the total cost over the cells on the path", dtw_score_matrix),
}
"""Key -> its name for people, its definition, the function."""

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
        `paragraph_to_video.caption_average` and `paragraph_to_video.dtw`.
    """
    why = too_small(evaluation)
    return [_by_scorer(key, evaluation, settings, why) for key in SCORERS]


def _by_scorer(key: str, evaluation: EvaluationSet, settings: ProtocolSettings, why: str) -> ProtocolResult:
    label, similarity, scorer = SCORERS[key]
    name = f"paragraph_to_video.{key}"
    ranked = None if why else _rank(scorer, evaluation.videos)
    return ProtocolResult(
        name=name,
        title=f"Paragraph → video, {label}",
        definition=_DEFINITION,
        similarity=similarity,
        scores=retrieval_scores(ranked, settings=settings, rng=settings.generator(name)) if ranked else (),
        ranked=ranked,
        num_units=len(ranked) if ranked else 0,
        missing=missing_counts(evaluation),
        not_evaluated=why,
    )


def _rank(scorer: SequenceScorer, videos: Sequence[EvaluatedVideo]) -> RankedQueries:
    asked = [
        (paragraph_id, vectors, position)
        for position, video in enumerate(videos)
        for paragraph_id, vectors in paragraphs_of(video)
    ]
    scores = scorer([vectors for _, vectors, _ in asked], [video.windows for video in videos])
    return rank_queries(
        lambda rows: scores[rows],
        query_ids=[paragraph_id for paragraph_id, _, _ in asked],
        gallery_ids=[video.video_id for video in videos],
        relevant=[np.array([position]) for _, _, position in asked],
    )
