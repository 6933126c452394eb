"""A small corpus whose rows show known steps, a trained encoder that knows them, and benchmarks measured on both.

Everything is real but the videos: feature tars, the encoder that `train` made, annotation files in the layouts that are
distributed, and the stage through the run's loop. One feature row is one second.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.executors.inline import InlineExecutor
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.artifacts.manifest import MEMBERS, MEMBERS_SCHEMA, VIDEOS, VIDEOS_SCHEMA
from stages.artifacts.shards import ShardWriter
from stages.artifacts.tables import rows_table, write_table
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.embed import Embed, EmbedConfig
from stages.evaluate import Evaluate, EvaluateConfig
from stages.evaluation.benchmarks import Benchmark
from stages.index import Index, IndexConfig
from stages.text import artifact as text
from stages.train import Train
from stages.training.choice import EncoderSettings, parse_encoder
from tests.training_samples import DIM, STEPS, default, do, make_inputs
from tests.unit.test_train import SMALL

BACKGROUND = -1
NUM_STEPS = len(STEPS)


def train_encoder(root: Path, steps: int = 120) -> Path:
    """A folder with an encoder that has learnt what the steps look like, or has begun to."""
    optimisation = SMALL.optimisation.model_copy(update={"steps": steps, "decay_steps": steps})
    sizes = SMALL.objective.encoder.model_copy(update={"max_video_len": 32})
    objective = SMALL.objective.model_copy(update={"encoder": sizes})
    config = SMALL.model_copy(update={"optimisation": optimisation, "objective": objective})
    artifact, _ = do(Train(config), make_inputs(root / "store"))
    folder = root / "encoder"
    folder.mkdir()
    for record in artifact.records:
        for file in record.files:
            (folder / file.name).write_bytes(artifact.path(file).read_bytes())
    return folder


def feature_rows(steps: Sequence[int], seed: int) -> np.ndarray:
    """(N, DIM) float16 rows, one a second: the prototype of the step that is shown, or of the background."""
    prototypes = np.random.default_rng(99).standard_normal((NUM_STEPS, DIM))
    known = np.vstack([prototypes, np.random.default_rng(98).standard_normal((1, DIM))])
    shown = known[list(steps)]
    noise = 0.1 * np.random.default_rng(seed).standard_normal(shown.shape)
    return (1.0 + 0.02 * (shown + noise)).astype(np.float16)


class CorpusConfig(StageConfig):
    """The videos.

    Attributes:
        videos: which step each second of a video shows.
        damaged: rows that must not be used, by video.
        failed: videos that ingest knows and extract could not read.
        per_unit: videos of one unit.
    """

    videos: dict[str, tuple[int, ...]]
    damaged: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    failed: tuple[str, ...] = ()
    per_unit: int = 3


@dataclass(frozen=True)
class Corpus(Stage):
    """Stands for ingest, extract and align."""

    config: CorpusConfig

    name = "corpus"
    version = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def outputs(self) -> tuple[Output, ...]:
        features = {"preset": {"name": "test"}, "weights": "random:seed=0"}
        return (Output(label="manifest"), Output(label="features.s3d", about=features), Output(label="paragraphs"))

    def units(self, inputs: Inputs) -> list[Unit]:
        ids = list(self.config.videos)
        groups = [ids[start : start + self.config.per_unit] for start in range(0, len(ids), self.config.per_unit)]
        return [self._unit(number, group) for number, group in enumerate(groups)]

    def _unit(self, number: int, group: Sequence[str]) -> Unit:
        mine = {name: self.config.videos[name] for name in group}
        damaged = {name: rows for name, rows in self.config.damaged.items() if name in group}
        parts = [mine, damaged, [name for name in self.config.failed if name in group]]
        return Unit(
            unit_id=f"{number:05d}",
            inputs=tuple(group),
            payload={"videos": list(group), "first": number * self.config.per_unit},
            identities={output.label: {"parts": parts} for output in self.outputs()},
        )

    def open(self, inputs: Inputs) -> Worker:
        return CorpusWorker(self.config)


class CorpusWorker:
    def __init__(self, config: CorpusConfig) -> None:
        self._config = config

    def process(self, unit: Unit, out: Out) -> list[Failure]:
        names = unit.payload["videos"]
        if "manifest" in out.wanted:
            rows = [_row(name, unit.payload["first"] + i, VIDEOS_SCHEMA) for i, name in enumerate(names)]
            write_table(out.create("manifest", VIDEOS), rows_table(VIDEOS_SCHEMA, rows))
            rows = [_row(name, unit.payload["first"] + i, MEMBERS_SCHEMA) for i, name in enumerate(names)]
            write_table(out.create("manifest", MEMBERS), rows_table(MEMBERS_SCHEMA, rows))
        if "features.s3d" in out.wanted:
            with ShardWriter(out.create("features.s3d", "shards/s3d.tar")) as shard:
                for name in names:
                    if name not in self._config.failed:
                        shard.add(name, self._sample(name))
        if "paragraphs" in out.wanted:
            write_table(out.create("paragraphs", text.NARRATIONS), rows_table(text.NARRATIONS_SCHEMA, []))
            write_table(out.create("paragraphs", text.PARAGRAPHS), rows_table(text.PARAGRAPHS_SCHEMA, []))
        return [
            Failure(input_id=name, cause="decode_error", message=f"{name}.mp4: damaged")
            for name in names
            if name in self._config.failed
        ]

    def close(self) -> None:
        pass

    def _sample(self, name: str) -> dict[str, Any]:
        steps = self._config.videos[name]
        starts = np.arange(len(steps), dtype=np.float64)
        damaged = np.zeros(len(steps), dtype=bool)
        damaged[list(self._config.damaged.get(name, ()))] = True
        features = feature_rows(steps, seed=sum(name.encode()))
        return {
            "s3d.npy": features,
            "spans.npy": np.stack([starts, starts + 1.0], axis=1),
            "damaged.npy": damaged,
            "json": {"video_id": name},
        }


def _row(name: str, position: int, schema: Mapping[str, Any]) -> dict[str, Any]:
    known = {"video_id": name, "position": position, "paths": [f"{name}.mp4"], "problem": ""}
    return {column: known.get(column, default(kind)) for column, kind in schema.items()}


@dataclass(frozen=True)
class SmallBenchmarks:
    """A store in which benchmarks are measured with one encoder."""

    root: Path
    encoder: Path
    corpus: CorpusConfig
    embed: EmbedConfig = field(default_factory=lambda: EmbedConfig(window_s=4.0, stride_s=4.0))

    def run(self, *benchmarks: dict[str, Any], index: dict[str, Any] | None = None, **evaluate: Any) -> Outcome:
        """Measure benchmarks (as a configuration's tables) through the run's loop; `index` as its section has it."""
        choice = parse_encoder(str(self.encoder))
        config = EvaluateConfig(
            benchmarks=tuple(Benchmark.model_validate(found) for found in benchmarks), num_resamples=100, **evaluate
        )
        config.check_files()
        settings = EncoderSettings(**self.embed.model_dump(include=set(EncoderSettings.model_fields)))
        stages: list[Stage] = [
            Corpus(self.corpus),
            Embed(self.embed, encoder=choice),
            *([Index(IndexConfig(**index))] if index else []),
            Evaluate(
                config,
                encoder=choice,
                encoder_settings=settings,
                reports_on=("features.s3d",),
                ivf=IndexConfig(**index).ivf if index else None,
            ),
        ]
        store = Store(self.root)
        context = RunContext(
            name="test",
            store=store,
            run=start_run(store, "cafe", b""),
            make_executor=lambda: InlineExecutor(num_retries=0),
            view=LineProgress(),
        )
        return run_stages(stages, context)

    def measure(self, benchmark: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Measure one benchmark and give its metrics.json."""
        return metrics_of(self.run(benchmark, **changes), benchmark["name"])


def metrics_of(outcome: Outcome, unit_id: str) -> dict[str, Any]:
    """metrics.json of one unit."""
    found: dict[str, Any] = json.loads(outcome.artifacts["evaluation"].path_in(unit_id, "metrics.json").read_bytes())
    return found


def scores_of(metrics: Mapping[str, Any], protocol: str) -> dict[str, float]:
    """Values of one protocol's scores."""
    return {name: score["value"] for name, score in metrics["protocols"][protocol]["scores"].items()}


def ranks_of(outcome: Outcome, unit_id: str, protocol: str) -> dict[str, float]:
    """Rank of each query of one protocol."""
    table = pq.read_table(outcome.artifacts["evaluation"].path_in(unit_id, "ranks.parquet")).to_pylist()
    return {row["query_id"]: row["rank"] for row in table if row["protocol"] == protocol}


def outcomes_of(outcome: Outcome, unit_id: str) -> dict[tuple[str, str], float]:
    """Values by metric and unit of what is no function of a rank."""
    table = pq.read_table(outcome.artifacts["evaluation"].path_in(unit_id, "outcomes.parquet")).to_pylist()
    return {(row["metric"], row["unit_id"]): row["value"] for row in table}


def write_json(path: Path, value: Any) -> str:
    """An annotation file."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)
