"""Frames that come one after the other become batches of clips, holding no more of them than those that are open."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """What a backbone sees at once.

    Attributes:
        clips: (n, F, H, W, 3) uint8 RGB.
        damaged: for each clip whether a frame of it may differ from the undamaged file's, or was not there at all.
    """

    clips: Rgb = field(repr=False)
    damaged: tuple[bool, ...]


class ClipStacker:
    """Builds the clips of one consumer of one video, in order, `batch_size` at a time."""

    def __init__(self, table: NDArray[np.int64], batch_size: int) -> None:
        """Start.

        Args:
            table: (N, F) int64, for each clip the indices of its frames; ascending along both axes.
            batch_size: clips that are given at once; the last ones of a video may be fewer, and those before a change
                of the pictures' size, in which a video's own size shows unless it is cropped.
        """
        self._table = table
        self._batch_size = batch_size
        self._open: deque[_OpenClip] = deque()
        self._num_begun = 0
        self._frames: Rgb | None = None  # of the batch in which the next clip begins
        self._slot = 0  # its place there
        self._done: list[_OpenClip] = []
        self._last = -1

    def add(self, first: int, pictures: Sequence[Rgb], damaged: Sequence[bool]) -> Iterator[ClipBatch]:
        """Take the frames `first`, `first + 1`, ... and give the batches that they complete.

        Args:
            first: index of the first picture; one more than the last one of the call before.
            pictures: n of (H, W, 3) uint8; they are copied.
            damaged: n flags.
        """
        for offset, (picture, flag) in enumerate(zip(pictures, damaged, strict=True)):
            self._last = first + offset
            self._begin(picture)
            for clip in self._open:
                clip.take(self._last, picture, flag)
            while self._open and self._open[0].complete:
                yield from self._finish_clip()

    def finish(self) -> Iterator[ClipBatch]:
        """Give the rest as no more frames come; a clip without any frame of its own is not given.

        A clip's last frame is repeated for those that are missing, and the clip counts as damaged.
        """
        while self._open:
            self._open[0].fill_up()
            yield from self._finish_clip()
        if self._done:
            yield self._take_batch()

    def _begin(self, picture: Rgb) -> None:
        """Open the clips whose first frame this is."""
        while self._num_begun < len(self._table) and self._table[self._num_begun, 0] <= self._last:
            if self._frames is None or self._slot == len(self._frames) or self._frames.shape[2:] != picture.shape:
                count = min(self._batch_size, len(self._table) - self._num_begun)
                self._frames, self._slot = np.empty((count, self._table.shape[1], *picture.shape), np.uint8), 0
            self._open.append(_OpenClip(self._table[self._num_begun], self._frames, self._slot))
            self._slot += 1
            self._num_begun += 1

    def _finish_clip(self) -> Iterator[ClipBatch]:
        clip = self._open.popleft()
        if self._done and self._done[0].batch is not clip.batch:  # the pictures' size changed before that was full
            yield self._take_batch()
        self._done.append(clip)
        if len(self._done) == len(self._done[0].batch):
            yield self._take_batch()

    def _take_batch(self) -> ClipBatch:
        done, self._done = self._done, []
        return ClipBatch(clips=done[0].batch[: len(done)], damaged=tuple(clip.damaged for clip in done))


class _OpenClip:
    """A clip on its way, at its place in its batch."""

    def __init__(self, wanted: NDArray[np.int64], batch: Rgb, slot: int) -> None:
        self.batch = batch
        self.damaged = False
        self._wanted = wanted.tolist()
        self._frames = batch[slot]
        self._filled = 0

    @property
    def complete(self) -> bool:
        return self._filled == len(self._wanted)

    def take(self, index: int, picture: Rgb, damaged: bool) -> None:
        """Put a frame wherever this clip wants it."""
        while not self.complete and self._wanted[self._filled] == index:
            self._frames[self._filled] = picture
            self.damaged |= damaged
            self._filled += 1

    def fill_up(self) -> None:
        """Repeat the last frame that came."""
        if not self.complete:
            self._frames[self._filled :] = self._frames[self._filled - 1]
            self._filled = len(self._wanted)
            self.damaged = True
