"""Memory that a decode process and its supervisor share: pictures cross without being copied through a pipe.

One side writes, the other reads and lets go in the order of writing. What crosses the pipe beside it is where things
lie. There is no lock that a killed process could hold: each side alone writes its own count.
"""

import math
import mmap
import os
import tempfile
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RING_BYTES = 32 << 20

_COUNT_BYTES = 64  # the count of bytes let go, in a cache line of its own
_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies.

    Attributes:
        offset: of its first byte in the ring.
        size: bytes.
        end: count of all bytes that were ever written, with this; the reader lets go up to here.
    """

    offset: int
    size: int
    end: int


class Ring:
    """One side's view of the shared memory."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind an open descriptor (`open_shared_memory`), which may be closed afterwards."""
        size = os.fstat(descriptor).st_size
        shared = mmap.mmap(descriptor, size)
        self.capacity = size - _COUNT_BYTES
        self._let_go: NDArray[np.uint64] = np.frombuffer(shared, np.uint64, 1)
        self._memory: NDArray[np.uint8] = np.frombuffer(shared, np.uint8, self.capacity, _COUNT_BYTES)
        self._written = 0
        self._seen = 0
        self._let_go_at = -math.inf

    @property
    def free_since(self) -> float:
        """When all that was seen had been let go, in `time.monotonic()`; now, if the writer may still wait for some.

        The reader's side.
        """
        return self._let_go_at if self._seen == int(self._let_go[0]) else time.monotonic()

    def fits(self, size: int) -> bool:
        """Whether something of so many bytes may be written at all; one half of the ring is for the next thing."""
        return size <= self.capacity // 2

    def reserve(self, size: int) -> Place:
        """Wait until there is room for `size` bytes and give it; the writer's side.

        Raises:
            ValueError: it does not fit.
        """
        if not self.fits(size):
            raise ValueError(f"ring: got {size} bytes, expected at most {self.capacity // 2}")
        offset = self._written % self.capacity
        if offset + size > self.capacity:  # nothing wraps: the rest of the circle is left out
            self._written += self.capacity - offset
            offset = 0
        self._written += size
        while self._written - int(self._let_go[0]) > self.capacity:
            time.sleep(_PAUSE_S)
        return Place(offset, size, self._written)

    def view(self, place: Place) -> NDArray[np.uint8]:
        """The bytes at a place: 1-D uint8, shared."""
        self._seen = place.end
        return self._memory[place.offset : place.offset + place.size]

    def let_go(self, place: Place) -> None:
        """Say that nothing up to here is needed any more; the reader's side."""
        self._let_go_at = time.monotonic()  # first, as another thread that sees the count asks since when
        self._let_go[0] = place.end


def open_shared_memory(size: int = RING_BYTES) -> int:
    """Give a descriptor of memory that a child may inherit; it is gone when all who have it have ended."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("fabula-pictures")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _COUNT_BYTES + size)
    return descriptor
