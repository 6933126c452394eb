"""evaluate: embeddings of videos with known answers become metrics, ranks and a page that shows them.

Two kinds of units. `set` measures the run on its own narrations: only the test split, which comes from a splits file
or, without one, from a hash of the video's id; a split that is too small gives a report that says so, so that a corpus
without captions still gets its page. Each of the configuration's benchmarks is one more unit: a data set's annotation
files joined with the corpus and measured by a protocol. Adding one redoes no other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.artifacts.hashing import hash_file
from stages.artifacts.manifest import read_videos
from stages.artifacts.sealed import Artifact
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, Unit, Worker
from stages.errors import ConfigError
from stages.evaluation.benchmarks import Benchmark, benchmark_identity
from stages.evaluation.expected import PublishedConfig, choose_row, read_tables
from stages.evaluation.layout import OWN_SET
from stages.evaluation.own_split import OwnSplitConfig, check_split, choose_videos, given_training
from stages.evaluation.protocol_configs import most_of
from stages.retrieval.ivf import IvfSettings
from stages.training.choice import EncoderChoice, EncoderSettings, encoder_identity

if TYPE_CHECKING:
    from models.alignment.scorers import Scorers
    from stages.evaluation.records import PairScorer
    from stages.evaluation.report import ReportContent
    from stages.evaluation.scoring import ProtocolSettings
    from stages.training.batch_encoder import OpenedEncoder

SCHEMA = 2


class EvaluateConfig(OwnSplitConfig):
    """What is measured, and how surely; which of the run's own videos, `OwnSplitConfig` says.

    Attributes:
        ks: cut-offs of R@k.
        num_resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.
        device: where sequences are scored; the last bits differ, so it is part of the fingerprint.
        benchmarks: data sets that are measured, too.
        rerank: windows, the best by their vectors, that an encoder which reads sentence and window together (TACo)
            scores again for each sentence; 0 for all of them.
        expected: file of published results.
        published: rows of it that the run's own set is compared with.
    """

    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    num_resamples: int = Field(default=2_000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    rerank: int = Field(default=100, ge=0)
    benchmarks: tuple[Benchmark, ...] = ()
    expected: Path | None = None
    published: tuple[PublishedConfig, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> "EvaluateConfig":
        names = [benchmark.name for benchmark in self.benchmarks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"benchmarks: the name {twice[0]!r} stands twice, expected once; rename one of them")
        if self.expected is None and (self.published or any(found.published for found in self.benchmarks)):
            raise ValueError("published names rows of a file, but expected, which is that file, is missing")
        return self

    def check_files(self) -> None:
        """Refuse files that are not there and published rows that do not exist, before hours of work.

        Raises:
            ConfigError: one does not exist.
        """
        for benchmark in self.benchmarks:
            benchmark.dataset.check(f"{benchmark.where} dataset.")
            benchmark.protocol.check(f"{benchmark.where} protocol.")
        if self.expected is not None:
            tables = read_tables(self.expected)
            for where, published in self.compared():
                choose_row(tables, published, where)

    def compared(self) -> list[tuple[str, PublishedConfig]]:
        """Every row that something is compared with, and the section that names it."""
        named = [("[evaluate]", self.published), *((found.where, found.published) for found in self.benchmarks)]
        return [(where, published) for where, rows in named for published in rows]


@dataclass(frozen=True)
class Evaluate(Stage):
    """Settings of evaluate.

    Attributes:
        config: what a run's file says of it.
        encoder: which encoder the benchmarks are measured with.
        encoder_settings: how it is opened and fed.
        reports_on: labels of other artifacts of this run whose failures the page counts, such as `features.s3d`.
        ivf: how the run's index is built, if it is an approximate one.
    """

    config: EvaluateConfig
    encoder: EncoderChoice
    encoder_settings: EncoderSettings
    reports_on: tuple[str, ...] = ()
    ivf: IvfSettings | None = None

    name: ClassVar[str] = "evaluate"
    # 2: published rules, baselines, pictures; 3: a curve of each term of the loss; 4: means at unit length;
    # 5: what a checkpoint's start and frozen weights were trained on, or that nobody says; limits of BMN's loss
    version: ClassVar[int] = 5

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest for names, the embeddings, and whatever is read, measured or reported on."""
        read = (label for benchmark in self.config.benchmarks for label in self.labels_of(benchmark))
        if not self.measures_own_set:
            return tuple(dict.fromkeys(("manifest", *read)))
        index = ("index",) if self.ivf else ()
        labels = ("manifest", *self.reports_on, *read, *self._checkpoint_label, "embeddings", *index)
        return tuple(dict.fromkeys(labels))

    @property
    def measures_own_set(self) -> bool:
        """Whether the run embeds, so that its own narrations can be searched for."""
        return self.encoder.kind != "none"

    def labels_of(self, benchmark: Benchmark) -> tuple[str, ...]:
        """Labels of what a benchmark's protocol reads, the features first."""
        return benchmark.protocol.reads(self.encoder)

    def outputs(self) -> tuple[Output, ...]:
        """Metrics, ranks and report."""
        return (Output(label="evaluation", schema=SCHEMA),)

    def resources(self) -> Resources:
        """What the encoder, the scoring of sequences or the most demanding protocol needs."""
        needed = (benchmark.protocol.occupies() for benchmark in self.config.benchmarks)
        num_gpus = 1.0 if self.config.device == "cuda" else 0.0
        return most_of([Resources(num_cpus=self.encoder_settings.threads, num_gpus=num_gpus), *needed])

    def units(self, inputs: Inputs) -> list[Unit]:
        """The run's own set, whose page names every artifact that it read, and one unit a benchmark."""
        given = given_training(self.encoder)
        units = [self._own_unit(inputs, given)] if self.measures_own_set else []
        for benchmark in self.config.benchmarks:
            identity = self._identity(benchmark, inputs, given)
            units.append(
                Unit(
                    unit_id=benchmark.name,
                    inputs=(benchmark.name,),
                    payload=given,
                    identities={"evaluation": identity},
                )
            )
        return units

    def _own_unit(self, inputs: Inputs, given: Mapping[str, Any]) -> Unit:
        chosen = choose_videos(self.config, read_videos(inputs["manifest"])) | dict(given)
        own = {
            "config": self.config.model_dump(mode="json", include={"split", "ks", "rerank"}),
            "how": self._how(self.config.published),
            "split": chosen,
            "inputs": {label: inputs[label].fingerprint for label in self.own_labels},
            "index": self.ivf and [record.fingerprint for record in inputs["index"].records],
        }
        return Unit(unit_id=OWN_SET, inputs=(OWN_SET,), payload=chosen, identities={"evaluation": own})

    def check_files(self) -> None:
        """See `Stage`."""
        if self.measures_own_set:
            check_split(self.config)

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: a unit reads what it needs."""
        return EvaluateWorker(self, inputs)

    @property
    def _checkpoint_label(self) -> tuple[str, ...]:
        return ("checkpoint",) if self.encoder.kind == "train" else ()

    @property
    def own_labels(self) -> tuple[str, ...]:
        """What the page of the run's own set is made from."""
        return tuple(dict.fromkeys(("manifest", *self.reports_on, *self._checkpoint_label, "embeddings")))

    def _how(self, published: tuple[PublishedConfig, ...]) -> dict[str, Any]:
        """How sure numbers are, and what they are compared with."""
        compared = [row.model_dump(mode="json") for row in published]
        tables = hash_file(self.config.expected) if compared and self.config.expected else None
        bootstrap = self.config.model_dump(mode="json", include={"num_resamples", "confidence", "seed", "device"})
        return {**bootstrap, "published": [compared, tables]}

    def _identity(self, benchmark: Benchmark, inputs: Inputs, given: Mapping[str, Any]) -> dict[str, Any]:
        identity = benchmark_identity(benchmark, self.labels_of(benchmark), inputs)
        identity["how"] = self._how(benchmark.published) | {"ivf": self.ivf and repr(self.ivf)}
        if benchmark.protocol.asks_encoder:
            checkpoint = inputs["checkpoint"] if self.encoder.kind == "train" else None
            fed = self.encoder_settings.model_dump(
                mode="json", include={"seed", "batch_windows", "batch_texts", "threads"}
            )
            identity["encoder"] = [dict(encoder_identity(self.encoder, self.encoder_settings, checkpoint)), fed, given]
        return identity


class EvaluateWorker:
    """Measures a unit; the encoder is opened once, by the first benchmark that asks for it."""

    def __init__(self, stage: Evaluate, inputs: Inputs) -> None:
        self._stage = stage
        self._artifacts: Mapping[str, Artifact] = {label: inputs[label] for label in stage.needs}

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write metrics, ranks and report; a set that cannot be measured is a report that says so, no failure."""
        benchmark = next((found for found in self._stage.config.benchmarks if found.name == unit.unit_id), None)
        content = self._measure_own(unit) if benchmark is None else self._measure(benchmark, unit, out)
        out.report(0.9, f"{content.subject.num_videos} videos")
        self._write(content, benchmark.published if benchmark else self._stage.config.published, out)
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _measure_own(self, unit: Unit) -> "ReportContent":
        from stages.evaluation.own_set import measure_own_set

        labels = (*self._stage.own_labels, *(("index",) if self._stage.ivf else ()))
        artifacts = {label: self._artifacts[label] for label in labels}
        settings = self._settings(OWN_SET)
        return measure_own_set(artifacts, unit.payload, self._stage.config.split, settings, self._open_fused)

    def _open_fused(self) -> "PairScorer | None":
        """What scores windows again, if the embeddings hold what it needs; only then the encoder is opened."""
        from stages.evaluation.fused import open_fused_windows

        return open_fused_windows(
            self._artifacts["embeddings"], lambda: self._encoder.encoder, most=self._stage.config.rerank
        )

    def _measure(self, benchmark: Benchmark, unit: Unit, out: Out) -> "ReportContent":
        from stages.evaluation.benchmark_run import BenchmarkTools, measure_benchmark
        from stages.evaluation.fitting.workspace import Workspace
        from stages.evaluation.reading import trained_videos

        def trained_on(random_weights: bool) -> frozenset[str]:
            return trained_videos(self._artifacts.get("checkpoint"), unit.payload, random_weights=random_weights)

        tools = BenchmarkTools(
            artifacts=self._artifacts,
            open_encoder=lambda: self._encoder,
            encoder_settings=self._stage.encoder_settings,
            trained_on=trained_on,
            workspace=Workspace(
                scratch_dir=out.scratch_dir("evaluation"),
                report=lambda done, text: out.report(0.9 * done, text),
                keep=lambda name, content: _keep(out, name, content),
            ),
        )
        return measure_benchmark(benchmark, self._stage.labels_of(benchmark), tools, self._settings(benchmark.name))

    @cached_property
    def _encoder(self) -> "OpenedEncoder":
        from stages.training.opening import open_choice

        return open_choice(self._stage.encoder, self._stage.encoder_settings, self._artifacts.get("checkpoint"))

    def _settings(self, unit_id: str) -> "ProtocolSettings":
        from stages.evaluation.bootstrap import BootstrapSettings
        from stages.evaluation.scoring import ProtocolSettings

        config, ivf, index = self._stage.config, self._stage.ivf, None
        if ivf is not None:
            from stages.evaluation.approximate import IndexOfGallery, IndexOfRun

            index = IndexOfRun(self._artifacts["index"]) if unit_id == OWN_SET else IndexOfGallery(ivf)
        bootstrap = BootstrapSettings(num_resamples=config.num_resamples, confidence=config.confidence)
        return ProtocolSettings(
            ks=config.ks, seed=config.seed, bootstrap=bootstrap, scorers=self._scorers(), index=index
        )

    def _scorers(self) -> "Scorers":
        from models.alignment.scorers import scorers_on

        try:
            return scorers_on(self._stage.config.device)
        except ValueError as error:
            raise ConfigError(f"[evaluate] {error}") from error

    def _write(self, content: "ReportContent", published: tuple[PublishedConfig, ...], out: Out) -> None:
        from stages.evaluation.writing import write_evaluation

        tables = read_tables(self._stage.config.expected) if published and self._stage.config.expected else {}
        write_evaluation(content, published, tables, lambda name: out.create("evaluation", name))
        evaluated = sum(1 for result in content.results if result.scores)
        counts = {"videos": content.subject.num_videos, "protocols": len(content.results), "evaluated": evaluated}
        out.describe("evaluation", counts)


def _keep(out: Out, name: str, content: bytes) -> None:
    with out.create("evaluation", name) as file:
        file.write(content)
