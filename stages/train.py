"""train: what an objective reads becomes a checkpoint.

Planning asks the objective which videos it can use, and refuses what could not train before an hour is spent on it.
The one unit, `run`, keeps checkpoints in its scratch folder and goes on from the newest after a kill. Several
processes may do it together: one leads and writes, the others assist.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.artifacts.hashing import hash_bytes, hash_files
from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.tables import write_table
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, StageConfig, Unit, Worker
from stages.datasets.splits import TRAIN, holdout_split, read_splits
from stages.errors import ConfigError
from stages.training.history import HISTORY, history_table, mean_terms
from stages.training.objectives import Objective, VideoCLIPSettings
from stages.training.objectives.base import Opening, TrainSplit
from stages.training.optimisation import Optimisation
from stages.training.trained_on import TRAINED_ON, with_start

if TYPE_CHECKING:
    from stages.training.checkpoints import StepRecord
    from stages.training.loop import StepReport
    from stages.training.task import Task
    from stages.training.team import Team

SCHEMA = 2
RUN = "run"
_CHANGES_NO_BYTES = {
    "objective", "splits", "holdout_fraction", "holdout_seed", "start", "tokenizer", "checkpoint_every", "readers",
}  # fmt: skip
"""The chosen videos and the files' content count, not how they were named; the objective says what of it counts."""
_MOST_REPORTS = 200


class WorkersConfig(StageConfig):
    """The processes that train together, through Ray Train; their number decides bits.

    Attributes:
        count: how many; more than one need the executor `ray`.
        split: what they divide. `pairs`: each batch, and every process sees the vectors of all, so that the loss is
            that of the whole batch. `batches`: the batches of an update, as the published trainings divide them.
    """

    count: int = Field(default=1, ge=1)
    split: Literal["pairs", "batches"] = "pairs"


class TrainConfig(StageConfig):
    """What is trained, on what, and how.

    Attributes:
        objective: the paper, or the protocol of fine-tuning, whose loss is minimised, with its settings.
        splits: CSV `video,split,pair`; without one, videos are held out by a hash of their ids.
        holdout_fraction: share of videos held out without a splits file; evaluate must be given the same.
        holdout_seed: another seed holds out others; evaluate must be given the same.
        start: checkpoint to go on from, an exported folder or a published file; None begins anew.
        tokenizer: of a published file: a BERT folder or its vocab.txt.
        optimisation: optimiser, schedule, precision, device.
        workers: the processes that train together.
        seed: of weights, order, sampling and dropout.
        checkpoint_every: steps between two resumable checkpoints.
        readers: threads that prepare batches while a step is computed.
    """

    objective: Objective = VideoCLIPSettings()
    splits: Path | None = None
    holdout_fraction: float = Field(default=0.2, ge=0, le=1)
    holdout_seed: int = Field(default=0, ge=0)
    start: Path | None = None
    tokenizer: Path | None = None
    optimisation: Optimisation = Optimisation()
    workers: WorkersConfig = WorkersConfig()
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=200, ge=1)
    readers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _there_is_a_start(self) -> "TrainConfig":
        """Refuse to begin anew where an objective only changes what was trained before."""
        if self.objective.needs_start and self.start is None:
            raise ValueError(
                f"objective {self.objective.kind!r} {self.objective.needs_start}; set start to a checkpoint: a folder "
                "of `fabula export`, or a published file"
            )
        return self

    @model_validator(mode="after")
    def _batches_can_be_dealt(self) -> "TrainConfig":
        """Refuse batches of an update that do not divide among the workers."""
        workers, each = self.workers, self.optimisation.accumulate
        if workers.count > 1 and workers.split == "pairs" and not self.objective.shares_batches:
            raise ValueError(
                f"workers.split = 'pairs', but a batch of {self.objective.kind!r} is not divided among workers; take "
                "'batches'"
            )
        if workers.count > 1 and workers.split == "batches" and not self.objective.deals_batches:
            raise ValueError(
                f"workers.split = 'batches', but the workers of {self.objective.kind!r} need each other within a "
                "batch; take 'pairs', and count the videos of all workers in batch_videos"
            )
        if workers.split == "pairs" and workers.count > self.objective.items_a_batch:
            raise ValueError(
                f"a batch of {self.objective.kind!r} has {self.objective.items_a_batch} items, which workers.count = "
                f"{workers.count} cannot divide; make batches larger, or take fewer workers"
            )
        if workers.split == "batches" and each % workers.count:
            raise ValueError(
                f"optimisation.accumulate = {each} batches an update cannot be dealt to workers.count = "
                f"{workers.count}; make it a multiple, or workers.split = 'pairs'"
            )
        return self


@dataclass(frozen=True)
class Train(Stage):
    """Settings of train."""

    config: TrainConfig

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 8  # 8: within autocast, packed states are filled up to a multiple of 64 rows

    @property
    def needs(self) -> tuple[str, ...]:
        """What the objective reads, and the manifest for the names in a splits file."""
        return ("manifest", *self.config.objective.reads)

    def outputs(self) -> tuple[Output, ...]:
        """The checkpoint."""
        return (Output(label="checkpoint", schema=SCHEMA),)

    def resources(self) -> Resources:
        """One unit, done by so many processes; a card each if the device is one."""
        settings = self.config.optimisation
        return Resources(
            num_cpus=settings.threads,
            num_gpus=float(settings.device == "cuda"),
            max_workers=1,
            team_size=self.config.workers.count,
        )

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit: the run. Its inputs are the videos that the objective can use.

        Raises:
            ConfigError: it could not train.
        """
        self.check_files()
        config, objective = self.config, self.config.objective
        split = self._choose(read_videos(inputs["manifest"]))
        material = objective.plan(inputs, split, accumulate=config.optimisation.accumulate)
        identity = {
            "config": config.model_dump(mode="json", exclude=_CHANGES_NO_BYTES),
            "objective": objective.model_dump(mode="json", exclude=dict(objective.not_in_identity)),
            "start": [hash_files(path) for path in (config.start, config.tokenizer) if path],
            **material.identity,
        }
        inputs_of_unit = tuple(material.video_ids)
        payload = {"video_ids": list(material.video_ids), "material": dict(material.payload)}
        return [Unit(unit_id=RUN, inputs=inputs_of_unit, payload=payload, identities={"checkpoint": identity})]

    def check_files(self) -> None:
        """See `Stage`."""
        config = self.config
        if config.splits is not None and not config.splits.is_file():
            raise ConfigError(
                f"[train] splits = {config.splits}: there is no such file; expected a CSV video,split,pair"
            )
        for key, path in (("start", config.start), ("tokenizer", config.tokenizer)):
            if path is not None and not path.exists():
                raise ConfigError(f"[train] {key} = {path}: there is no such file or folder")

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: the unit reads what it needs."""
        return TrainWorker(self.config, inputs)

    def _choose(self, videos: Sequence[Video]) -> TrainSplit:
        """The videos of the train split."""
        config = self.config
        if config.splits is None:
            seed, fraction = config.holdout_seed, config.holdout_fraction
            ids = [video.video_id for video in videos]
            kept = [name for name in ids if holdout_split(name, fraction, seed) == TRAIN]
            return TrainSplit(video_ids=kept, source="a hash of the ids")
        return TrainSplit(video_ids=read_splits(config.splits, videos).video_ids(TRAIN), source=config.splits.name)


class TrainWorker:
    """Trains one model, alone or together with others."""

    def __init__(self, config: TrainConfig, inputs: Inputs) -> None:
        self._config = config
        self._artifacts = {label: inputs[label] for label in config.objective.reads}

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Train, and write what was trained and the history; a video without an intact row is a failure."""
        from stages.training.scalars import ScalarLog
        from stages.training.team import Team

        team = Team.of_this_process()
        task = self._open(unit, team)
        with ScalarLog(out.attempts_path("checkpoint").with_suffix(".tensorboard")) as scalars:

            def on_step(report: "StepReport") -> None:
                scalars.write(report)
                _report(out, report)

            history = self._train(task, out, team, on_step)
        self._write(task, history, out)
        cause, reason = task.unused
        return [
            Failure(input_id=video_id, cause=cause, message=f"{video_id}: {reason}, so it was not trained on")
            for video_id in sorted(set(unit.inputs) - set(task.video_ids))
        ]

    def assist(self, unit: Unit, out: Out) -> None:
        """Train with the process that writes."""
        from stages.training.team import Team

        team = Team.of_this_process()
        self._train(self._open(unit, team), out, team, lambda report: None)

    def close(self) -> None:
        """Nothing is held."""

    def _open(self, unit: Unit, team: "Team") -> "Task[Any]":
        from stages.training.team import ALONE

        config = self._config
        opening = Opening(
            artifacts=self._artifacts,
            video_ids=unit.payload["video_ids"],
            payload=unit.payload["material"],
            start=config.start,
            tokenizer=config.tokenizer,
            seed=config.seed,
            accumulate=config.optimisation.accumulate,
            team=team,
            sharers=team if config.workers.split == "pairs" else ALONE,
        )
        return config.objective.open(opening)

    def _train(
        self, task: "Task[Any]", out: Out, team: "Team", on_step: "Callable[[StepReport], None]"
    ) -> "list[StepRecord]":
        from stages.training.loop import LoopSettings, train

        config = self._config
        settings = LoopSettings(
            optimisation=config.optimisation,
            seed=config.seed,
            team=team,
            split=config.workers.split,
            scratch_dir=out.scratch_dir("checkpoint"),
            checkpoint_every=config.checkpoint_every,
            readers=config.readers,
            on_step=on_step,
        )
        return train(task, settings)

    def _write(self, task: "Task[Any]", history: "Sequence[StepRecord]", out: Out) -> None:
        """Write what was trained file by file, the history, and which videos it has seen, its start's included."""
        from stages.training.loop import fixed_arithmetic

        folder = out.scratch_dir("checkpoint") / "trained"
        folder.mkdir(exist_ok=True)
        own = "".join(f"{video_id}\n" for video_id in task.video_ids).encode()
        trained_on = with_start(task.video_ids, self._config.start)
        training = {
            "objective": self._config.objective.kind,
            "steps": len(history),
            "num_videos": len(task.video_ids),
            "videos_xxh3_128": hash_bytes(own),
            **task.facts,
        }
        with fixed_arithmetic(self._config.optimisation.threads):
            task.save(folder, training)
        (folder / TRAINED_ON).write_text("".join(f"{video_id}\n" for video_id in trained_on))
        for path in sorted(folder.iterdir()):
            with out.create("checkpoint", path.name) as file:
                file.write(path.read_bytes())
        write_table(out.create("checkpoint", HISTORY), history_table(history))
        info = {**training, "train_videos": trained_on, "final_loss": history[-1].loss}
        out.describe("checkpoint", {**info, "mean_terms": mean_terms(history)})


def _report(out: Out, report: "StepReport") -> None:
    """Report, but not more than some hundred times a run."""
    record, every = report.record, max(1, report.steps // _MOST_REPORTS)
    if record.step % every == 0 or record.step == report.steps:
        terms = "".join(f" {name} {value:.3g}" for name, value in record.terms.items())
        out.report(record.step / report.steps, f"loss {record.loss:.2f}{terms}")
