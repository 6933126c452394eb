"""Caption average: the mean over sentences of the best window, wherever it lies. It knows nothing of order.

Source: the baseline of TempCLR, arXiv:2212.13738; `clean` form: cosine similarity.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.lanes import LANES, lane_costs
from models.alignment.sequences import F32, F64, I64, Precision
from models.alignment.tiles import score_matrix


def caption_average_matrix(
    texts: Sequence[F32], videos: Sequence[F32], *, precision: Precision = "float64", threads: int = 1
) -> F64:
    """Score every text against every video.

    Args:
        texts: P arrays (S_p, E), S_p at least 1.
        videos: V arrays (N_v, E), N_v at least 1.
        precision: Of the matrix product.
        threads: As `models.alignment.tiles.score_matrix` says.

    Returns:
        (P, V) float64 mean best cosine, greater is better.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN.
    """
    return score_matrix(caption_average_kernel, texts, videos, precision=precision, threads=threads)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def caption_average_kernel(
    similarity: NDArray[np.floating], text_starts: I64, starts: I64, lengths: I64, drop_costs: F64, out: F64
) -> None:
    """Write the mean and the sum of the best similarities; arguments as `models.alignment.tiles` says."""
    out[:] = 0.0
    for text in range(len(text_starts) - 1):
        for row in range(text_starts[text], text_starts[text + 1]):
            for group in range(len(lengths)):
                slots = slice(group * LANES, (group + 1) * LANES)
                _add_best(similarity[row], starts[group], lengths[group], out[1, text, slots])
        out[0, text] = out[1, text] / (text_starts[text + 1] - text_starts[text])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_best(row: NDArray[np.floating], start: int, lengths: I64, best: F64) -> None:
    """Add the best similarity of one sentence in each lane: 1 less the lowest cost."""
    least, cost = np.full(LANES, np.inf), np.empty(LANES)
    ended, column = 0, start
    for j in range(lengths[-1]):
        lane_costs(row[column - ended : column - ended + LANES], cost)
        for lane in range(LANES):
            a, b = least[lane], cost[lane]
            least[lane] = b if b < a else a
        column += LANES - ended
        while ended < LANES and lengths[ended] == j + 1:
            best[ended] += 1.0 - least[ended]
            ended += 1
