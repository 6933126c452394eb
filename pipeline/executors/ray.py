"""The door to Ray: one actor a worker, coarse units, small records back.

`RAY_ADDRESS` joins a cluster. Without it a local one is started in a folder of its own and removed at the end; its
processes die with the driver. Ray places and restarts; which unit is done is decided by commit records alone.
"""

import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import RayActorError, RayError

from models.memory import collect_garbage_seldom, keep_freed_memory_in_children
from pipeline.executors.base import Job, OpenedWorker, Progress, Report, num_cores
from stages.contract import Inputs, Resources, Stage

logger = logging.getLogger(__name__)

POLL_S = 0.5
_TEMP_PREFIX = "fabula-ray-"
_OBJECT_STORE_BYTES = 150 * 2**20  # only small records travel


class _Actor:
    """A worker process: opens a stage once, does one unit at a time, and can be asked how far it is.

    It may go on to another stage: starting Python with torch and transformers takes longer than many a small stage.
    """

    def __init__(self) -> None:
        collect_garbage_seldom()
        self._progress = (0.0, "")

    def turn_to(self, stage: Stage, inputs: Inputs, num_retries: int) -> None:
        """Work for a stage from now on; the one before has been closed."""
        self._worker = OpenedWorker(stage, inputs, num_retries=num_retries)

    def perform(self, job: Job) -> Report:
        self._progress = (0.0, "")
        return self._worker.perform(job, self._remember)

    def _remember(self, done: float, text: str) -> None:
        self._progress = (done, text)

    @ray.method(concurrency_group="questions")  # type: ignore[untyped-decorator]  # ray has no types
    def progress(self) -> tuple[float, str]:
        return self._progress

    def close(self) -> None:
        self._worker.close()


class RayExecutor:
    """Runs units on a Ray cluster, a local one unless `RAY_ADDRESS` is set.

    Args:
        num_workers: most actors at once; None for as many as the cluster's resources hold.
        num_retries: how often a unit is tried again after a TransientError or the death of its process.
    """

    def __init__(self, *, num_workers: int | None = None, num_retries: int = 2) -> None:
        self._num_workers = num_workers
        self._num_retries = num_retries
        self._resting = _Resting()
        self._temp_dir: Path | None = None

    def run(self, stage: Stage, inputs: Inputs, jobs: Sequence[Job]) -> Generator[Progress | Report]:
        """See `Executor.run`."""
        self.connect()
        if stage.resources().team_size > 1:
            self._resting.dismiss()  # the team needs their places
            from pipeline.executors.ray_train import TeamWork, run_team

            for job in jobs:
                team_work = TeamWork(stage=stage, inputs=inputs.for_workers(), job=job)
                yield from run_team(team_work, num_retries=self._num_retries)
            return
        resources = _affordable(stage.resources(), ray.cluster_resources())
        work = _Work(stage=stage, inputs=inputs.for_workers(), resources=resources, num_retries=self._num_retries)
        size = min(len(jobs), self._limit(resources))
        crew = _Crew(work, size, self._resting.wake(resources, size))
        try:
            yield from crew.run(jobs)
        finally:
            self._resting = _Resting(crew.close())

    def _limit(self, resources: Resources) -> int:
        cluster = ray.cluster_resources()
        fits = [int(cluster.get("CPU", 0) // max(resources.num_cpus, 1e-3))]
        if resources.num_gpus:
            fits.append(int(cluster.get("GPU", 0) // resources.num_gpus))
        limits = [limit for limit in (self._num_workers, resources.max_workers, *fits) if limit is not None]
        return max(1, min(limits))

    def connect(self) -> None:
        """Join the cluster or start the local one, unless that is done; `run` does so, too."""
        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
            return
        _remove_leftovers()
        self._temp_dir = Path(tempfile.mkdtemp(prefix=f"{_TEMP_PREFIX}{os.getpid()}-", dir="/tmp"))  # sockets: short
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray's own default, 15, leaves workers a thirtieth of what any busy process beside them gets.
        os.environ.setdefault("RAY_worker_niceness", "0")
        keep_freed_memory_in_children()  # a worker has threads, and so arenas, before it can ask for itself
        ray.init(
            include_dashboard=False,
            num_cpus=max(num_cores(), self._num_workers or 1),
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=str(self._temp_dir),
            **quiet,
        )

    def close(self) -> None:
        """Leave the cluster; end and remove a local one."""
        if ray.is_initialized():
            self._resting.dismiss()
            ray.shutdown()
        if self._temp_dir is not None:
            shutil.rmtree(self._temp_dir, ignore_errors=True)
            self._temp_dir = None


def _affordable(wanted: Resources, cluster: Mapping[str, float]) -> Resources:
    """What to ask Ray for: no more than a local cluster has, or its workers would wait for ever.

    Threads decide bytes, so that a small machine has to run as many as the configuration says. A card that is not there
    is missed by the worker, which says so. A cluster that was joined may grow.
    """
    granted = replace(
        wanted,
        num_cpus=min(wanted.num_cpus, cluster.get("CPU", 0.0)),
        num_gpus=min(wanted.num_gpus, cluster.get("GPU", 0.0)),
    )
    if granted == wanted or not os.environ.get("RAY_ADDRESS"):
        return granted
    logger.warning("workers_wait wanted=%s cluster=%s", wanted, dict(cluster))
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the actors of a stage are for, what each occupies, and how often a unit is tried again."""

    stage: Stage
    inputs: Inputs
    resources: Resources
    num_retries: int


@dataclass(frozen=True, slots=True)
class _Hand:
    """An actor, and what it occupies as long as it lives."""

    actor: Any
    resources: Resources

    def can_do(self, wanted: Resources) -> bool:
        """Whether it is as good as one that is hired for these."""
        return self.resources.num_gpus == wanted.num_gpus and self.resources.num_cpus >= wanted.num_cpus


class _Resting:
    """Actors that have done their stage and may go on to the next."""

    def __init__(self, hands: Sequence[_Hand] = ()) -> None:
        self._hands = list(hands)

    def wake(self, wanted: Resources, count: int) -> list[_Hand]:
        """Give at most `count` of them to a stage; the others end.

        Those that occupy more than it wants are given only if that makes enough: whoever had to be hired beside them
        might find no place.
        """
        suited = [hand for hand in self._hands if hand.can_do(wanted)]
        if len(suited) < count:
            suited = [hand for hand in suited if hand.resources.num_cpus == wanted.num_cpus]
        woken = suited[:count]
        self._hands = [hand for hand in self._hands if hand not in woken]
        self.dismiss()
        return woken

    def dismiss(self) -> None:
        """End them."""
        while self._hands:
            ray.kill(self._hands.pop().actor)


class _Crew:
    """The actors of one stage and the jobs that they still have to do."""

    def __init__(self, work: _Work, size: int, woken: Sequence[_Hand]) -> None:
        self._actor_class = ray.remote(
            num_cpus=work.resources.num_cpus,
            num_gpus=work.resources.num_gpus,
            concurrency_groups={"questions": 1},
            max_restarts=0,
        )(_Actor)
        self._work = work
        hired = [self._hire() for _ in range(size - len(woken))]
        self._idle = [self._brief(hand) for hand in (*woken, *hired)]
        self._busy: dict[Any, tuple[_Hand, Job]] = {}
        self._deaths: dict[str, int] = {}

    def _hire(self) -> _Hand:
        return _Hand(self._actor_class.remote(), self._work.resources)

    def _brief(self, hand: _Hand) -> _Hand:
        """Say what it is for; an actor's calls are done in the order in which they are made."""
        hand.actor.turn_to.remote(self._work.stage, self._work.inputs, self._work.num_retries)
        return hand

    def run(self, jobs: Sequence[Job]) -> Iterator[Progress | Report]:
        pending = deque(jobs)
        while pending or self._busy:
            while pending and self._idle:
                hand, job = self._idle.pop(), pending.popleft()
                self._busy[hand.actor.perform.remote(job)] = (hand, job)
            done, _ = ray.wait(list(self._busy), timeout=POLL_S)
            for reference in done:
                report = self._finish(reference, pending)
                if report is not None:
                    yield report
            if not done:
                yield from self._ask_progress()

    def _finish(self, reference: Any, pending: deque[Job]) -> Report | None:
        hand, job = self._busy.pop(reference)
        try:
            report: Report = ray.get(reference)
        except RayActorError as error:
            # The process is gone (killed, out of memory, a native crash): the unit is tried again by a new one.
            self._idle.append(self._brief(self._hire()))
            unit_id = job.unit.unit_id
            self._deaths[unit_id] = self._deaths.get(unit_id, 0) + 1
            if self._deaths[unit_id] <= self._work.num_retries:
                logger.warning("worker_died unit=%s deaths=%d", unit_id, self._deaths[unit_id])
                pending.append(job)
                return None
            message = f"its worker process died {self._deaths[unit_id]} times: {str(error).splitlines()[0]}"
            return Report(unit_id=unit_id, outcome="open", message=message, error="WorkerDied")
        except RayError as error:
            self._idle.append(hand)
            return Report(unit_id=job.unit.unit_id, outcome="crashed", message=str(error), error=type(error).__name__)
        self._idle.append(hand)
        return report

    def _ask_progress(self) -> Iterator[Progress]:
        for hand, job in list(self._busy.values()):
            try:
                done, text = ray.get(hand.actor.progress.remote(), timeout=POLL_S)
            except RayError:  # starting, too busy or gone: `_finish` hears of it
                continue
            yield Progress(unit_id=job.unit.unit_id, done=done, text=text)

    def close(self) -> list[_Hand]:
        """End the stage, and every actor that is still at work for it; returns those that can go on to another."""
        closed = []
        for hand in self._idle:
            try:
                ray.get(hand.actor.close.remote(), timeout=10)
                closed.append(hand)
            except RayError:
                logger.warning("worker_not_closed")
                ray.kill(hand.actor)
        for hand, _ in self._busy.values():
            ray.kill(hand.actor)
        return closed


def _remove_leftovers() -> None:
    """Delete the folders of local clusters whose driver was killed."""
    for folder in Path("/tmp").glob(f"{_TEMP_PREFIX}*"):
        pid = folder.name.removeprefix(_TEMP_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
