"""Text to window and window to text over all windows of the split.

Which windows show a narration: those whose centre lies in its span. A narration is often shorter than the stride, so
that it may hold no centre; then the one window with the largest overlap (the earliest of equals) is right. A
narration that overlaps no window cannot be asked for, a window without narration cannot ask: both are counted.
Departs from the papers (7.2), whose clips are cut at the annotation's own borders: here a query must find the place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F64, I64, EvaluatedVideo, EvaluationSet, PairScorer, ProtocolResult
from stages.evaluation.retrieval import (
    Definition,
    Items,
    inner_products,
    ranked_result,
    similarity_words,
    vector_retrieval,
)
from stages.evaluation.scoring import ProtocolSettings, ScoreRows, missing_counts, rank_queries, too_small

_RIGHT = "right are the windows whose centre lies in the narration's span, or else the one that overlaps it most"
_DEFINITIONS = {
    "text_to_window": f"query = a narration; gallery = every window of the split; {_RIGHT}",
    "window_to_text": f"query = a window that shows a narration; gallery = every narration of the split; {_RIGHT}",
}
_TITLES = {"text_to_window": "Sentence → window", "window_to_text": "Window → sentence"}
_LEFT_OUT = {"text_to_window": "narrations_without_window", "window_to_text": "windows_without_narration"}


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


def window_retrieval(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure both directions.

    Vectors are compared by inner product, as the index compares them; for an encoder that normalises that is the
    cosine.

    Args:
        evaluation: The split.
        settings: Cut-offs and bootstrap.

    Returns:
        `text_to_window` and `window_to_text`.
    """
    if why := too_small(evaluation):
        return [
            _definition(name, evaluation).result(not_evaluated=why, missing=missing_counts(evaluation))
            for name in _DEFINITIONS
        ]
    narrations, windows = _items(evaluation.videos)
    of_narration, of_window = _relevance(evaluation.videos)
    return [
        _direction("text_to_window", evaluation, settings, (narrations, windows), of_narration),
        _direction("window_to_text", evaluation, settings, (windows, narrations), of_window),
    ]


def fused_window_retrieval(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure text to window once more, with the best windows of each sentence scored again, if the encoder can.

    Args:
        evaluation: The split.
        settings: Cut-offs and bootstrap.

    Returns:
        `text_to_window.fused`, or nothing: the encoder does not read a sentence and a window together.
    """
    fused = evaluation.fused
    if fused is None or too_small(evaluation):
        return []
    narrations, windows = _items(evaluation.videos)
    asked = [(row, right) for row, right in enumerate(_relevance(evaluation.videos)[0]) if right.size]
    if not asked:
        return []
    queries = narrations.take([row for row, _ in asked])
    ranked = rank_queries(
        _fused_scores(queries, windows, fused),
        query_ids=queries.ids,
        gallery_ids=windows.ids,
        relevant=[right for _, right in asked],
    )
    scored = f"the {fused.most} best windows by inner product" if fused.most else "all windows"
    definition = Definition(
        name="text_to_window.fused",
        title="Sentence → window, read together",
        definition=_DEFINITIONS["text_to_window"],
        similarity=f"{scored}, scored again by the encoder's fusion, its token score and its sentence score",
    )
    missing = missing_counts(evaluation) | {_LEFT_OUT["text_to_window"]: len(narrations.ids) - len(asked)}
    return [ranked_result(definition, ranked, settings, missing=missing, texts={**windows.texts, **queries.texts})]


def _fused_scores(queries: Items, windows: Items, fused: PairScorer) -> ScoreRows:
    """Scores that put the windows which are scored again before all others."""
    plain = inner_products(queries.vectors, windows.vectors)

    def score(rows: slice) -> NDArray[np.floating]:
        scores = plain(rows).astype(np.float64)
        for row, name in zip(scores, queries.ids[rows], strict=True):
            best = np.argsort(-row, kind="stable")[: fused.most or None]
            again = fused.scores(queries.texts[name], [windows.ids[column] for column in best])
            row[best] = again - again.min() + row.max() + 1
        return scores

    return score


def _items(videos: Sequence[EvaluatedVideo]) -> tuple[Items, Items]:
    """All narrations and all windows; a window says what is said in the middle of it."""
    told = [video for video in videos if video.narration_ids]
    texts = {name: text for video in told for name, text in zip(video.narration_ids, video.texts, strict=True)}
    shown: dict[str, str] = {}
    for video in told:
        overlaps = windows_of_narrations(video.window_spans, video.narration_spans)
        for said, row in zip(video.texts, overlaps, strict=True):
            windows = [video.window_ids[column] for column in np.flatnonzero(row)]
            shown |= {window: f"{window}: {said}" for window in windows}
    return (
        Items(
            ids=tuple(name for video in told for name in video.narration_ids),
            vectors=np.concatenate([video.narrations for video in told]),
            texts=texts,
        ),
        Items(
            ids=tuple(name for video in videos for name in video.window_ids),
            vectors=np.concatenate([video.windows for video in videos]),
            texts=shown,
        ),
    )


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
    items: tuple[Items, Items],
    relevant: Sequence[I64],
) -> ProtocolResult:
    asked = [row for row, right in enumerate(relevant) if right.size]
    missing = missing_counts(evaluation) | {_LEFT_OUT[name]: len(relevant) - len(asked)}
    definition, (queries, gallery) = _definition(name, evaluation), items
    if not asked:
        return definition.result(not_evaluated="no narration of the split overlaps a window", missing=missing)
    right = [relevant[row] for row in asked]
    return vector_retrieval(definition, queries.take(asked), gallery, right, settings, missing=missing)


def _definition(name: str, evaluation: EvaluationSet) -> Definition:
    return Definition(
        name=name,
        title=_TITLES[name],
        definition=_DEFINITIONS[name],
        similarity=similarity_words(normalised=evaluation.encoder.normalised),
    )
