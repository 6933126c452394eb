"""Decoders that misbehave; a decode process that preloads this module has them in its real registry."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from stages.errors import ConfigError
from stages.media.decoders import DECODERS
from stages.media.decoders.base import OpenVideo
from stages.media.decoders.pyav import PyavDecoder
from stages.media.sources import Source


class _Broken:
    """Does `misdeed` when a file is opened whose name holds 'bad'; others decode as usual."""

    @contextmanager
    def open(self, path: Path) -> Iterator[OpenVideo]:
        if "bad" in path.name:
            self.misdeed()
        with PyavDecoder().open(path) as video:
            yield video

    def misdeed(self) -> None:
        raise NotImplementedError


class Hanging(_Broken):
    """Sleeps in C with the GIL held: no Python signal handler of its process runs."""

    def misdeed(self) -> None:
        ctypes.PyDLL(None).sleep(600)


class Dying(_Broken):
    def misdeed(self) -> None:
        os.write(2, b"[h264 @ 0x55d0c8f2] about to fall over in /tmp/some/where.mp4\n")
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)


class Eating(_Broken):
    """Asks for memory, which is what is limited, but does not write to it: that takes seconds on a busy machine."""

    def misdeed(self) -> None:
        kept = []
        while True:
            kept.append(bytes(64 << 20))


class Hoarding:
    """Keeps what it took for a file: nothing is left for the next one of its process."""

    _kept: ClassVar[list[Path]] = []

    @contextmanager
    def open(self, path: Path) -> Iterator[OpenVideo]:
        if self._kept:
            raise MemoryError
        self._kept.append(path)
        with PyavDecoder().open(path) as video:
            yield video


class Leaving(_Broken):
    def misdeed(self) -> None:
        os._exit(7)


class Mistaken(_Broken):
    def misdeed(self) -> None:
        no_such_name  # noqa: B018, F821


class Absent(_Broken):
    def misdeed(self) -> None:
        raise ConfigError("decoder: its library does not import here")


class ByName:
    """The decoder `pyav`, but files whose names begin with `hangs`, `dies`, `eats` or `leaves` meet that misdeed."""

    @contextmanager
    def open(self, source: Source) -> Iterator[OpenVideo]:
        for name, misdeed in {"hangs": Hanging, "dies": Dying, "eats": Eating, "leaves": Leaving}.items():
            if source.name.startswith(name):
                misdeed().misdeed()
        with PyavDecoder().open(source) as video:
            yield video


DECODERS.update(hanging=Hanging, dying=Dying, eating=Eating, hoarding=Hoarding)
DECODERS.update(leaving=Leaving, mistaken=Mistaken, absent=Absent)
