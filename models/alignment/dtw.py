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

from models.alignment.lanes import LANES, lane_costs
from models.alignment.sequences import F32, F64, I64, Precision, unit_rows
from models.alignment.tiles import score_matrix

__all__ = ["F32", "F64", "Alignment", "dtw_kernel", "dtw_reference", "dtw_score_matrix", "unit_rows"]


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


def dtw_score_matrix(
    texts: Sequence[F32], videos: Sequence[F32], *, precision: Precision = "float64", threads: int = 1
) -> F64:
    """Score every text against every video on the cost 1 - cosine.

    Args:
        texts: P arrays (S_p, E), rows of any length; S_p at least 1.
        videos: V arrays (N_v, E); N_v at least 1.
        precision: Of the matrix product. With float32 a path may be chosen that is dearer by some 1e-6.
        threads: As `models.alignment.tiles.score_matrix` says.

    Returns:
        (P, V) float64, greater is better. One tile of the cost matrix stands at a time.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN.
    """
    return score_matrix(dtw_kernel, texts, videos, precision=precision, threads=threads)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def dtw_kernel(
    similarity: NDArray[np.floating], text_starts: I64, starts: I64, lengths: I64, drop_costs: F64, out: F64
) -> None:
    """Write -D / cells and D of each text and lane; arguments as `models.alignment.tiles` says."""
    for text in range(len(text_starts) - 1):
        _align_text(similarity[text_starts[text] : text_starts[text + 1]], starts, lengths, out[:, text])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _align_text(rows: NDArray[np.floating], starts: I64, lengths: I64, out: F64) -> None:
    """Align one text with all groups, window by window; two columns of sums, and of cells on the path, take turns.

    Row 0 of both is a border: infinite, but for the corner from which the first cell comes. The buffers are made here
    and the step is inlined, because only then the compiler knows that they do not overlap, and vectorises.
    """
    num_rows = len(rows)
    total, cells, cost = np.empty((2, num_rows + 1, LANES)), np.zeros((2, num_rows + 1, LANES)), np.empty(LANES)
    for group in range(len(lengths)):
        total[:] = np.inf
        total[0, 0] = 0.0
        ended, column = 0, starts[group]
        for j in range(lengths[group, -1]):
            old, new = j % 2, 1 - j % 2
            first = column - ended
            for i in range(num_rows):
                lane_costs(rows[i, first : first + LANES], cost)
                above = total[old, i], total[new, i], cells[old, i], cells[new, i]
                here = total[old, i + 1], total[new, i + 1], cells[old, i + 1], cells[new, i + 1]
                _step(above, here, cost)
            total[0, 0] = np.inf
            column += LANES - ended
            while ended < LANES and lengths[group, ended] == j + 1:
                slot = group * LANES + ended
                out[1, slot] = total[new, num_rows, ended]
                out[0, slot] = -total[new, num_rows, ended] / cells[new, num_rows, ended]
                ended += 1


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _step(above: tuple[F64, F64, F64, F64], here: tuple[F64, F64, F64, F64], cost: F64) -> None:
    """One cell of every lane from its three neighbours; plain selects, no branches."""
    diagonal, up, diagonal_cells, up_cells = above
    left, total, left_cells, cells = here
    for lane in range(LANES):
        best, length = diagonal[lane], diagonal_cells[lane]
        other, other_length = up[lane], up_cells[lane]
        cheaper = other < best
        best = other if cheaper else best
        length = other_length if cheaper else length
        other, other_length = left[lane], left_cells[lane]
        cheaper = other < best
        best = other if cheaper else best
        length = other_length if cheaper else length
        total[lane] = best + cost[lane]
        cells[lane] = length + 1.0
