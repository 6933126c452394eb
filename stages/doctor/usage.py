"""What this process, those below it and all others take of the machine meanwhile."""

import contextlib
import os
import threading
from types import TracebackType
from typing import Self

import psutil

_WATCH_EVERY_S = 0.2


class MemoryWatch:
    """The most memory that this process and its children took, as sums of proportional set sizes.

    Attributes:
        own_bytes: peak of this process.
        children_bytes: peak of all below it together.
    """

    def __init__(self) -> None:
        self.own_bytes = self.children_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            self.own_bytes = max(self.own_bytes, _memory(me))
            children = sum(_memory(child) for child in me.children(recursive=True))
            self.children_bytes = max(self.children_bytes, children)
            if self._stopped.wait(_WATCH_EVERY_S):
                return


def _memory(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except psutil.Error:  # it has ended, or is not ours
        return 0
    return int(getattr(info, "pss", info.rss))


def children_cpu_s() -> float:
    """CPU seconds of the processes below this one."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            used = child.cpu_times()
            total += used.user + used.system
    return total


def others_cpu_s() -> float:
    """CPU seconds that everything else on this machine has used."""
    whole, own = psutil.cpu_times(), os.times()
    running = own.user + own.system + own.children_user + own.children_system
    return float(sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - running)
