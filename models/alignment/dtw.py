"""Hard dynamic time warping: the cheapest monotone path through a cost matrix, exact.

Moves are (1, 1), (1, 0) and (0, 1); the path runs from the first to the last cell and pays every cell that it visits.
The score is minus the mean cost on the path; among equal predecessors the diagonal goes first, then (1, 0), then
(0, 1), so that path and score are unique.

Source: the recurrence is Sakoe and Chiba (1978), as TempCLR, arXiv:2212.13738, uses it in evaluation. We depart from
TempCLR's code in that costs are 1 - cosine, ragged pairs are not padded, and the sum is divided by the path's cells.
Letters: S sentences, N windows, E joint width, P paragraphs, V videos, L cells on the path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The cheapest path.

    Attributes:
        total: sum of the costs on it.
        path: (L, 2) int64 cells (row, column) from the first to the last.
        score: -total / L.
    """

    total: float
    path: NDArray[np.int64]
    score: float


def dtw_reference(cost: F64) -> Alignment:
    """Align two sequences, plainly: this is what every faster form is tested against.

    Args:
        cost: (S, N) cost of each pair; any sign, both sides at least 1.

    Returns:
        The cheapest path with its cost and score.

    Raises:
        ValueError: the matrix is empty or holds NaN.
    """
    if cost.ndim != 2 or 0 in cost.shape or bool(np.isnan(cost).any()):
        raise ValueError(f"cost: got shape {cost.shape}, expected a matrix with at least one cell and no NaN")
    num_rows, num_columns = cost.shape
    total = np.full((num_rows, num_columns), np.inf)
    for i in range(num_rows):
        for j in range(num_columns):
            before = [total[cell] for cell in _predecessors(i, j)]
            total[i, j] = cost[i, j] + (min(before) if before else 0.0)
    path = [(num_rows - 1, num_columns - 1)]
    while predecessors := _predecessors(*path[-1]):
        path.append(min(predecessors, key=lambda cell: total[cell]))  # min takes the first of equals
    cells = np.array(path[::-1], np.int64)
    return Alignment(float(total[-1, -1]), cells, -float(total[-1, -1]) / len(cells))


def _predecessors(i: int, j: int) -> list[tuple[int, int]]:
    """Cells that a path may come from, in the order in which equals are preferred."""
    return [(a, b) for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]


def dtw_score_matrix(texts: Sequence[F32], videos: Sequence[F32]) -> F64:
    """Score every text against every video on the cost 1 - cosine.

    Args:
        texts: P arrays (S_p, E), rows of any length; S_p at least 1.
        videos: V arrays (N_v, E); N_v at least 1.

    Returns:
        (P, V) float64, greater is better. The cost matrix of one text stands at a time.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN.
    """
    text_rows = [unit_rows(text) for text in texts]
    if not texts or not videos:
        return np.zeros((len(texts), len(videos)))
    columns = np.ascontiguousarray(np.concatenate([unit_rows(video) for video in videos]).T)
    ends = np.cumsum([len(video) for video in videos])
    scores = np.empty((len(texts), len(videos)))
    for row, text in enumerate(text_rows):
        if text.shape[1] != columns.shape[0]:
            raise ValueError(f"texts have width {text.shape[1]}, videos {columns.shape[0]}: one encoder made both")
        _score_row(1.0 - (text @ columns), ends, scores[row])
    return scores


def unit_rows(vectors: F32) -> F64:
    """The rows at length 1, as float64; a zero row stays zero.

    Args:
        vectors: (N, E), N at least 1.

    Raises:
        ValueError: it is no such matrix, or holds a NaN.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (N, E) with at least one row")
    rows = vectors.astype(np.float64)
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    if not bool(np.isfinite(norms).all()):
        raise ValueError("vectors: a row holds NaN or infinity; the features or the encoder are damaged")
    unit: F64 = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _score_row(cost: F64, ends: NDArray[np.int64], scores: F64) -> None:
    """Score one text (rows of `cost`) against videos that lie side by side, each ending before its column of `ends`."""
    start = 0
    for video in range(len(ends)):
        scores[video] = _score(cost[:, start : ends[video]])
        start = ends[video]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _score(cost: F64) -> float:
    """The score of one pair: two rows of sums, and of cells on the path that the tie rule picks."""
    num_rows, num_columns = cost.shape
    total = np.empty(num_columns)
    cells = np.empty(num_columns)
    for i in range(num_rows):
        diagonal, diagonal_cells = 0.0, 0.0
        for j in range(num_columns):
            above, above_cells = total[j], cells[j]
            if i == 0 and j == 0:
                best, length = 0.0, 0.0
            elif i == 0:
                best, length = total[j - 1], cells[j - 1]
            elif j == 0:
                best, length = above, above_cells
            else:
                best, length = diagonal, diagonal_cells
                if above < best:
                    best, length = above, above_cells
                if total[j - 1] < best:
                    best, length = total[j - 1], cells[j - 1]
            total[j] = best + cost[i, j]
            cells[j] = length + 1.0
            diagonal, diagonal_cells = above, above_cells
    return float(-total[-1] / cells[-1])
