"""Where a protocol that fits something may keep it over a kill, and whom it tells how far it is. Knows no torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


def _tell_nobody(done: float, text: str) -> None:
    """Nobody listens."""


def _keep_nothing(name: str, content: bytes) -> None:
    """Nobody wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a fit may use beside memory.

    Attributes:
        scratch_dir: a folder that survives a kill; None keeps nothing.
        report: told the share that is done, and the loss.
        keep: makes bytes a file of the evaluation, by its name.
    """

    scratch_dir: Path | None = None
    report: Callable[[float, str], None] = _tell_nobody
    keep: Callable[[str, bytes], None] = _keep_nothing

    def part(self, name: str, begin: float, end: float) -> "Workspace":
        """The same for one of several fits, with a folder of its own; its work is the shares from begin to end."""

        def report(done: float, text: str) -> None:
            self.report(begin + (end - begin) * done, f"{name}: {text}")

        return replace(self, scratch_dir=self.scratch_dir and self.scratch_dir / name, report=report)
