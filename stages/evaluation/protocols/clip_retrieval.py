"""Text to window and window to text over all windows of the split.

Which windows show a narration: those whose centre lies in its span. A narration is often shorter than the stride, so
that it may hold no centre; then the one window with the largest overlap (the earliest of equals) is right. A
narration that overlaps no window cannot be asked for, a window without narration cannot ask: both are counted.
Departs from the papers (7.2), whose clips are cut at the annotation's own borders: here a query must find the place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F32, F64, I64, EvaluatedVideo, EvaluationSet, ProtocolResult, RankedQueries
from stages.evaluation.scoring import (
    ProtocolSettings,
    ScoreRows,
    missing_counts,
    rank_queries,
    retrieval_scores,
    too_small,
)

_RIGHT = "right are the windows whose centre lies in the narration's span, or else the one that overlaps it most"
_DEFINITIONS = {
    "text_to_window": f"query = a narration; gallery = every window of the split; {_RIGHT}",
    "window_to_text": f"query = a window that shows a narration; gallery = every narration of the split; {_RIGHT}",
}
_TITLES = {"text_to_window": "Sentence → window", "window_to_text": "Window → sentence"}


def windows_of_narrations(window_spans: F64, narration_spans: F64) -> NDArray[np.bool_]:
    """Decide which windows show which narration.

    Args:
        window_spans: (N, 2) float64 seconds, half-open, in order of time.
        narration_spans: (S, 2) float64 seconds, half-open.

    Returns:
        (S, N) bool; a row without True is a narration that overlaps no window.
    """
    if not len(window_spans) or not len(narration_spans):
        return np.zeros((len(narration_spans), len(window_spans)), dtype=np.bool_)
    starts, ends = narration_spans[:, :1], narration_spans[:, 1:]
    centres = window_spans.mean(axis=1)[None]
    shown: NDArray[np.bool_] = (centres >= starts) & (centres < ends)
    overlap = np.minimum(ends, window_spans[None, :, 1]) - np.maximum(starts, window_spans[None, :, 0])
    best = overlap.argmax(axis=1)
    fallback = ~shown.any(axis=1) & (overlap.max(axis=1) > 0)
    shown[fallback, best[fallback]] = True
    return shown


def clip_retrieval(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure both directions of clip retrieval.

    Vectors are compared by inner product, as the index compares them; for an encoder that normalises that is the
    cosine.

    Args:
        evaluation: The split.
        settings: Cut-offs and bootstrap.

    Returns:
        `text_to_window` and `window_to_text`.
    """
    if too_small(evaluation):
        return [_result(name, evaluation, settings, None, missing_counts(evaluation)) for name in _DEFINITIONS]
    videos = evaluation.videos
    windows = np.concatenate([video.windows for video in videos])
    narrations = np.concatenate([video.narrations for video in videos if video.narration_ids])
    window_ids = [name for video in videos for name in video.window_ids]
    narration_ids = [name for video in videos for name in video.narration_ids]
    of_narration, of_window = _relevance(videos)
    return [
        _direction(
            "text_to_window", evaluation, settings, (narrations, windows), (narration_ids, window_ids), of_narration
        ),
        _direction(
            "window_to_text", evaluation, settings, (windows, narrations), (window_ids, narration_ids), of_window
        ),
    ]


def _relevance(videos: Sequence[EvaluatedVideo]) -> tuple[list[I64], list[I64]]:
    """Right windows of each narration and right narrations of each window, as positions in the whole split."""
    of_narration: list[I64] = []
    of_window: list[I64] = []
    first_window = first_narration = 0
    for video in videos:
        shown = windows_of_narrations(video.window_spans, video.narration_spans)
        of_narration += [np.flatnonzero(row) + first_window for row in shown]
        of_window += [np.flatnonzero(column) + first_narration for column in shown.T]
        first_window += len(video.window_ids)
        first_narration += len(video.narration_ids)
    return of_narration, of_window


def _direction(
    name: str,
    evaluation: EvaluationSet,
    settings: ProtocolSettings,
    vectors: tuple[F32, F32],
    ids: tuple[Sequence[str], Sequence[str]],
    relevant: Sequence[I64],
) -> ProtocolResult:
    asked = [row for row, right in enumerate(relevant) if right.size]
    what = "narrations_without_window" if name == "text_to_window" else "windows_without_narration"
    missing = missing_counts(evaluation) | {what: len(relevant) - len(asked)}
    ranked = None
    if asked:
        ranked = rank_queries(
            _inner_products(vectors[0][asked], vectors[1]),
            query_ids=[ids[0][row] for row in asked],
            gallery_ids=ids[1],
            relevant=[relevant[row] for row in asked],
        )
    return _result(name, evaluation, settings, ranked, missing)


def _inner_products(queries: F32, gallery: F32) -> ScoreRows:
    """Computed in float64, rounded to float32: neither the number of threads nor a place in the matrix breaks a tie."""
    wide_queries, wide_gallery = queries.astype(np.float64), gallery.astype(np.float64).T
    return lambda rows: (wide_queries[rows] @ wide_gallery).astype(np.float32)


def _result(
    name: str,
    evaluation: EvaluationSet,
    settings: ProtocolSettings,
    ranked: RankedQueries | None,
    missing: dict[str, int],
) -> ProtocolResult:
    return ProtocolResult(
        name=name,
        title=_TITLES[name],
        definition=_DEFINITIONS[name],
        similarity="inner product of unit vectors (cosine)" if evaluation.encoder.normalised else "inner product",
        scores=retrieval_scores(ranked, settings=settings, rng=settings.generator(name)) if ranked else (),
        ranked=ranked,
        num_units=len(ranked) if ranked else 0,
        missing=missing,
        not_evaluated="" if ranked else too_small(evaluation) or "no narration of the split overlaps a window",
    )
