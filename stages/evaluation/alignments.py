"""The alignments that the report shows: which paragraph goes with which windows, and by which path."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.alignment.dtw import dtw_reference
from stages.evaluation.alignment_example import AlignmentExample
from stages.evaluation.protocols.window_retrieval import windows_of_narrations
from stages.evaluation.records import F32, F64, EvaluatedVideo, EvaluationSet, RankedQueries

_MIN_SENTENCES = 3
_MAX_CELLS = 6000
"""A larger picture would make the page heavy and shows nothing more."""


def cosines(texts: F32, windows: F32) -> F64:
    """Return the cosine of every sentence and window; a vector of zeros has cosine 0 with everything.

    Args:
        texts: (S, E) float32.
        windows: (N, E) float32.

    Returns:
        (S, N) float64.
    """
    similarity: F64 = _unit(texts) @ _unit(windows).T
    return similarity


def choose_examples(evaluation: EvaluationSet, by_dtw: RankedQueries | None) -> list[AlignmentExample]:
    """Choose what the report shows: a paragraph of middling score, the worst one, and a pair that differs in order.

    Args:
        evaluation: The split.
        by_dtw: The outcome of paragraph -> video by DTW, or None if it was not evaluated.

    Returns:
        Up to five examples, the same ones for the same input.
    """
    videos = {video.video_id: video for video in evaluation.videos}
    examples = []
    if by_dtw is not None:
        examples += [*_middling(videos, by_dtw), *_worst(videos, by_dtw)]
    for pair_id, ids in sorted(evaluation.pairs.items()):
        if all(name in videos and _fits(len(videos[name].texts), videos[name]) for name in ids):
            own, other = videos[ids[0]], videos[ids[1]]
            rows = np.arange(len(own.texts))
            note = f"Pair {pair_id}: the same steps in two orders."
            examples.append(_example(f"The narration of {own.video_id} and its own video", note, own, rows, own))
            examples.append(_example(f"The same narration and {other.video_id}", note, own, rows, other))
            break
    return examples


def _middling(videos: Mapping[str, EvaluatedVideo], by_dtw: RankedQueries) -> list[AlignmentExample]:
    """A paragraph with the median score of those that were found first, or of all."""
    drawable = _drawable(videos, by_dtw)
    candidates = [row for row in drawable if by_dtw.ranks[row] == 1] or drawable
    if not candidates:
        return []
    candidates.sort(key=lambda row: (float(by_dtw.scores[row]), by_dtw.query_ids[row]))
    row = candidates[len(candidates) // 2]
    note = (
        f"Rank {by_dtw.ranks[row]:g} of {by_dtw.gallery_size} videos; a paragraph with the median score of those found "
        "first."
    )
    return [_own_example(videos, by_dtw, row, note)]


def _worst(videos: Mapping[str, EvaluatedVideo], by_dtw: RankedQueries) -> list[AlignmentExample]:
    """The paragraph of the largest rank with its own video, and with the one that came first instead."""
    drawable = [row for row in _drawable(videos, by_dtw) if by_dtw.ranks[row] > 1]
    if not drawable:
        return []
    row = max(drawable, key=lambda row: (float(by_dtw.ranks[row]), by_dtw.query_ids[row]))
    note = f"Rank {by_dtw.ranks[row]:g} of {by_dtw.gallery_size} videos, the worst."
    examples = [_own_example(videos, by_dtw, row, note)]
    own, other = videos[by_dtw.target_ids[row]], videos[by_dtw.answer_ids[row]]
    asked = _rows_of(by_dtw.query_ids[row], own)
    if other is not own and _fits(asked.size, other):
        title = f"The same paragraph and {other.video_id}"
        examples.append(_example(title, "What came first instead.", own, asked, other))
    return examples


def _own_example(videos: Mapping[str, EvaluatedVideo], by_dtw: RankedQueries, row: int, note: str) -> AlignmentExample:
    own = videos[by_dtw.target_ids[row]]
    title = f"A paragraph of {own.video_id} and its own video"
    return _example(title, note, own, _rows_of(by_dtw.query_ids[row], own), own)


def _drawable(videos: Mapping[str, EvaluatedVideo], by_dtw: RankedQueries) -> list[int]:
    asked = zip(by_dtw.query_ids, by_dtw.target_ids, strict=True)
    return [
        row
        for row, (paragraph_id, video_id) in enumerate(asked)
        if _fits(_rows_of(paragraph_id, videos[video_id]).size, videos[video_id])
    ]


def _rows_of(paragraph_id: str, video: EvaluatedVideo) -> NDArray[np.int64]:
    """The sentences of a paragraph."""
    return np.flatnonzero(video.paragraph_index == int(paragraph_id.rpartition("/p")[2]))


def _fits(num_sentences: int, video: EvaluatedVideo) -> bool:
    return num_sentences >= _MIN_SENTENCES and num_sentences * len(video.window_ids) <= _MAX_CELLS


def _example(
    title: str, note: str, asked: EvaluatedVideo, rows: NDArray[np.int64], shown: EvaluatedVideo
) -> AlignmentExample:
    similarity = cosines(asked.narrations[rows], shown.windows)
    alignment = dtw_reference(1.0 - similarity)
    told = np.zeros(similarity.shape, dtype=np.bool_)
    if asked is shown:
        told = windows_of_narrations(shown.window_spans, asked.narration_spans[rows])
    return AlignmentExample(
        title=title,
        note=note,
        texts=tuple(asked.texts[row] for row in rows.tolist()),
        similarity=similarity,
        path=_cells(alignment.path),
        told=told,
        spans=shown.window_spans,
        score=float(alignment.score),
        video_id=shown.video_id,
    )


def _cells(path: Sequence[Sequence[int]] | NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    return tuple((int(sentence), int(window)) for sentence, window in path)


def _unit(vectors: F32) -> F64:
    wide = vectors.astype(np.float64)
    norms: F64 = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.maximum(norms, 1e-12)
