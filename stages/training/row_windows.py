"""The rows of a video as protocols and fine-tuning cut them: in windows, with a label each, or a few spread evenly.

Letters: N rows of a video, W windows, F rows that are kept.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.datasets.records import Segment
from stages.training.embedder import rows_over

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

BACKGROUND = 0
"""The label of a row in which nothing is annotated."""


def row_windows(num_rows: int, window_rows: int, stride_rows: int) -> I64:
    """Lay windows of rows over a video: from 0 by the stride, the last where no more than a window remains.

    Args:
        num_rows: N, at least 1.
        window_rows: rows of a window, at least 1.
        stride_rows: from one start to the next, at least 1.

    Returns:
        (W, 2) int64 half-open ranges; every row is in one if the stride is not longer than a window.
    """
    num_more = max(0, -(-(num_rows - window_rows) // stride_rows))
    starts = np.arange(num_more + 1) * stride_rows
    return np.stack([starts, np.minimum(starts + window_rows, num_rows)], axis=1)


def row_targets(spans: F64, segments: Sequence[Segment]) -> I64:
    """The annotated label of every row; where segments overlap, the later one in the file wins.

    Args:
        spans: (N, 2) float64 seconds of the rows.
        segments: of this video.

    Returns:
        (N,) int64, 0 where nothing is annotated; a row that a segment touches belongs to it.
    """
    targets = np.full(len(spans), BACKGROUND, dtype=np.int64)
    for segment in segments:
        ((start, end),) = rows_over(spans, np.array([[segment.start_s, segment.end_s]])).tolist()
        targets[start:end] = segment.label_index
    return targets


def uniform_places(num_rows: int, num_kept: int) -> I64:
    """Spread F places over N rows, ends included: rounded linspace 1..N, as VCLR's protocols count frames.

    Args:
        num_rows: N, at least 1.
        num_kept: F, at least 1; with F = 1 the first row; if there are fewer rows, some come twice.

    Returns:
        (F,) int64 in [0, N), ascending.
    """
    return np.round(np.linspace(1, num_rows, num_kept)).astype(np.int64) - 1
