"""What happens, for people: a line a stage with an ETA on a terminal, a log line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, TextIO

LOG_EVERY_S = 15.0


class ProgressView(Protocol):
    """Shows how far the run is."""

    def start_stage(self, stage: str, num_units: int, num_todo: int) -> None:
        """A stage begins."""

    def update(self, running: Sequence[float], num_finished: int, text: str) -> None:
        """Units of the stage that run now are so far, others are finished."""

    def hashing(self, done: int, total: int) -> None:
        """Bytes read, of bytes to read, before a stage can be planned."""

    def end_stage(self, line: str) -> None:
        """A stage is sealed; `line` says what came out."""


class LineProgress:
    """Plain lines: what a log file or CI wants; on a terminal the last line is redrawn."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._stage = ""
        self._num_units = self._num_todo = 0
        self._started = self._last_shown = time.monotonic()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def start_stage(self, stage: str, num_units: int, num_todo: int) -> None:
        """See `ProgressView`."""
        self._stage, self._num_units, self._num_todo = stage, num_units, num_todo
        self._started = self._last_shown = time.monotonic()

    def update(self, running: Sequence[float], num_finished: int, text: str) -> None:
        """See `ProgressView`."""
        done = num_finished + sum(running)
        elapsed = time.monotonic() - self._started
        eta = f"ETA {_duration(elapsed * (self._num_todo - done) / done)}" if done > 0 else "ETA unknown"
        share = done / self._num_todo if self._num_todo else 1.0
        self._show(f"{self._stage:<9} {share:4.0%}  {num_finished}/{self._num_todo} units  {eta}  {text}".rstrip())

    def hashing(self, done: int, total: int) -> None:
        """See `ProgressView`."""
        self._show(f"{'hashing':<9} {done / max(total, 1):4.0%}  {done / 2**30:.2f}/{total / 2**30:.2f} GiB")

    def end_stage(self, line: str) -> None:
        """See `ProgressView`."""
        self._clear()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _show(self, line: str) -> None:
        now = time.monotonic()
        if self._is_terminal:
            self._stream.write(f"\r{line:<{self._width}}")
            self._width = len(line)
        elif now - self._last_shown >= LOG_EVERY_S:
            self._stream.write(f"{line}\n")
            self._last_shown = now
        self._stream.flush()

    def _clear(self) -> None:
        if self._is_terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
