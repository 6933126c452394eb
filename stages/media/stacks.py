"""Frames that come one after the other become clips, holding no more of them than one clip spans."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What a backbone sees for one row.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        damaged: a frame of it may differ from the undamaged file's, or was not there at all.
    """

    frames: Rgb = field(repr=False)
    damaged: bool


class ClipStacker:
    """Builds the clips of one consumer of one video, in order."""

    def __init__(self, table: NDArray[np.int64]) -> None:
        """Start.

        Args:
            table: (N, F) int64, for each clip the indices of its frames; ascending along both axes.
        """
        self._table = table
        self._frames: dict[int, tuple[Rgb, bool]] = {}
        self._last = -1
        self._done = 0

    @property
    def num_clips(self) -> int:
        """Clips that were given so far."""
        return self._done

    def add(self, first: int, pictures: Rgb, damaged: Sequence[bool]) -> Iterator[Clip]:
        """Take the frames `first`, `first + 1`, ... and give the clips that they complete.

        Args:
            first: index of the first picture; one more than the last one of the call before.
            pictures: (n, H, W, 3) uint8.
            damaged: n flags.
        """
        for offset, flag in enumerate(damaged):
            self._last = first + offset
            self._frames[self._last] = (pictures[offset], flag)
            while self._done < len(self._table) and self._table[self._done, -1] <= self._last:
                yield self._stack()

    def finish(self) -> Iterator[Clip]:
        """Give the clips that stay incomplete as no more frames come; one without any frame of its own is not given.

        Their last frame is repeated for those that are missing, and they count as damaged.
        """
        while self._done < len(self._table) and self._table[self._done, 0] <= self._last:
            yield self._stack()

    def _stack(self) -> Clip:
        wanted = self._table[self._done]
        chosen = [self._frames[min(int(index), self._last)] for index in wanted]
        self._done += 1
        keep_from = int(self._table[self._done, 0]) if self._done < len(self._table) else self._last + 1
        for index in [index for index in self._frames if index < min(keep_from, self._last)]:
            del self._frames[index]
        return Clip(
            frames=np.stack([frame for frame, _ in chosen]),
            damaged=any(flag for _, flag in chosen) or int(wanted[-1]) > self._last,
        )
