"""The best moments of an index for a vector: FAISS retrieves windows, and each grows into the moment around it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.retrieval.bundle import Bundle, IndexedVideo
from stages.retrieval.moments import Moment, find_moments
from stages.retrieval.results import Hit
from stages.retrieval.vectors import Vectors

_FIRST_WINDOWS = 64
_WINDOWS_PER_HIT = 8


def ranked_moments(
    bundle: Bundle, queries: Vectors, k: int, *, without: range = range(0), one_a_video: bool = False
) -> list[tuple[IndexedVideo, Moment]]:
    """The k best moments for any of the queries, with their videos; windows are retrieved until there are enough.

    Where the lists that the index visits hold too few, further ones are visited: left-out rows may have emptied them.

    Args:
        bundle: The index.
        queries: float32 (Q, E).
        k: Moments wanted.
        without: Rows of the clip index that must not be found.
        one_a_video: Whether a video has one moment, scored by the mean over the queries of their best window in it.
    """
    clips, num_windows = bundle.clips, max(_FIRST_WINDOWS, _WINDOWS_PER_HIT * k)
    while True:
        found = clips.search(queries, num_windows, without)[1]
        rows = np.unique(found[found >= 0])
        moments = _moments_of_rows(bundle, queries, rows, one_a_video=one_a_video)
        if len(moments) >= k:
            break
        if num_windows < clips.num_rows:
            num_windows *= 4
        elif (wider := clips.wider()) is not None:
            clips = wider
        else:
            break
    moments.sort(key=lambda pair: -pair[1].score)
    return moments[:k]


def _moments_of_rows(
    bundle: Bundle, queries: Vectors, rows: NDArray[np.int64], *, one_a_video: bool
) -> list[tuple[IndexedVideo, Moment]]:
    """Moments around the retrieved rows, with their videos, in manifest order."""
    found: list[tuple[IndexedVideo, Moment]] = []
    owners = bundle.owners[rows]
    for owner in np.unique(owners):
        video = bundle.videos[owner]
        scores = bundle.window_vectors(video) @ queries.T
        hits = (rows[owners == owner] - video.rows.start).tolist()
        moments = find_moments(scores.max(axis=1), bundle.window_spans[video.rows.start : video.rows.stop], hits)
        if one_a_video:
            moments = [replace(moments[0], score=float(scores.max(axis=0).mean()))]
        found.extend((video, moment) for moment in moments)
    return found


def hit_of(bundle: Bundle, video: IndexedVideo, moment: Moment) -> Hit:
    """A moment as an answer, with what is said in it."""
    said = [
        narration.text
        for narration in bundle.narrations.get(video.video_id, ())
        if narration.start_s < moment.end_s and moment.start_s < narration.end_s
    ]
    return Hit(
        video_id=video.video_id,
        path=video.path,
        start_s=moment.start_s,
        end_s=moment.end_s,
        score=moment.score,
        text=" ".join(said),
    )
