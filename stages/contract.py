"""What the pipeline asks of a stage, and what it gives to one.

A `Stage` is frozen and holds settings only, so that it is cheap to build, to pickle and to plan with: importing it
must import neither torch nor ray. `units()` says what there is to do; `open()` loads whatever is heavy, once, and
gives a `Worker` whose `process()` does one unit. The engine owns everything around that: fingerprints, what is done
already, where a unit runs, how its files become visible, and that inputs = successes + failures.

The order in every verb's file is Config, Stage, Worker.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from stages.artifacts.commit import StagedFile
    from stages.artifacts.layout import Store
    from stages.artifacts.sealed import Artifact


def _ignore_progress(done: int, total: int) -> None:
    """Nobody listens."""


Json = Any
"""A value that json.dumps takes; a recursive alias is what pydantic and mypy do not agree on."""


class StageConfig(BaseModel):
    """Base of every section of a run's configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One input that a unit could not use, and why.

    Attributes:
        input_id: which one, as the unit's `inputs` names it.
        cause: machine-readable reason, such as `decode_error`.
        message: what, where, got, expected, what to do; no time, address or absolute path (it is committed).
        state: `failed`, or `quarantined` after too many attempts.
    """

    input_id: str
    cause: str
    message: str
    state: str = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One artifact that a stage makes.

    Attributes:
        label: its name in a run: the kind, or kind and variant (`features.s3d`). Inputs are found by it.
        schema: version of the layout of its files.
        about: facts that hold for the whole artifact, deterministic (such as `{"weights": "random:seed=0"}`).
    """

    label: str
    schema: int = 1
    about: Mapping[str, Json] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The folder of the store that it lies in."""
        return self.label.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The smallest piece of work that is done, retried and committed as a whole.

    Attributes:
        unit_id: unique within the artifact and fit for a file name, e.g. `00017`.
        inputs: names of what goes in; each ends as a success or as a Failure with that `input_id`.
        payload: JSON that the worker needs to do it (paths, ids, positions).
        identities: for each output label, named parts (JSON) of everything that decides that output's bytes, such as
            `{"config": ..., "weights": ..., "members": ...}`. Stage name and version are added by the engine. The
            parts are named so that `fabula plan` can say which one changed.
        after: units of the same stage that must be committed before: it reads what they made (`Inputs.making`).
        takes_over: for an output label, the fingerprint of a unit that an earlier artifact committed: this unit is
            that one, whatever its identity says, and is adopted.
    """

    unit_id: str
    inputs: tuple[str, ...]
    payload: Mapping[str, Json]
    identities: Mapping[str, Mapping[str, Json]]
    after: tuple[str, ...] = ()
    takes_over: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker of a stage occupies.

    Attributes:
        num_cpus: CPU cores, as Ray counts them.
        num_gpus: cards.
        max_workers: never more than so many at once (1 for a stage that is one unit).
        team_size: processes that do one unit together, each with these resources; see `TeamWorker`.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    max_workers: int | None = None
    team_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The sealed artifacts that a stage reads, and the store that they lie in.

    Attributes:
        store: the root of all artifacts.
        artifacts: by label.
        making: the unsealed artifacts that the stage itself makes, by label, for units that come after others. Only
            workers read it.
        previous: sealed artifacts that earlier runs of this configuration made, by label, newest first. Only planning
            reads it (to keep positions); nothing of it may decide bytes other than through the identities.
        on_planning: told bytes read and bytes to read when planning has to read much (hashing).
    """

    store: "Store"
    artifacts: Mapping[str, "Artifact"]
    making: Mapping[str, "Artifact"] = field(default_factory=dict)
    previous: Mapping[str, Sequence["Artifact"]] = field(default_factory=dict)
    on_planning: Callable[[int, int], None] = _ignore_progress

    def __getitem__(self, label: str) -> "Artifact":
        return self.artifacts[label]

    def for_workers(self) -> "Inputs":
        """Without what only planning reads: this is what travels to workers."""
        return Inputs(store=self.store, artifacts=self.artifacts, making=self.making)


class Out(Protocol):
    """Where a worker puts what it makes. It cannot name a final path."""

    @property
    def wanted(self) -> frozenset[str]:
        """Labels whose file is still to be made: an output that was adopted or committed already is not asked for."""

    def create(self, label: str, name: str) -> "StagedFile":
        """Open a new staged file for writing.

        Args:
            label: the output that it belongs to.
            name: logical path in the artifact, e.g. `shards/s3d.tar`; the final one also holds unit and hash.
        """

    def describe(self, label: str, info: Mapping[str, Json]) -> None:
        """Put deterministic facts into the commit record (counts, coverage, states)."""

    def report(self, done: float, text: str = "") -> None:
        """Tell the driver how far this unit is.

        Args:
            done: share of the unit, 0 to 1.
            text: what to show beside it, e.g. `loss 2.31`.
        """

    def scratch_dir(self, label: str) -> Path:
        """A folder of this unit that survives a kill, for resumable work."""

    def attempts_path(self, label: str) -> Path:
        """The unit's attempts/*.jsonl: appended before a risky file is opened."""


class Worker(Protocol):
    """A stage with its weights loaded."""

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Do one unit.

        Args:
            unit: what to do.
            out: where to put it. Every label in `out.wanted` must get its files.

        Returns:
            One Failure for each input that could not be used.

        Raises:
            TransientError: when trying again may help; the unit is retried, then left open.
        """

    def close(self) -> None:
        """Give back what `open` took (processes, files). Called once, also after an error."""


class TeamWorker(Worker, Protocol):
    """A worker whose unit several processes do together: one calls `process`, the others `assist`.

    They find each other through torch's process group, which the executor has made.
    """

    def assist(self, unit: Unit, out: Out) -> None:
        """Take part in a unit that another process commits; what is put into `out` is thrown away."""


class Stage(ABC):
    """Settings of one step of the pipeline.

    Subclasses are frozen dataclasses (`@dataclass(frozen=True)`) whose first field is `config`, their StageConfig.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raised when the bytes that it writes would change

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Labels of the artifacts that it reads."""

    @abstractmethod
    def outputs(self) -> tuple[Output, ...]:
        """The artifacts that it makes."""

    @abstractmethod
    def units(self, inputs: Inputs) -> Sequence[Unit]:
        """Everything there is to do, done or not. Cheap, deterministic, no heavy imports."""

    @abstractmethod
    def open(self, inputs: Inputs) -> Worker:
        """Load what is heavy (weights, libraries) and give the worker."""

    def check_files(self) -> None:  # noqa: B027 - most stages are given none
        """Refuse files that the user names beside the media and that are not there, before hours of other work.

        Raises:
            ConfigError: one does not exist, or is something else.
        """

    def resources(self) -> Resources:
        """What one worker occupies."""
        return Resources()
