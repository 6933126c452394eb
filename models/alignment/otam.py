"""Hard OTAM: ordered temporal alignment that may begin late and end early in the second sequence.

A zero column stands on each side of the cost matrix: the path enters from the left one and leaves to the right one.
Row 0 is strictly cumulative, a known property of this widely copied form: the first row has to absorb all earlier
columns. Moves between real columns are (1, 1) and (0, 1); (1, 0) exists in the first real column and in the zero
columns only. The score looks at both orientations: each total is divided by its number of rows, the two are added
and negated. Equal predecessors: diagonal, (1, 0), (0, 1).

Source: Cao et al., arXiv:1906.11415; the recurrence is TempCLR's (papers.md 3.4), with min for softmin. We depart
from TempCLR's evaluation in that costs are 1 - cosine, ragged pairs are not padded, and rows divide the totals.
Letters: S sentences, N windows, E joint width, P paragraphs, V videos, L cells on the path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.dtw import Alignment
from models.alignment.lanes import LANES, lane_costs
from models.alignment.sequences import F32, F64, I64, Precision
from models.alignment.tiles import score_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class OtamAlignment:
    """Both orientations of one pair.

    Attributes:
        forward: Sentences as rows; its path's cells are (sentence, window).
        backward: Windows as rows; its path's cells are (window, sentence).
        score: Sum of both scores.
    """

    forward: Alignment
    backward: Alignment
    score: float


def otam_reference(cost: F64) -> OtamAlignment:
    """Align two sequences in both orientations, plainly.

    Args:
        cost: (S, N) cost of each pair; any sign, both sides at least 1.

    Returns:
        Both alignments and their score.

    Raises:
        ValueError: the matrix is empty or holds NaN.
    """
    forward, backward = otam_one_way(cost), otam_one_way(cost.T)
    return OtamAlignment(forward=forward, backward=backward, score=forward.score + backward.score)


def otam_one_way(cost: F64) -> Alignment:
    """Align the rows with a stretch of the columns.

    Args:
        cost: (S, N) cost of each pair.

    Returns:
        The total, the real cells on the path, and minus the total over S.

    Raises:
        ValueError: the matrix is empty or holds NaN.
    """
    if cost.ndim != 2 or 0 in cost.shape or bool(np.isnan(cost).any()):
        raise ValueError(f"cost: got shape {cost.shape}, expected a matrix with at least one cell and no NaN")
    padded = np.pad(cost.astype(np.float64), ((0, 0), (1, 1)))
    total = np.zeros(padded.shape)
    num_rows, width = padded.shape
    for i in range(num_rows):
        for j in range(1, width):
            total[i, j] = padded[i, j] + min(total[cell] for cell in _predecessors(i, j, width))
    path, cell = [], (num_rows - 1, width - 1)
    while cell[1] > 0:
        if cell[1] < width - 1:
            path.append((cell[0], cell[1] - 1))
        cell = min(_predecessors(*cell, width), key=lambda before: total[before])  # min takes the first of equals
    return Alignment(float(total[-1, -1]), np.array(path[::-1], np.int64), -float(total[-1, -1]) / num_rows)


def _predecessors(i: int, j: int, width: int) -> list[tuple[int, int]]:
    """Cells of the padded matrix that a path may come from, in the order in which equals are preferred."""
    if i == 0:
        return [(0, j - 1)]
    if j in (1, width - 1):
        return [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
    return [(i - 1, j - 1), (i, j - 1)]


def otam_score_matrix(
    texts: Sequence[F32], videos: Sequence[F32], *, precision: Precision = "float64", threads: int = 1
) -> F64:
    """Score every text against every video on the cost 1 - cosine, both orientations together.

    Args:
        texts: P arrays (S, E), rows of any length; S at least 1.
        videos: V arrays (N, E); N at least 1.
        precision: Of the matrix product.
        threads: As `models.alignment.tiles.score_matrix` says.

    Returns:
        (P, V) float64, greater is better. One tile of the cost matrix stands at a time.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN.
    """
    return score_matrix(otam_kernel, texts, videos, precision=precision, threads=threads)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def otam_kernel(
    similarity: NDArray[np.floating], text_starts: I64, starts: I64, lengths: I64, drop_costs: F64, out: F64
) -> None:
    """Write the score, and the sum of both totals, of each text and lane; arguments as `models.alignment.tiles`."""
    for text in range(len(text_starts) - 1):
        _align_text(similarity[text_starts[text] : text_starts[text + 1]], starts, lengths, out[:, text])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _align_text(rows: NDArray[np.floating], starts: I64, lengths: I64, out: F64) -> None:
    """Align one text with all groups, window by window, in both orientations at once.

    Forward the real columns end with the window, where the right zero column takes the least over all rows; backward
    it takes the least over all windows of the last sentence. Row 0 of both buffers is a border. The buffers are made
    here and the step is inlined, because only then the compiler knows that they do not overlap, and vectorises.
    """
    num_rows = len(rows)
    forward, backward = np.empty((2, num_rows + 1, LANES)), np.empty((2, num_rows + 1, LANES))
    cost, least = np.empty(LANES), np.empty(LANES)
    forward[:, 0] = np.inf
    for group in range(len(lengths)):
        _first_window(rows, starts[group], forward[0], backward[0])
        least[:] = backward[0, num_rows]
        ended, column = 0, starts[group]
        for j in range(lengths[group, -1]):
            old, new = 1 - j % 2, j % 2
            if j > 0:
                # Backward, the first sentence comes from the left zero column or from the window before.
                backward[old, 0] = backward[old, 1]
                backward[new, 0] = 0.0
                for i in range(num_rows):
                    lane_costs(rows[i, column - ended : column - ended + LANES], cost)
                    _step(forward[old, i], forward[old, i + 1], cost, forward[new, i + 1])
                    _step(backward[old, i], backward[new, i], cost, backward[new, i + 1])
                _keep_least(least, backward[new, num_rows])
            column += LANES - ended
            while ended < LANES and lengths[group, ended] == j + 1:
                one_way, slot = np.min(forward[new, 1:, ended]), group * LANES + ended
                out[0, slot] = -one_way / num_rows - least[ended] / lengths[group, ended]
                out[1, slot] = one_way + least[ended]
                ended += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_window(rows: NDArray[np.floating], start: int, forward: F64, backward: F64) -> None:
    """Forward this is the first real column, which knows (1, 0); backward it is the cumulative row."""
    for lane in range(LANES):
        forward[1, lane] = backward[1, lane] = 1.0 - rows[0, start + lane]
        for i in range(1, len(rows)):
            cost = 1.0 - rows[i, start + lane]
            forward[i + 1, lane] = cost + min(0.0, forward[i, lane])
            backward[i + 1, lane] = cost + backward[i, lane]


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _step(one: F64, other: F64, cost: F64, here: F64) -> None:
    """One cell of every lane from the cheaper of two neighbours.

    Forward these are the row above and the same row, both one window back; backward the sentence before, one window
    back and in this window.
    """
    for lane in range(LANES):
        a, b = one[lane], other[lane]
        here[lane] = cost[lane] + (b if b < a else a)


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _keep_least(least: F64, found: F64) -> None:
    for lane in range(LANES):
        a, b = least[lane], found[lane]
        least[lane] = b if b < a else a
