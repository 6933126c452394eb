"""Scores of all paragraphs against all videos, tile by tile: one matrix product, then one pass of a kernel over it.

A kernel is a compiled function (similarity (R, C), text_starts (T + 1,), block_starts, block_lengths, drop_costs (2,),
out (2, T, slots)): it writes the score and the raw total of T whole texts against the lanes of a block. Memory: the
texts and the first block of videos at length 1, and for each thread one more block and one tile; the cost matrix
never stands whole.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.alignment.held import HELD
from models.alignment.lanes import Block, plan_blocks
from models.alignment.sequences import F32, F64, I64, Precision, lengths_of, stack_unit_rows

_FoundT = TypeVar("_FoundT")
Kernel = Callable[[NDArray[np.floating], I64, I64, I64, F64, F64], None]

_TILE_CELLS = 1 << 19
"""Cells of one tile, about: 2 MiB of float32 stay in the cache between the product and the kernel. Two threads share a
hundred paragraphs and a hundred videos."""

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
        threads: Tiles that are worked on at once; they change no bit. Each calls the BLAS, whose own threads follow
            its environment (OPENBLAS_NUM_THREADS); the product of both should not exceed the cores.
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
    blocks = plan_blocks(video_lengths)
    tiles = [(b, tile) for b, block in enumerate(blocks) for tile in text_tiles(text_starts, int(block.starts[-1]))]
    shared = _room_for(blocks[0], videos, "shared columns", precision)  # that of a small set is the only block
    rows = _beside(
        threads, lambda: stack_unit_rows(texts, precision), [lambda: blocks[0].place_unit_columns(videos, shared)]
    )
    scores = np.empty((len(texts), len(videos)))

    def score_tiles(share: Sequence[tuple[int, tuple[int, int]]]) -> None:
        for number, of_block in groupby(share, key=itemgetter(0)):
            block, columns = blocks[number], shared
            if number:
                columns = _room_for(block, videos, "columns", precision)
                block.place_unit_columns(videos, columns)
            for _, (first, last) in of_block:
                similarity = _product(rows[text_starts[first] : text_starts[last]], columns)
                found = _run(kernel, similarity, text_starts[first : last + 1], block, drop_costs)
                _scatter(found[0], block, scores[first:last])

    own, *others = (functools.partial(score_tiles, share) for share in _shares(tiles, threads))
    _beside(threads, own, others)
    return scores


def _room_for(block: Block, videos: Sequence[F32], purpose: str, precision: Precision) -> NDArray[np.floating]:
    """Memory of (C, E), which lasts until this thread asks again for the same purpose."""
    room: NDArray[np.floating] = HELD.array(purpose, (int(block.starts[-1]), videos[0].shape[1]), precision)
    return room


def _beside(threads: int, own: Callable[[], _FoundT], others: Sequence[Callable[[], None]]) -> _FoundT:
    """Do `own` on this thread and the others on its helpers, if it has any; give what `own` gives."""
    if threads == 1:
        for other in others:
            other()
        return own()
    helped = [_helpers(threads).submit(other) for other in others]
    try:
        found = own()
    finally:
        wait(helped)  # they use memory that this thread's next call overwrites
    for each in helped:
        each.result()
    return found


def _shares(tiles: Sequence[tuple[int, tuple[int, int]]], threads: int) -> list[Sequence[tuple[int, tuple[int, int]]]]:
    """Cut tiles, which are about equally large, into at most so many runs: few blocks belong to two."""
    edges = [len(tiles) * thread // threads for thread in range(threads + 1)]
    return [tiles[first:last] for first, last in pairwise(edges) if first < last]


@functools.cache
def _helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: new ones would fetch their working memory anew, which costs as much as a tile."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="alignment")


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
        own = [similarity[:, ends[video] : ends[video + 1]] for video in block.videos[block.num_empty :].tolist()]
        columns[:, block.columns()[block.num_empty :]] = np.concatenate(own, axis=1)
        found = _run(kernel, columns, starts, block, drop_costs)
        _scatter(found[0], block, scores)
        _scatter(found[1], block, totals)
    return scores, totals


def text_tiles(text_starts: I64, num_columns: int) -> list[tuple[int, int]]:
    """Cut texts into runs of about equally many rows, which times `num_columns` make a tile; a text is never cut.

    Args:
        text_starts: (P + 1,) int64 first row of each text, and the number of rows.
        num_columns: C.

    Returns:
        (first, last + 1) of each run.
    """
    num_rows = int(text_starts[-1])
    count = max(1, -(-num_rows * num_columns // _TILE_CELLS))
    cuts = np.searchsorted(text_starts, np.arange(count + 1) * num_rows / count)
    return list(pairwise(np.unique(cuts).tolist()))


def _starts(lengths: I64) -> I64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _run(kernel: Kernel, similarity: NDArray[np.floating], text_starts: I64, block: Block, drop_costs: F64) -> F64:
    out = np.empty((2, len(text_starts) - 1, len(block.videos)))
    kernel(similarity, text_starts - text_starts[0], block.starts, block.lengths, drop_costs, out)
    return out


def _scatter(found: F64, block: Block, target: F64) -> None:
    """Bring the lanes of a block back to the caller's order of videos."""
    target[:, block.videos[block.num_empty :]] = found[:, block.num_empty :]
