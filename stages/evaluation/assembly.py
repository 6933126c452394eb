"""From rows of the embeddings' tables to the videos that protocols take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.evaluation.records import F32, F64, I64, EvaluatedVideo


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedVectors:
    """Rows of `windows` or `narrations`, in any order.

    Attributes:
        ids: M ids.
        video_ids: M ids of the video that each belongs to.
        index: (M,) int64 position within the video.
        spans: (M, 2) float64 seconds.
        vectors: (M, E) float32.
        texts: M sentences; empty for windows.
        paragraph_index: (M,) int64; empty for windows.
    """

    ids: Sequence[str]
    video_ids: Sequence[str]
    index: I64
    spans: F64
    vectors: F32
    texts: Sequence[str] = ()
    paragraph_index: I64 | None = None

    def rows_by_video(self) -> Mapping[str, I64]:
        """Row numbers of each video, in the order of `index`."""
        found: dict[str, list[int]] = {}
        for row in np.argsort(self.index, kind="stable").tolist():
            found.setdefault(self.video_ids[row], []).append(row)
        return {video_id: np.array(rows, dtype=np.int64) for video_id, rows in found.items()}


def assemble_videos(
    video_ids: Sequence[str], windows: TimedVectors, narrations: TimedVectors
) -> tuple[EvaluatedVideo, ...]:
    """Put windows and narrations of each video together.

    Args:
        video_ids: The videos of the split, in the order of the gallery.
        windows: May hold rows of other videos.
        narrations: May hold rows of other videos.

    Returns:
        The videos that have at least one window; one without narrations has empty arrays.
    """
    window_rows, narration_rows = windows.rows_by_video(), narrations.rows_by_video()
    none = np.zeros(0, dtype=np.int64)
    return tuple(
        _video(video_id, windows, window_rows[video_id], narrations, narration_rows.get(video_id, none))
        for video_id in video_ids
        if video_id in window_rows
    )


def _video(
    video_id: str, windows: TimedVectors, window_rows: I64, narrations: TimedVectors, narration_rows: I64
) -> EvaluatedVideo:
    paragraphs = narrations.paragraph_index
    return EvaluatedVideo(
        video_id=video_id,
        window_ids=tuple(windows.ids[row] for row in window_rows.tolist()),
        window_spans=windows.spans[window_rows],
        windows=windows.vectors[window_rows],
        narration_ids=tuple(narrations.ids[row] for row in narration_rows.tolist()),
        narration_spans=narrations.spans[narration_rows],
        narrations=narrations.vectors[narration_rows],
        texts=tuple(narrations.texts[row] for row in narration_rows.tolist()),
        paragraph_index=narration_rows * 0 if paragraphs is None else paragraphs[narration_rows],
    )
