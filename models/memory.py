"""Freed memory that the C library keeps for the next clip or step, and how often Python looks for garbage.

By default glibc gives large blocks back to the system as soon as they are free, and a thread's heaps, too. A network
frees and wants the same hundred megabytes with every clip: its pages were mapped and zeroed anew for a seventh of the
time. What is kept is at most what a process needed at once; where another library allocates, nothing changes.
"""

import ctypes
import gc
import os

# Name in the environment, number of mallopt(3), value.
_SETTINGS = (
    ("MALLOC_ARENA_MAX", -8, 1),  # other arenas than the first are made of small heaps, which are given back whole
    ("MALLOC_MMAP_THRESHOLD_", -3, 2**30),  # blocks below it are kept
    ("MALLOC_TRIM_THRESHOLD_", -1, 2**31 - 1),  # more than this is given back
)


def keep_freed_memory() -> None:
    """Ask it of this process, from now on; best before it has threads. Who set one of the names keeps theirs."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for name, number, value in _SETTINGS:
        if os.environ.get(name, str(value)) == str(value):
            mallopt(number, value)


def keep_freed_memory_in_children() -> None:
    """Ask it of processes that are started from now on. Who set one of the names keeps theirs."""
    for name, _, value in _SETTINGS:
        os.environ.setdefault(name, str(value))


def collect_garbage_seldom() -> None:
    """Look for unreachable cycles after 50,000 new objects, not after every 700.

    What importing torch and transformers makes stays: looking through it 855 times was a seventh of the time it took.
    """
    gc.set_threshold(50_000, 20, 50)
