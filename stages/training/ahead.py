"""Batches that are prepared while the step before them is computed. The order of the data does not depend on it."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self

from stages.training.task import BatchSource, BatchT
from stages.training.team import Part


class Ahead(Generic[BatchT]):
    """Reads the batches of a training in order, some of them ahead, but never over the end of an epoch.

    Attributes:
        waited_s: how long `next` has waited in all.
    """

    def __init__(
        self, source: BatchSource[BatchT], indices: Sequence[int], part: Part, *, readers: int, depth: int = 2
    ) -> None:
        """Start reading.

        Args:
            source: where batches come from.
            indices: numbers of the batches that will be asked for, ascending.
            part: of each batch.
            readers: threads that prepare batches.
            depth: batches that wait at most, ready or nearly so.
        """
        self._source, self._part, self._depth = source, part, depth
        self._indices = indices
        self._taken = self._sent = 0
        self._epoch = -1
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="fabula-batches")
        self._waiting: list[Future[BatchT]] = []
        self.waited_s = 0.0

    def next(self) -> BatchT:
        """Return the next batch; an epoch begins when its first batch is asked for."""
        began = time.perf_counter()
        epoch = self._epoch_of(self._taken)
        if epoch != self._epoch:
            self._source.begin_epoch(epoch)
            self._epoch = epoch
        self._fill()
        batch = self._waiting.pop(0).result()
        self._taken += 1
        self._fill()
        self.waited_s += time.perf_counter() - began
        return batch

    def _fill(self) -> None:
        while (
            self._sent < len(self._indices)
            and len(self._waiting) < self._depth
            and self._epoch_of(self._sent) == self._epoch
        ):
            index = self._indices[self._sent]
            self._waiting.append(self._pool.submit(self._source.batch, index, self._part))
            self._sent += 1

    def _epoch_of(self, place: int) -> int:
        return self._indices[place] // self._source.batches_per_epoch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
