"""Working memory that a thread keeps between calls: what is given back is fetched page by page when asked for again.

Those faults cost as much as the alignment itself where a set is small and scored often.
"""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 16 << 20
"""A larger buffer is not kept."""


class HeldMemory(threading.local):
    """Buffers by purpose, a set of them for each thread."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def array(self, purpose: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Give memory of any content; it lasts until the thread asks again for the same purpose."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(purpose)
        if buffer is None or len(buffer) < size:
            buffer = np.empty(size, np.uint8)
            if size <= _MOST_BYTES:
                self._buffers[purpose] = buffer
        found: NDArray[Any] = buffer[:size].view(dtype).reshape(shape)
        return found


HELD = HeldMemory()
