"""How videos stand side by side, so that one vector instruction moves a whole group of them one window on.

Videos are sorted by length and cut into groups of `LANES`. Within a group the columns of the matrix product are in
order of window first and of lane second: the similarities of one sentence with window j of every video of the group
lie next to one another. A video that has ended leaves no gap: its lane then reads a value of another column, which
nobody looks at. So nothing is padded but the first group of a set whose size is no multiple of `LANES`, whose empty
lanes hold one window each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.sequences import F32, F64, I64, place_unit_rows

LANES = 16
"""Videos in lockstep: two AVX-512 or four AVX2 registers of float64."""

_BLOCK_COLUMNS = 1024
"""Columns of one matrix product; a group that has more stands alone. A tile is then about square, which the BLAS, as it
brings both sides of a product into its own order first, computes fastest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Groups of videos whose columns are multiplied together.

    Attributes:
        lengths: (G, LANES) int64 windows of each lane, ascending within and across groups.
        starts: (G + 1,) int64 first column of each group, and the number of columns C.
        videos: (G * LANES,) int64 position of each lane's video in the caller's order; -1 for an empty lane.
    """

    lengths: I64
    starts: I64
    videos: I64

    @property
    def num_empty(self) -> int:
        """Lanes without a video; they come first, and hold one window each."""
        return int((self.videos < 0).sum())

    def columns(self) -> I64:
        """Column of each window in order of time, slot by slot (group times `LANES`, plus lane): (C,) int64."""
        lengths = self.lengths.ravel()
        columns = np.empty(int(lengths.sum()), dtype=np.int64)
        _place_columns(self.lengths, self.starts, np.cumsum(lengths) - lengths, columns)
        return columns

    def place_unit_columns(self, videos: Sequence[F32], rows: NDArray[np.floating]) -> None:
        """Write the block's windows at length 1 in the order of its columns.

        Args:
            videos: All V arrays (N, E) of the set.
            rows: (C, E) to write; an empty lane's row is set to zero.

        Raises:
            ValueError: a row holds NaN or infinity.
        """
        empty, real = np.split(self.columns(), [self.num_empty])
        rows[empty] = 0.0
        own = [videos[video] for video in self.videos[self.num_empty :].tolist()]
        place_unit_rows(np.concatenate(own), real, rows)


def plan_blocks(lengths: I64) -> list[Block]:
    """Group videos by length and groups by columns.

    Args:
        lengths: (V,) int64, at least one; each at least 1.

    Returns:
        Blocks that hold every video once.
    """
    order = np.argsort(lengths, kind="stable")
    num_empty = -len(lengths) % LANES
    videos = np.concatenate([np.full(num_empty, -1), order])
    by_lane = np.concatenate([np.ones(num_empty, dtype=np.int64), lengths[order]]).reshape(-1, LANES)
    sizes = by_lane.sum(axis=1)
    blocks, first = [], 0
    for group in range(1, len(sizes) + 1):
        if group == len(sizes) or sizes[first : group + 1].sum() > _BLOCK_COLUMNS:
            starts = np.concatenate([[0], np.cumsum(sizes[first:group])])
            members = videos[first * LANES : group * LANES]
            blocks.append(Block(lengths=by_lane[first:group], starts=starts, videos=members))
            first = group
    return blocks


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _place_columns(lengths: I64, starts: I64, first: I64, columns: I64) -> None:
    """Write the columns of every slot one behind the other; `first` says where a slot's begin."""
    for group in range(len(lengths)):
        ended, column = 0, starts[group]
        for window in range(lengths[group, -1]):
            for lane in range(ended, LANES):
                columns[first[group * LANES + lane] + window] = column + lane - ended
            column += LANES - ended
            while ended < LANES and lengths[group, ended] == window + 1:
                ended += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def lane_costs(similarity: NDArray[np.floating], cost: F64) -> None:
    """Write 1 - similarity of each lane; a loop of its own, because one that also widens is not vectorised.

    Args:
        similarity: (LANES,) float32 or float64.
        cost: (LANES,) float64.
    """
    for lane in range(LANES):
        cost[lane] = 1.0 - similarity[lane]
