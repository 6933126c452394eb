"""The launcher of a unit that several processes do together: Ray Train places them and joins them in a process group.

One of them leads: it does the unit as any worker would, and commits it. The others assist. If a process dies, all are
started again, and the unit goes on from what it keeps in its scratch folder.
"""

import logging
import shutil
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer

from models.memory import collect_garbage_seldom
from pipeline.executors.base import Job, OpenedWorker, Progress, Report
from stages.contract import Inputs, Resources, Stage
from stages.errors import ConfigError

logger = logging.getLogger(__name__)

POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamWork:
    """A unit, and who does it: what travels to the processes."""

    stage: Stage
    inputs: Inputs
    job: Job


class _Board:
    """An actor on which the processes leave word: how far the unit is, and how it ended."""

    def __init__(self) -> None:
        self._progress: tuple[float, str] | None = None
        self._report: Report | None = None

    def note(self, done: float, text: str) -> None:
        self._progress = (done, text)

    def finish(self, report: Report) -> None:
        """Keep the first failure, which causes those of the others; else the leader's report."""
        if self._report is None or (self._report.outcome == "committed" and report.outcome != "committed"):
            self._report = report

    def read(self) -> tuple[tuple[float, str] | None, Report | None]:
        return self._progress, self._report


def run_team(work: TeamWork, *, num_retries: int) -> Iterator[Progress | Report]:
    """Do a unit by a team on the connected cluster.

    Args:
        work: what to do.
        num_retries: how often all are started again after the death of a process.

    Yields:
        Progress now and then, and one Report.
    """
    unit_id, resources = work.job.unit.unit_id, work.stage.resources()
    _require(resources)
    died = Report(unit_id=unit_id, outcome="open", message="a process of its team died", error="WorkerDied")
    for attempt in range(num_retries + 1):
        report = yield from _attempt(work, resources)
        if report is not None and report.outcome != "open":
            yield report
            return
        died = report or died
        logger.warning("team_died unit=%s deaths=%d reason=%s", unit_id, attempt + 1, died.message)
    yield died


def _attempt(work: TeamWork, resources: Resources) -> Generator[Progress, None, Report | None]:
    """Start the team once; returns how the unit ended, None if nobody was left to say it."""
    unit_id = work.job.unit.unit_id
    board = ray.remote(num_cpus=0)(_Board).remote()
    (target, *_) = work.job.targets.values()
    storage = target.staging_dir / f"team-{uuid.uuid4().hex}"
    trainer = TorchTrainer(
        _take_part,
        train_loop_config={"work": work, "board": board},
        torch_config=TorchConfig(backend="nccl" if resources.num_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.team_size,
            use_gpu=bool(resources.num_gpus),
            resources_per_worker=_resources_of_one(resources),
        ),
        run_config=RunConfig(name="team", storage_path=str(storage), failure_config=FailureConfig(max_failures=0)),
    )
    thread = Thread(target=_fit, args=(trainer,), name="fabula-team", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            progress, _ = ray.get(board.read.remote())
            if progress is not None:
                yield Progress(unit_id=unit_id, done=progress[0], text=progress[1])
        report: Report | None = ray.get(board.read.remote())[1]
        return report
    finally:
        ray.kill(board)
        shutil.rmtree(storage, ignore_errors=True)


def _fit(trainer: TorchTrainer) -> None:
    try:
        trainer.fit()
    except Exception as error:  # noqa: BLE001 - whatever ended the team, the board says how the unit ended
        logger.info("team_ended reason=%s", error)


def _take_part(config: dict[str, Any]) -> None:
    """What each process of the team runs."""
    work: TeamWork = config["work"]
    board = config["board"]
    collect_garbage_seldom()
    worker = OpenedWorker(work.stage, work.inputs, num_retries=0)
    try:
        if get_context().get_world_rank() == 0:
            report = worker.perform(work.job, board.note.remote)
        else:
            report = worker.assist(work.job)
    finally:
        worker.close()
    ray.get(board.finish.remote(report))
    if report.outcome != "committed":  # ends the others, which would wait for this one
        raise RuntimeError(report.message)


def _require(resources: Resources) -> None:
    """Refuse a team that the cluster can never hold.

    Raises:
        ConfigError: it has too few cores or cards.
    """
    try:
        cluster = ray.cluster_resources()
    except RayError:  # a cluster that is changing: Ray Train waits for it
        return
    for name, each in _resources_of_one(resources).items():
        if each * resources.team_size > cluster.get(name, 0):
            raise ConfigError(
                f"a team of {resources.team_size} processes with {each:g} {name} each does not fit this cluster, which "
                f"has {cluster.get(name, 0):g}: lower train.workers.count or train.optimisation.threads"
            )


def _resources_of_one(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.num_cpus} | ({"GPU": resources.num_gpus} if resources.num_gpus else {})
