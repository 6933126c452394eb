"""evaluate: embeddings of videos with known answers become metrics, ranks and a page that shows them.

Only the test split is measured. It comes from a splits file, or, without one, from a hash of the video's id. A split
that is too small gives a report that says so: a corpus without captions still gets its page.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.artifacts.hashing import hash_file
from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.sealed import Artifact
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.datasets.splits import TEST, holdout_split, read_splits
from stages.errors import ConfigError, Corrupt

if TYPE_CHECKING:
    from stages.evaluation.records import EvaluationSet, ProtocolResult
    from stages.evaluation.scoring import ProtocolSettings

SCHEMA = 1
METRICS, RANKS, REPORT = "metrics.json", "ranks.parquet", "report.html"
TRAINED_ON = "trained_on.txt"
"""In a checkpoint's folder: the videos that it was trained on, one id a line."""

_HASH_DIGITS = 12
_CHANGES_NO_BYTES = {"splits"}
"""Its content counts, not where it lies."""


class EvaluateConfig(StageConfig):
    """What is measured, and how surely.

    Attributes:
        splits: CSV `video,split,pair`; without one, videos are held out by a hash of their ids.
        split: the split that is measured.
        holdout_fraction: share of videos held out without a splits file; training must be given the same.
        holdout_seed: another seed holds out others; training must be given the same.
        ks: cut-offs of R@k.
        num_resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.
    """

    splits: Path | None = None
    split: Literal["test", "val"] = "test"
    holdout_fraction: float = Field(default=0.2, ge=0, le=1)
    holdout_seed: int = Field(default=0, ge=0)
    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    num_resamples: int = Field(default=2_000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Evaluate(Stage):
    """Settings of evaluate.

    Attributes:
        config: what a run's file says of it.
        trained_here: the encoder is the `checkpoint` of this run: its loss and its training videos are shown.
        checkpoint_path: the encoder is a checkpoint that the user gave; its folder may say what it was trained on.
        reports_on: labels of other artifacts of this run whose failures the page counts, such as `features.s3d`.
    """

    config: EvaluateConfig
    trained_here: bool = False
    checkpoint_path: Path | None = None
    reports_on: tuple[str, ...] = ()

    name: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest for names, the embeddings, the checkpoint if this run trained one, and what is reported on."""
        trained = ("checkpoint",) if self.trained_here else ()
        return ("manifest", *self.reports_on, *trained, "embeddings")

    def outputs(self) -> tuple[Output, ...]:
        """Metrics, ranks and report."""
        return (Output(label="evaluation", schema=SCHEMA),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit, the set: the page names every artifact that it read, so all of them decide its bytes."""
        chosen = self._choose(read_videos(inputs["manifest"])) | self._given_training()
        identity = {
            "config": self.config.model_dump(mode="json", exclude=_CHANGES_NO_BYTES),
            "split": chosen,
            "inputs": {label: inputs[label].fingerprint for label in self.needs},
        }
        return [Unit(unit_id="set", inputs=("set",), payload=chosen, identities={"evaluation": identity})]

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: the unit reads what it needs."""
        return EvaluateWorker(self, inputs)

    def _choose(self, videos: list[Video]) -> dict[str, Any]:
        """The split's videos and pairs, and where they come from, in words."""
        path, split = self.config.splits, self.config.split
        if path is None:
            return self._hold_out(videos)
        if not path.is_file():
            raise ConfigError(f"[evaluate] splits = {path}: there is no such file; expected a CSV video,split,pair")
        splits = read_splits(path, videos)
        video_ids = splits.video_ids(split)
        source = f"{path.name} (xxh3 {hash_file(path)[:_HASH_DIGITS]}) names {len(video_ids)} videos for {split}"
        if splits.absent:
            source += f"; {len(splits.absent)} of its rows name no video of the corpus"
        if splits.without_split:
            source += f"; {len(splits.without_split)} videos of the corpus are in no split"
        members = set(video_ids)
        pairs = {name: list(ids) for name, ids in splits.pairs.items() if members.issuperset(ids)}
        return {"video_ids": list(video_ids), "pairs": pairs, "source": source}

    def _given_training(self) -> dict[str, Any]:
        """Which videos a given checkpoint was trained on, if train of ours made it; None if it does not say."""
        listed = self.checkpoint_path and self.checkpoint_path / TRAINED_ON
        trained_on = listed.read_text().split() if listed and listed.is_file() else None
        return {"given_checkpoint": self.checkpoint_path is not None, "trained_on": trained_on}

    def _hold_out(self, videos: list[Video]) -> dict[str, Any]:
        if self.config.split != TEST:
            raise ConfigError(
                f"[evaluate] split = {self.config.split!r} needs a splits file: without one there is only 'test'; "
                "set splits, or leave split away"
            )
        fraction, seed = self.config.holdout_fraction, self.config.holdout_seed
        held = [video.video_id for video in videos if holdout_split(video.video_id, fraction, seed) == TEST]
        source = f"no splits file: {len(held)} of {len(videos)} videos held out by a hash of their ids (seed {seed})"
        return {"video_ids": held, "pairs": {}, "source": source}


class EvaluateWorker:
    """Measures the set."""

    def __init__(self, stage: Evaluate, inputs: Inputs) -> None:
        self._stage = stage
        self._artifacts: Mapping[str, Artifact] = {label: inputs[label] for label in stage.needs}

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write metrics, ranks and report; a set that cannot be measured is a report that says so, no failure."""
        from stages.artifacts.hashing import pretty_json
        from stages.evaluation.reading import read_evaluation_set
        from stages.evaluation.results import metrics_document

        config = self._stage.config
        checkpoint = self._artifacts.get("checkpoint")
        evaluation = read_evaluation_set(self._artifacts["embeddings"], checkpoint, unit.payload, config.split)
        settings = self._settings()
        out.report(0.2, f"{len(evaluation.videos)} videos")
        results = measure(evaluation, settings)
        out.report(0.9)
        with out.create("evaluation", METRICS) as file:
            file.write(pretty_json(metrics_document(evaluation, results, settings)))
        self._write_ranks(results, out)
        with out.create("evaluation", REPORT) as file:
            file.write(self._page(evaluation, results, settings).encode())
        evaluated = sum(1 for result in results if result.ranked is not None)
        out.describe(
            "evaluation", {"videos": len(evaluation.videos), "protocols": len(results), "evaluated": evaluated}
        )
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _settings(self) -> "ProtocolSettings":
        from stages.evaluation.bootstrap import BootstrapSettings
        from stages.evaluation.scoring import ProtocolSettings

        config = self._stage.config
        bootstrap = BootstrapSettings(num_resamples=config.num_resamples, confidence=config.confidence)
        return ProtocolSettings(ks=config.ks, seed=config.seed, bootstrap=bootstrap)

    def _write_ranks(self, results: "list[ProtocolResult]", out: Out) -> None:
        from stages.artifacts.tables import FLOAT64, STRING, columns_table, write_table
        from stages.evaluation.results import rank_rows

        types = {"protocol": STRING, "query_id": STRING, "rank": FLOAT64, "target_id": STRING, "score": FLOAT64}
        write_table(out.create("evaluation", RANKS), columns_table(types, rank_rows(results)))

    def _page(self, evaluation: "EvaluationSet", results: "list[ProtocolResult]", settings: "ProtocolSettings") -> str:
        from stages.evaluation.alignments import choose_examples
        from stages.evaluation.reading import count_failures, provenance, read_history
        from stages.evaluation.report import ReportContent, render_report

        checkpoint = self._artifacts.get("checkpoint")
        by_dtw = next(result.ranked for result in results if result.name == "paragraph_to_video.dtw")
        return render_report(
            ReportContent(
                evaluation=evaluation,
                results=results,
                settings=settings,
                history=read_history(checkpoint) if checkpoint else None,
                alignments=choose_examples(evaluation, by_dtw),
                failures=count_failures(self._artifacts),
                provenance=provenance(self._artifacts),
            )
        )


def measure(evaluation: "EvaluationSet", settings: "ProtocolSettings") -> "list[ProtocolResult]":
    """Run every protocol.

    Args:
        evaluation: the split.
        settings: cut-offs and bootstrap.

    Returns:
        Their results in the order of the report.

    Raises:
        Corrupt: a vector of the embeddings gives a score that is no number.
    """
    from stages.evaluation.protocols.clip_retrieval import clip_retrieval
    from stages.evaluation.protocols.order_pairs import order_pairs
    from stages.evaluation.protocols.paragraph_retrieval import paragraph_retrieval

    try:
        return [
            result
            for protocol in (order_pairs, paragraph_retrieval, clip_retrieval)
            for result in protocol(evaluation, settings)
        ]
    except ValueError as error:
        raise Corrupt(f"the embeddings cannot be scored: {error}; run `fabula verify`, then embed again") from error
