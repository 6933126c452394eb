"""The alignments that the report shows: which paragraph goes with which windows, and by which path."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.alignment.dtw import dtw_reference
from stages.evaluation.protocols.paragraph_retrieval import paragraphs_of
from stages.evaluation.protocols.window_retrieval import windows_of_narrations
from stages.evaluation.records import F32, F64, EvaluatedVideo, EvaluationSet, RankedQueries
from stages.evaluation.sections import AlignmentExample

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
    """Choose what the report shows: one paragraph of middling score, and one pair that differs in order only.

    Args:
        evaluation: The split.
        by_dtw: The outcome of paragraph -> video by DTW, or None if it was not evaluated.

    Returns:
        Up to three examples, the same ones for the same input.
    """
    videos = {video.video_id: video for video in evaluation.videos}
    examples = []
    if by_dtw is not None and (chosen := _middling(videos, by_dtw)):
        video, rows, rank = chosen
        note = f"Rank {rank:g} of {by_dtw.gallery_size} videos; a paragraph with the median score of those found first."
        examples.append(_example(f"A paragraph of {video.video_id} and its own video", note, video, rows, video))
    for pair_id, ids in sorted(evaluation.pairs.items()):
        if all(name in videos and _fits(len(videos[name].texts), videos[name]) for name in ids):
            own, other = videos[ids[0]], videos[ids[1]]
            rows = np.arange(len(own.texts))
            note = f"Pair {pair_id}: the same steps in two orders."
            examples.append(_example(f"The narration of {own.video_id} and its own video", note, own, rows, own))
            examples.append(_example(f"The same narration and {other.video_id}", note, own, rows, other))
            break
    return examples


def _middling(
    videos: dict[str, EvaluatedVideo], by_dtw: RankedQueries
) -> tuple[EvaluatedVideo, NDArray[np.int64], float] | None:
    rows_of = {
        paragraph_id: np.flatnonzero(video.paragraph_index == int(paragraph_id.rpartition("/p")[2]))
        for video in videos.values()
        for paragraph_id, _ in paragraphs_of(video)
    }
    owner = dict(zip(by_dtw.query_ids, by_dtw.target_ids, strict=True))
    fitting = [row for row, name in enumerate(by_dtw.query_ids) if _fits(rows_of[name].size, videos[owner[name]])]
    candidates = [row for row in fitting if by_dtw.ranks[row] == 1] or fitting
    if not candidates:
        return None
    candidates.sort(key=lambda row: (float(by_dtw.scores[row]), by_dtw.query_ids[row]))
    row = candidates[len(candidates) // 2]
    name = by_dtw.query_ids[row]
    return videos[owner[name]], rows_of[name], float(by_dtw.ranks[row])


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
