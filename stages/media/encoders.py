"""Networks that are given clips ahead of their answers, so that decoding, copying and computing go on at once.

A row depends on its video alone, whatever else is computed meanwhile: on a CPU each batch holds clips of one video, and
one thread computes it from its beginning to its end.
"""

import threading
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
