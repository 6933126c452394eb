"""The one loop: plan a stage, adopt what exists, dispatch what is missing, seal, go on."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.events import ADOPTED, COMMITTED, EventLog, units_with_event
from pipeline.executors.base import Executor, Job, Progress, Report
from pipeline.locks import is_taken, used
from pipeline.progress import ProgressView
from pipeline.runs import Run, list_runs, sealed_by_label
from pipeline.units import PlannedArtifact, StagePlan, plan_as_json, plan_stage, waves
from stages.artifacts.commit import adopt
from stages.artifacts.durable import publish
from stages.artifacts.layout import Store
from stages.artifacts.records import read_record
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Stage
from stages.errors import ConfigError, FabulaError

logger = logging.getLogger(__name__)


class UnitCrashed(Exception):
    """A worker raised something that it should not have."""


@dataclass(slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        totals: of each sealed artifact, by label.
        open_units: units that may pass next time, with the reason.
        artifacts: what was sealed, by label.
    """

    totals: dict[str, dict[str, Any]] = field(default_factory=dict)
    open_units: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    @property
    def failed_inputs(self) -> set[str]:
        """What failed in any stage: a video that two artifacts lack is one."""
        lacking = (self.artifacts[label] for label, totals in self.totals.items() if totals["failures"])
        records = (record for artifact in lacking for record in artifact.records)
        return {failure.input_id for record in records for failure in record.failures}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What one run of the loop works with.

    Attributes:
        name: the configuration's name.
        store: where artifacts lie.
        run: this run's folder.
        make_executor: builds the executor when the first unit is dispatched: a rerun without changes needs none.
        view: shows progress.
        makes: labels of all that the configuration makes, in order, also by stages that this run leaves out; by
            default what the given stages make.
        previous: sealed artifacts of earlier runs by label, newest first; by default those of this name.
    """

    name: str
    store: Store
    run: Run
    make_executor: Callable[[], Executor]
    view: ProgressView
    makes: Sequence[str] = ()
    previous: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)


def run_stages(stages: Sequence[Stage], context: RunContext, *, only: str | None = None) -> Outcome:
    """Run stages in order until one is left with open units.

    Args:
        stages: in dependency order.
        context: where and how.
        only: run this stage alone, on artifacts that earlier runs sealed.

    Returns:
        What was sealed, and what is still open.

    Raises:
        FabulaError: the user has to mend something.
        UnitCrashed: a bug in a worker.
    """
    makes = context.makes or [output.label for stage in stages for output in stage.outputs()]
    with used(context.store), closing(_Loop(context, makes)) as loop:
        for stage in stages:
            if only is not None and stage.name != only:
                loop.take_earlier(stage)
            elif not loop.run_stage(stage):
                break
        return loop.outcome


class _Loop:
    """State of one run: sealed artifacts so far, the event log, and the executor once it is needed."""

    def __init__(self, context: RunContext, makes: Sequence[str]) -> None:
        self._context = context
        self._makes = makes
        self._events = EventLog(context.run.events_path)
        self._previous = context.previous or sealed_by_label(context.store, context.name)
        self._told = units_with_event(self._logs_of_others())
        self._executor: Executor | None = None
        self._plans: list[dict[str, Any]] = []
        self.outcome = Outcome()

    def take_earlier(self, stage: Stage) -> None:
        """Let later stages read what an earlier run made, if there is such a thing."""
        plan = self._plan(stage) if all(label in self.outcome.artifacts for label in stage.needs) else None
        for artifact in plan.artifacts if plan else ():
            if Artifact(artifact.directory).is_sealed:
                self.outcome.artifacts[artifact.label] = Artifact(artifact.directory)

    def run_stage(self, stage: Stage) -> bool:
        """Run one stage; returns whether it could be sealed."""
        missing = [label for label in stage.needs if label not in self.outcome.artifacts]
        if missing:
            raise ConfigError(
                f"stage {stage.name!r} needs {', '.join(missing)}, which is not sealed: run without --only, or run the "
                "stages before it first"
            )
        plan = self._plan(stage)
        self._plans.append(plan_as_json(plan))
        self._context.run.write_plan(self._context.name, self._plans, self._makes)
        for artifact in plan.artifacts:
            self._prepare(artifact)
        self._dispatch(plan)
        for artifact in plan.artifacts:
            self._tell_committed(artifact)
        if self.outcome.open_units:
            return False
        self._seal(plan)
        return True

    def _plan(self, stage: Stage) -> StagePlan:
        inputs = Inputs(
            store=self._context.store,
            artifacts={label: self.outcome.artifacts[label] for label in stage.needs},
            previous=self._previous,
            on_planning=self._context.view.hashing,
        )
        return plan_stage(stage, inputs)

    def _prepare(self, artifact: PlannedArtifact) -> None:
        publish(artifact.directory.description_path, artifact.description.to_bytes())
        for unit_id, source in artifact.adoptable.items():
            if adopt(source, read_record(source.commit_path(unit_id)), artifact.directory):
                self._tell(ADOPTED, artifact, unit_id, source=source.reference)

    def _dispatch(self, plan: StagePlan) -> None:
        jobs = plan.jobs()
        self._context.view.start_stage(plan.stage.name, len(plan.units), len(jobs))
        num_finished = 0
        for wave in waves(jobs):
            num_finished = self._run_wave(plan, wave, num_finished)
            if self.outcome.open_units:
                return

    def _run_wave(self, plan: StagePlan, jobs: Sequence[Job], num_finished: int) -> int:
        """Do jobs that do not wait for each other; returns how many of the stage's are finished now."""
        inputs = Inputs(
            store=self._context.store,
            artifacts={label: self.outcome.artifacts[label] for label in plan.stage.needs},
            making={artifact.label: Artifact(artifact.directory) for artifact in plan.artifacts},
        )
        running: dict[str, Progress] = {}
        with closing(self._get_executor().run(plan.stage, inputs, jobs)) as messages:
            for message in messages:
                if isinstance(message, Progress):
                    running[message.unit_id] = message
                else:
                    running.pop(message.unit_id, None)
                    num_finished += 1
                    self._handle(plan, message)
                text = next((progress.text for progress in running.values() if progress.text), "")
                self._context.view.update([progress.done for progress in running.values()], num_finished, text)
        return num_finished

    def _handle(self, plan: StagePlan, report: Report) -> None:
        where = f"stage {plan.stage.name}, unit {report.unit_id}"
        if report.outcome == "committed":
            for artifact in plan.artifacts:
                if artifact.label in report.labels:
                    self._tell(COMMITTED, artifact, report.unit_id)
        elif report.outcome == "open":
            self.outcome.open_units[f"{plan.stage.name}/{report.unit_id}"] = report.message
            self._events.write("unit_left_open", stage=plan.stage.name, unit=report.unit_id, reason=report.message)
        elif report.outcome == "refused":
            self._events.write("unit_refused", stage=plan.stage.name, unit=report.unit_id, reason=report.message)
            kind = ConfigError if report.error == "ConfigError" else FabulaError
            raise kind(f"{where}: {report.message}")
        else:
            self._events.write("unit_crashed", stage=plan.stage.name, unit=report.unit_id, trace=report.trace)
            raise UnitCrashed(f"{where}: {report.message}\n{report.trace}")

    def _tell_committed(self, artifact: PlannedArtifact) -> None:
        """Write the missing event of every unit that is committed without one, unless its run may still do so."""
        units = [unit_id for unit_id in artifact.description.units if not self._is_told(artifact, unit_id)]
        committed = [unit_id for unit_id in units if artifact.directory.commit_path(unit_id).is_file()]
        if not committed or any(is_taken(path) for path in self._logs_of_others()):
            return
        self._told |= units_with_event(self._logs_of_others())
        for unit_id in committed:
            self._tell(COMMITTED, artifact, unit_id)

    def _logs_of_others(self) -> list[Path]:
        others = (run.events_path for run in list_runs(self._context.store) if run != self._context.run)
        return [path for path in others if path.is_file()]

    def _is_told(self, artifact: PlannedArtifact, unit_id: str) -> bool:
        return (artifact.directory.reference, unit_id) in self._told

    def _tell(self, event: str, artifact: PlannedArtifact, unit_id: str, **fields: str) -> None:
        if not self._is_told(artifact, unit_id):
            self._told.add((artifact.directory.reference, unit_id))
            self._events.write(
                event, artifact=artifact.directory.reference, unit=unit_id, label=artifact.label, **fields
            )

    def _seal(self, plan: StagePlan) -> None:
        for planned in plan.artifacts:
            artifact = Artifact(planned.directory)
            was_sealed = artifact.is_sealed
            totals = artifact.seal()
            self.outcome.artifacts[planned.label] = artifact
            self.outcome.totals[planned.label] = totals
            if not was_sealed:
                self._events.write("artifact_sealed", artifact=planned.directory.reference, **totals)
            self._context.view.end_stage(_seal_line(planned, totals))

    def _get_executor(self) -> Executor:
        if self._executor is None:
            self._executor = self._context.make_executor()
        return self._executor

    def close(self) -> None:
        """End the executor and the event log."""
        if self._executor is not None:
            self._executor.close()
        self._events.close()


def _seal_line(planned: PlannedArtifact, totals: dict[str, Any]) -> str:
    parts = [
        f"{name} {count}"
        for name, count in (
            ("done", planned.num_done),
            ("adopted", len(planned.adoptable)),
            ("made", len(planned.reasons)),
        )
        if count
    ]
    causes = "".join(f", {count} {cause}" for cause, count in totals["causes"].items())
    return (
        f"{planned.label:<14} {planned.directory.reference:<26} {totals['inputs']} inputs = {totals['successes']} ok + "
        f"{totals['failures']} failed{causes}  ({', '.join(parts) or 'no'} units)"
    )
