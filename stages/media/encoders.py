"""Networks that are given clips ahead of their answers, so that decoding, copying and computing go on at once.

A row depends on its video alone, whatever else is computed meanwhile: on a CPU each batch holds clips of one video, and
one thread computes it from its beginning to its end.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.media.geometry import Rgb

Encode = Callable[[Rgb], NDArray[np.float32]]
"""(n, F, H, W, 3) uint8 RGB -> (n, D) float32."""

Rows = NDArray[np.float32]

_WAITING_A_THREAD = 2


class Encoder(Protocol):
    """A network behind a queue."""

    def submit(self, clips: Rgb) -> "Future[Rows]":
        """Hand over (n, F, H, W, 3) uint8 clips of one video, which stay unchanged, for (n, D) float32 rows.

        It waits while too many are on their way already.
        """

    def flush(self) -> None:
        """Compute what waits for more clips to come."""


class ThreadPool:
    """Threads that several networks share, each computing one batch at a time; what waits for them is bounded."""

    def __init__(self, num_threads: int) -> None:
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="encode")
        self._slots = threading.BoundedSemaphore(_WAITING_A_THREAD * num_threads)

    def submit(self, encode: Encode, clips: Rgb) -> "Future[Rows]":
        """See `Encoder`."""
        self._slots.acquire()
        future = self._threads.submit(encode, clips)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def close(self) -> None:
        """End the threads; what waits is not computed."""
        self._threads.shutdown(cancel_futures=True)


class ThreadedEncoder:
    """A network that computes in the threads of a pool; see `Encoder`."""

    def __init__(self, encode: Encode, pool: ThreadPool) -> None:
        self._encode = encode
        self._pool = pool

    def submit(self, clips: Rgb) -> "Future[Rows]":
        """See `Encoder`."""
        return self._pool.submit(self._encode, clips)

    def flush(self) -> None:
        """Nothing waits for more."""


class Batches(Protocol):
    """A network that computes batches of one fixed size, in slots: one is filled while another is computed."""

    @property
    def num_slots(self) -> int:
        """At least 2."""

    def host(self, slot: int) -> Rgb:
        """Where a slot's next batch is written, (B, F, H, W, 3); free once its rows were read."""

    def launch(self, slot: int) -> None:
        """Begin to compute what was written."""

    def rows(self, slot: int) -> Rows:
        """Wait for a slot's batch and give its rows, (B, D)."""


class FillingEncoder:
    """A network whose batches are filled across videos; see `Encoder`.

    For a card alone, where a row may differ from one batch to the next in its last bits: cosine >= 0.9999. It is used
    from one thread.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._slot = 0
        self._filled = 0
        self._waiting: list[Future[Rows]] = []  # of the slot that is filled, one a clip
        self._computed: deque[tuple[int, list[Future[Rows]]]] = deque()

    def submit(self, clips: Rgb) -> "Future[Rows]":
        """See `Encoder`; n is 1."""
        if len(clips) != 1:
            raise ValueError(f"batches are filled clip by clip: got {len(clips)} clips at once, expected 1")
        host = self._batches.host(self._slot)
        host[self._filled] = clips[0]
        self._filled += 1
        future: Future[Rows] = Future()
        self._waiting.append(future)
        if self._filled == len(host):
            self._launch()
        return future

    def flush(self) -> None:
        """Compute what is there, and wait for it."""
        if self._filled:
            self._launch()
        while self._computed:
            self._collect()

    def _launch(self) -> None:
        self._batches.launch(self._slot)
        self._computed.append((self._slot, self._waiting))
        self._waiting, self._filled = [], 0
        self._slot = (self._slot + 1) % self._batches.num_slots
        if len(self._computed) == self._batches.num_slots:
            self._collect()  # it is the next to be filled

    def _collect(self) -> None:
        slot, futures = self._computed.popleft()
        for future, row in zip(futures, self._batches.rows(slot), strict=False):
            future.set_result(row[None])
