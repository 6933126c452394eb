"""Scores of all paragraphs against all videos, tile by tile: one matrix product, then one pass of a kernel over it.

A kernel is a compiled function (similarity (R, C), text_starts (T + 1,), block_starts, block_lengths, drop_costs (2,),
out (2, T, slots)): it writes the score and the raw total of T whole texts against the lanes of a block. Memory: the
texts at length 1, and for each thread one block of videos and one tile; the cost matrix never stands whole.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.alignment.held import HELD
from models.alignment.lanes import Block, plan_blocks
from models.alignment.sequences import F32, F64, I64, Precision, lengths_of, stack_unit_rows

Kernel = Callable[[NDArray[np.floating], I64, I64, I64, F64, F64], None]

_TILE_CELLS = 1 << 20
"""Cells of one tile, about: 4 MiB of float32 stay in the cache between the product and the kernel."""

_NO_DROPS = np.zeros(2)


def score_matrix(
    kernel: Kernel,
    texts: Sequence[F32],
    videos: Sequence[F32],
    *,
    precision: Precision,
    threads: int = 1,
    drop_costs: F64 = _NO_DROPS,
) -> F64:
    """Score every text against every video.

    Args:
        kernel: What is computed from the cosines.
        texts: P arrays (S, E), S at least 1.
        videos: V arrays (N, E), N at least 1.
        precision: Of the matrix product.
        threads: Blocks of videos that are worked on at once. Each calls the BLAS, whose own threads follow its
            environment (OPENBLAS_NUM_THREADS); the product of both should not exceed the cores.
        drop_costs: (2,) of a clip and of a sentence; only Drop-DTW reads it.

    Returns:
        (P, V) float64, greater is better.

    Raises:
        ValueError: a sequence is empty or has another width, or holds NaN or infinity; no thread.
    """
    if threads < 1:
        raise ValueError(f"threads: got {threads}, expected at least 1")
    if not texts or not videos:
        return np.zeros((len(texts), len(videos)))
    text_starts, video_lengths = _starts(lengths_of(texts)), lengths_of(videos)
    if texts[0].shape[1] != videos[0].shape[1]:
        raise ValueError(
            f"vectors: texts have width {texts[0].shape[1]}, videos {videos[0].shape[1]}: one encoder made both"
        )
    rows = stack_unit_rows(texts, precision)
    scores = np.empty((len(texts), len(videos)))

    def score_blocks(blocks: Sequence[Block]) -> None:
        for block in blocks:
            columns = block.unit_columns(videos, precision)
            for first, last in text_tiles(text_starts, len(columns)):
                similarity = _product(rows[text_starts[first] : text_starts[last]], columns)
                found = _run(kernel, similarity, text_starts[first : last + 1], block, drop_costs)
                _scatter(found[0], block, scores[first:last])

    blocks = plan_blocks(video_lengths)
    if threads == 1:  # in this thread: in a new one the BLAS would touch new buffers, which costs as much as a tile
        score_blocks(blocks)
        return scores
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(score_blocks, [blocks[thread::threads] for thread in range(threads)]):
            pass
    return scores


def _product(rows: NDArray[np.floating], columns: NDArray[np.floating]) -> NDArray[np.floating]:
    """(R, E) and (C, E) -> (R, C), which lasts until this thread's next call."""
    out = HELD.array("cells", (len(rows), len(columns)), rows.dtype)
    product: NDArray[np.floating] = np.matmul(rows, columns.T, out=out)
    return product


def score_similarity(
    kernel: Kernel,
    similarity: NDArray[np.floating],
    text_lengths: Sequence[int],
    video_lengths: Sequence[int],
    *,
    drop_costs: F64 = _NO_DROPS,
) -> tuple[F64, F64]:
    """Score texts against videos whose similarities are given; the cost of a cell is 1 - similarity.

    Args:
        kernel: What is computed.
        similarity: (sum of S, sum of N) of any range, texts and videos one after the other.
        text_lengths: P numbers S, at least 1.
        video_lengths: V numbers N, at least 1.
        drop_costs: As in `score_matrix`.

    Returns:
        (P, V) float64 scores and (P, V) float64 raw totals.

    Raises:
        ValueError: the lengths do not sum to the matrix, or it holds NaN.
    """
    starts, ends = _starts(np.asarray(text_lengths, np.int64)), _starts(np.asarray(video_lengths, np.int64))
    if similarity.shape != (starts[-1], ends[-1]) or min(*text_lengths, *video_lengths) < 1:
        raise ValueError(f"similarity: got shape {similarity.shape}, expected {(int(starts[-1]), int(ends[-1]))}")
    if bool(np.isnan(similarity).any()):
        raise ValueError("similarity: it holds NaN; the features or the encoder are damaged")
    scores, totals = np.empty((2, len(text_lengths), len(video_lengths)))
    for block in plan_blocks(np.diff(ends)):
        columns = np.zeros((len(similarity), int(block.starts[-1])), similarity.dtype)
        for places, video in zip(block.columns(), block.videos.tolist(), strict=True):
            if video >= 0:
                columns[:, places] = similarity[:, ends[video] : ends[video + 1]]
        found = _run(kernel, columns, starts, block, drop_costs)
        _scatter(found[0], block, scores)
        _scatter(found[1], block, totals)
    return scores, totals


def text_tiles(text_starts: I64, num_columns: int) -> list[tuple[int, int]]:
    """Cut texts into runs whose rows times `num_columns` make a tile; a text is never cut.

    Args:
        text_starts: (P + 1,) int64 first row of each text, and the number of rows.
        num_columns: C.

    Returns:
        (first, last + 1) of each run.
    """
    most_rows = _TILE_CELLS // num_columns
    tiles, first = [], 0
    for text in range(1, len(text_starts)):
        if text == len(text_starts) - 1 or text_starts[text + 1] - text_starts[first] > most_rows:
            tiles.append((first, text))
            first = text
    return tiles


def _starts(lengths: I64) -> I64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _run(kernel: Kernel, similarity: NDArray[np.floating], text_starts: I64, block: Block, drop_costs: F64) -> F64:
    out = np.empty((2, len(text_starts) - 1, len(block.videos)))
    kernel(similarity, text_starts - text_starts[0], block.starts, block.lengths, drop_costs, out)
    return out


def _scatter(found: F64, block: Block, target: F64) -> None:
    """Bring the lanes of a block back to the caller's order of videos."""
    num_empty = int((block.videos < 0).sum())  # they come first
    target[:, block.videos[num_empty:]] = found[:, num_empty:]
