"""What an executor is, and the one way in which a unit is done wherever it runs."""

import logging
import os
import shutil
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from pipeline.locks import alone_in
from stages.artifacts.commit import StagedOutput
from stages.artifacts.durable import storage_problem
from stages.artifacts.layout import ArtifactDir
from stages.contract import Inputs, Stage, TeamWorker, Unit, Worker
from stages.errors import FabulaError, TransientError

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.5


def num_cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A unit that is still to be done, and where its outputs go.

    Attributes:
        unit: what to do.
        targets: artifact folder of each label that is still to be made.
        fingerprints: of the unit, by label.
    """

    unit: Unit
    targets: Mapping[str, ArtifactDir]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a unit is that is being done."""

    unit_id: str
    done: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a unit ended. Exceptions do not travel; this does.

    Attributes:
        unit_id: which.
        outcome: `committed`; `open` when it may pass next time; `refused` when the user has to mend something;
            `crashed` for a bug.
        labels: of the outputs that it committed; one that another run committed first is not among them.
        message: for all but `committed`.
        error: class name of the error, '' if there was none.
        trace: for a bug.
    """

    unit_id: str
    outcome: Literal["committed", "open", "refused", "crashed"]
    labels: Sequence[str] = ()
    message: str = ""
    error: str = ""
    trace: str = ""


class Executor(Protocol):
    """Runs jobs of a stage."""

    def run(self, stage: Stage, inputs: Inputs, jobs: Sequence[Job]) -> Generator[Progress | Report]:
        """Do the jobs in any order; whoever does not want the rest closes the generator.

        Yields:
            Progress now and then, and one Report for each job.
        """

    def close(self) -> None:
        """End every process that it started."""


class OpenedWorker:
    """A stage's worker that is opened at its first job, so that a failing `open` is a report, too."""

    def __init__(self, stage: Stage, inputs: Inputs, *, num_retries: int) -> None:
        self._stage = stage
        self._inputs = inputs
        self._num_retries = num_retries
        self._worker: Worker | None = None

    def perform(self, job: Job, on_progress: Callable[[float, str], None]) -> Report:
        """Do one job and commit it. Never raises for what the job does."""
        return self._reported(job, lambda: self._perform_with_retries(job, on_progress))

    def assist(self, job: Job) -> Report:
        """Take part in a job that another process performs. Never raises for what the job does."""
        return self._reported(job, lambda: self._assist(job))

    def _reported(self, job: Job, work: Callable[[], Sequence[str]]) -> Report:
        unit_id = job.unit.unit_id
        try:
            labels = work()
        except TransientError as error:
            return Report(unit_id=unit_id, outcome="open", message=str(error), error=type(error).__name__)
        except FabulaError as error:
            return Report(unit_id=unit_id, outcome="refused", message=str(error), error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug in a worker must not cross processes
            problem = storage_problem(error) if isinstance(error, OSError) else None
            if problem is not None:
                return Report(unit_id=unit_id, outcome="refused", message=problem, error=type(error).__name__)
            return Report(
                unit_id=unit_id,
                outcome="crashed",
                message=f"{type(error).__name__}: {error}",
                error=type(error).__name__,
                trace=traceback.format_exc(),
            )
        return Report(unit_id=unit_id, outcome="committed", labels=labels)

    def _perform_with_retries(self, job: Job, on_progress: Callable[[float, str], None]) -> Sequence[str]:
        for attempt in range(self._num_retries + 1):
            try:
                return self._perform_once(job, on_progress)
            except TransientError as error:
                if attempt == self._num_retries:
                    raise
                logger.warning("unit_retried unit=%s attempt=%d reason=%s", job.unit.unit_id, attempt + 1, error)
                time.sleep(FIRST_BACKOFF_S * 2**attempt)
        return ()

    def _perform_once(self, job: Job, on_progress: Callable[[float, str], None]) -> Sequence[str]:
        unit_id = job.unit.unit_id
        scratches = [target.scratch_dir(unit_id) for target in job.targets.values()]
        with alone_in(scratches):  # of two runs that want the unit, one does it; attempts and scratch have one writer
            targets = {label: t for label, t in job.targets.items() if not t.commit_path(unit_id).is_file()}
            if not targets:
                for scratch in scratches:
                    shutil.rmtree(scratch, ignore_errors=True)
                return ()
            return self._perform_alone(job, targets, on_progress)

    def _perform_alone(
        self, job: Job, targets: Mapping[str, ArtifactDir], on_progress: Callable[[float, str], None]
    ) -> Sequence[str]:
        if self._worker is None:
            self._worker = self._stage.open(self._inputs)
        out = StagedOutput(job.unit.unit_id, targets, on_progress)
        try:
            failures = list(self._worker.process(job.unit, out))
            return out.commit(job.fingerprints, job.unit.inputs, failures)
        finally:
            out.discard()

    def _assist(self, job: Job) -> Sequence[str]:
        if self._worker is None:
            self._worker = self._stage.open(self._inputs)
        out = StagedOutput(job.unit.unit_id, job.targets)
        try:
            cast(TeamWorker, self._worker).assist(job.unit, out)
        finally:
            out.discard()
        return ()

    def close(self) -> None:
        """Close the worker, if it was opened."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
