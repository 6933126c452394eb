"""Two small real stages for tests of the engine: they need no media and no torch."""

import errno
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, StageConfig, Unit, Worker
from stages.errors import TransientError


class CountConfig(StageConfig):
    """`words` is a folder of .txt files; every `per_unit` of them are one unit."""

    words: Path
    per_unit: int = 2
    shout: bool = False
    pause_s: float = 0.0
    num_cpus: float = 1.0
    num_gpus: float = 0.0


@dataclass(frozen=True)
class Count(Stage):
    """Counts the letters of files; a file that holds 'bad' is a Failure."""

    config: CountConfig

    name: ClassVar[str] = "count"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def outputs(self) -> tuple[Output, ...]:
        return (
            (Output(label="letters"), Output(label="capitals.shout"))
            if self.config.shout
            else (Output(label="letters"),)
        )

    def units(self, inputs: Inputs) -> list[Unit]:
        names = sorted(path.name for path in self.config.words.glob("*.txt"))
        groups = [names[i : i + self.config.per_unit] for i in range(0, len(names), self.config.per_unit)]
        return [
            Unit(
                unit_id=f"{number:05d}",
                inputs=tuple(group),
                payload={"names": group},
                identities={
                    output.label: {"members": [[name, (self.config.words / name).read_text()] for name in group]}
                    for output in self.outputs()
                },
            )
            for number, group in enumerate(groups)
        ]

    def open(self, inputs: Inputs) -> Worker:
        return CountWorker(self.config)

    def resources(self) -> Resources:
        return Resources(num_cpus=self.config.num_cpus, num_gpus=self.config.num_gpus)


class CountWorker:
    def __init__(self, config: CountConfig) -> None:
        self._config = config

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        lines, failures = [], []
        for number, name in enumerate(unit.payload["names"]):
            text = (self._config.words / name).read_text()
            time.sleep(self._config.pause_s)
            if "boom" in text:
                raise RuntimeError("a bug")
            if "die" in text and not (self._config.words / "died").exists():
                (self._config.words / "died").touch()
                os.kill(os.getpid(), 9)
            if "nice" in text:
                told = {"niceness": os.nice(0), "arenas": os.environ.get("MALLOC_ARENA_MAX"), "pid": os.getpid()}
                (self._config.words / "worker.json").write_text(json.dumps(told))
            if "wait" in text and not (self._config.words / "ready").exists():
                raise TransientError(f"{name}: not ready")
            if "full" in text:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if "bad" in text:
                failures.append(Failure(input_id=name, cause="bad_word", message=f"{name}: holds 'bad'"))
            else:
                lines.append(f"{name} {len(text)}\n")
            out.report((number + 1) / len(unit.payload["names"]))
        for label in sorted(out.wanted):
            content = "".join(lines)
            with out.create(label, "table.txt") as file:
                file.write((content.upper() if label.startswith("capitals") else content).encode())
            out.describe(label, {"lines": len(lines)})
        return failures

    def close(self) -> None:
        pass


class SumConfig(StageConfig):
    """A factor that changes the result."""

    factor: int = 1


@dataclass(frozen=True)
class Sum(Stage):
    """Adds up what Count found: one unit that reads all of it."""

    config: SumConfig

    name: ClassVar[str] = "sum"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ("letters",)

    def outputs(self) -> tuple[Output, ...]:
        return (Output(label="total"),)

    def units(self, inputs: Inputs) -> list[Unit]:
        return [
            Unit(
                unit_id="sum",
                inputs=("all",),
                payload={},
                identities={
                    "total": {
                        "config": self.config.model_dump(),
                        "letters": [r.fingerprint for r in inputs["letters"].records],
                    }
                },
            )
        ]

    def open(self, inputs: Inputs) -> Worker:
        return SumWorker(self.config, inputs)


class SumWorker:
    def __init__(self, config: SumConfig, inputs: Inputs) -> None:
        self._factor, self._inputs = config.factor, inputs

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        paths = self._inputs["letters"].paths("table.txt")
        total = sum(int(line.split()[1]) for path in paths for line in path.read_text().splitlines())
        with out.create("total", "total.txt") as file:
            file.write(str(total * self._factor).encode())
        return []

    def close(self) -> None:
        pass


class RelayConfig(StageConfig):
    """How many runners there are, and one that stumbles at first."""

    runners: int = 3
    stumbles: Path | None = None


@dataclass(frozen=True)
class Relay(Stage):
    """Each unit comes after the one before and reads what that made; the first may be taken over."""

    config: RelayConfig
    first_is: str = ""

    name: ClassVar[str] = "relay"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def outputs(self) -> tuple[Output, ...]:
        return (Output(label="baton"),)

    def units(self, inputs: Inputs) -> list[Unit]:
        return [
            Unit(
                unit_id=f"r{number}",
                inputs=(f"runner {number}",),
                payload={},
                identities={"baton": {"number": number, "of": self.config.runners if number == 0 else 0}},
                after=(f"r{number - 1}",) if number else (),
                takes_over={"baton": self.first_is} if self.first_is and number == 0 else {},
            )
            for number in reversed(range(self.config.runners))
        ]

    def open(self, inputs: Inputs) -> Worker:
        return RelayWorker(self.config, inputs)


class RelayWorker:
    def __init__(self, config: RelayConfig, inputs: Inputs) -> None:
        self._config, self._inputs = config, inputs

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        content = unit.unit_id
        if unit.unit_id == "r1" and self._config.stumbles and not self._config.stumbles.exists():
            raise TransientError("stumbled")
        for before in unit.after:
            record = self._inputs.making["baton"].record(before)
            assert record is not None
            content = self._inputs.making["baton"].path(record.files[0]).read_text() + content
        with out.create("baton", "baton.txt") as file:
            file.write(content.encode())
        return []

    def close(self) -> None:
        pass
