"""The verb, through the real run loop on a store with real tables; only the encoder's vectors are made here."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.executors.inline import InlineExecutor
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.artifacts.manifest import MEMBERS, MEMBERS_SCHEMA, VIDEOS, VIDEOS_SCHEMA
from stages.artifacts.tables import (
    FLOAT64,
    INT64,
    columns_table,
    rows_table,
    vector,
    vectors_column,
    write_table,
)
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError, FabulaError
from stages.evaluate import Evaluate, EvaluateConfig
from stages.evaluation.records import EvaluatedVideo, EvaluationSet
from stages.retrieval.ivf import IvfSettings
from stages.training.choice import EncoderChoice, EncoderSettings
from stages.training.embedding_tables import NARRATIONS_SCHEMA, WINDOWS_SCHEMA
from tests.evaluation_samples import DIM, make_set

ENCODER = {"description": "dual encoder of a test", "random_weights": False, "features": "s3d", "normalised": False}


class CorpusConfig(StageConfig):
    """What the stand-in for ingest, train and embed writes."""

    seed: int = 0
    narrated: bool = True
    says_encoder: bool = True
    random_weights: bool = False
    num_pairs: int = 4
    num_lost: int = 0


@dataclass(frozen=True)
class Corpus(Stage):
    """Writes a manifest and embeddings in two units, as their schemas say."""

    config: CorpusConfig

    name: ClassVar[str] = "corpus"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def outputs(self) -> tuple[Output, ...]:
        about = (
            {"encoder": ENCODER | {"random_weights": self.config.random_weights}} if self.config.says_encoder else {}
        )
        return (Output(label="manifest"), Output(label="embeddings", about=about))

    def units(self, inputs: Inputs) -> list[Unit]:
        parts = self.config.model_dump(mode="json")
        identities = {output.label: {"config": parts} for output in self.outputs()}
        return [
            Unit(unit_id="00000", inputs=("good", "bad"), payload={"half": 0}, identities=identities),
            Unit(unit_id="00001", inputs=("more",), payload={"half": 1}, identities=identities),
        ]

    def open(self, inputs: Inputs) -> Worker:
        return CorpusWorker(self.config)


class CorpusWorker:
    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        self._set = make_set(num_pairs=config.num_pairs, noise=0.5, seed=config.seed)

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        half = unit.payload["half"]
        videos = self._set.videos[half::2]
        rows = [manifest_row(video.video_id, 2 * i + half) for i, video in enumerate(videos)]
        write_table(out.create("manifest", VIDEOS), rows_table(VIDEOS_SCHEMA, rows))
        write_table(out.create("manifest", MEMBERS), rows_table(MEMBERS_SCHEMA, []))
        shown = videos[: len(videos) - self._config.num_lost]
        write_table(out.create("embeddings", "windows.parquet"), windows_table(shown))
        write_table(
            out.create("embeddings", "narrations.parquet"), narrations_table(shown if self._config.narrated else ())
        )
        return [Failure(input_id="bad", cause="decode_error", message="bad.mp4: no video stream")] if half == 0 else []

    def close(self) -> None:
        pass


class TrainingConfig(StageConfig):
    """What the stand-in for train says."""

    trained_on: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Training(Stage):
    """Writes a checkpoint's history."""

    config: TrainingConfig

    name: ClassVar[str] = "training"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def outputs(self) -> tuple[Output, ...]:
        return (Output(label="checkpoint"),)

    def units(self, inputs: Inputs) -> list[Unit]:
        identity = {"checkpoint": {"config": self.config.model_dump(mode="json")}}
        return [Unit(unit_id="run", inputs=("run",), payload={}, identities=identity)]

    def open(self, inputs: Inputs) -> Worker:
        return TrainingWorker(self.config)


class TrainingWorker:
    def __init__(self, config: TrainingConfig) -> None:
        self._config = config

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        steps = {"step": [1, 2], "loss": [3.0, 2.0], "learning_rate": [0.1, 0.1]}
        types = {"step": INT64, "loss": FLOAT64, "learning_rate": FLOAT64}
        write_table(out.create("checkpoint", "history.parquet"), columns_table(types, steps))
        if self._config.trained_on is not None:
            out.describe("checkpoint", {"train_videos": list(self._config.trained_on)})
        return []

    def close(self) -> None:
        pass


def manifest_row(video_id: str, position: int) -> dict[str, Any]:
    zeros: dict[str, Any] = {name: 0 for name in VIDEOS_SCHEMA}
    text = {name: "" for name in ("content_hash", "container", "video_codec", "audio_codec", "status")}
    names = {"video_id": video_id, "position": position, "paths": [f"{video_id}.mp4"], "source_ids": []}
    return zeros | text | names | {"has_audio": False}


def timed_columns(videos: Iterable[EvaluatedVideo], spans: str, ids: str) -> dict[str, Any]:
    rows = [(v, i, span) for v in videos for i, span in enumerate(getattr(v, spans).tolist())]
    return {
        "video_id": [video.video_id for video, _, _ in rows],
        "index": [index for _, index, _ in rows],
        "start_s": [span[0] for _, _, span in rows],
        "end_s": [span[1] for _, _, span in rows],
        ids: [getattr(video, f"{ids}s")[index] for video, index, _ in rows],
    }


def windows_table(videos: Iterable[EvaluatedVideo]) -> Any:
    columns = timed_columns(videos, "window_spans", "window_id")
    vectors = np.concatenate([np.zeros((0, DIM), np.float32), *(video.windows for video in videos)])
    more = {"num_damaged": [0] * len(vectors), "vector": vectors_column(vectors)}
    return columns_table({**WINDOWS_SCHEMA, "vector": vector(DIM)}, columns | more)


def narrations_table(videos: Iterable[EvaluatedVideo]) -> Any:
    columns = timed_columns(videos, "narration_spans", "narration_id")
    vectors = np.concatenate([np.zeros((0, DIM), np.float32), *(video.narrations for video in videos)])
    more = {
        "text": [text for video in videos for text in video.texts],
        "paragraph_index": [index for video in videos for index in video.paragraph_index.tolist()],
        "vector": vectors_column(vectors),
    }
    return columns_table({**NARRATIONS_SCHEMA, "vector": vector(DIM)}, columns | more)


def write_splits(path: Path, evaluation: EvaluationSet, *, test_pairs: int) -> Path:
    lines = ["video,split,pair"]
    for number, (pair, names) in enumerate(sorted(evaluation.pairs.items())):
        lines += [f"{name}.mp4,{'test' if number < test_pairs else 'train'},{pair}" for name in names]
    path.write_text("\n".join([*lines, "never-downloaded.mp4,test,"]) + "\n")
    return path


def run(store: Path, corpus: CorpusConfig | None = None, **settings: Any) -> Outcome:
    encoder, trained_on = settings.pop("encoder", EncoderChoice(kind="train")), settings.pop("trained_on", None)
    stage = Evaluate(EvaluateConfig(num_resamples=200, **settings), encoder=encoder, encoder_settings=EncoderSettings())
    root = Store(store)
    context = RunContext(
        name="test",
        store=root,
        run=start_run(root, "cafe", b""),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=LineProgress(),
    )
    return run_stages(
        [Corpus(corpus or CorpusConfig()), Training(TrainingConfig(trained_on=trained_on)), stage], context
    )


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.artifacts["evaluation"].paths("metrics.json")[0].read_bytes())
    return found


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "splits.csv", make_set(noise=0.5), test_pairs=3)


def test_measures_the_test_split_and_nothing_else(tmp_path: Path, splits: Path) -> None:
    outcome = run(tmp_path / "store", splits=splits)
    metrics = metrics_of(outcome)
    assert metrics["split"]["num_videos"] == 6
    assert metrics["split"]["num_pairs"] == 3
    assert "names 6 videos for test; 1 of its rows name no video" in metrics["split"]["source"]
    assert metrics["encoder"] == ENCODER
    assert metrics["protocols"]["paragraph_to_video.dtw"]["gallery_size"] == 6
    assert metrics["protocols"]["order_pairs.dtw"]["num_bootstrap_units"] == 3
    assert metrics["protocols"]["order_pairs.dtw"]["scores"]["accuracy"]["value"] == 1.0
    assert metrics["protocols"]["text_to_window"]["similarity"] == "inner product"
    ranks = pq.read_table(outcome.artifacts["evaluation"].paths("ranks.parquet")[0])
    assert ranks.column_names == ["protocol", "query_id", "rank", "target_id", "score"]
    assert not any("video003" in query for query in ranks.column("query_id").to_pylist())
    record = outcome.artifacts["evaluation"].records[0]
    assert record.info == {"videos": 6, "protocols": 9, "evaluated": 9}


def test_the_page_shows_loss_failures_and_provenance_and_no_place_or_time(tmp_path: Path, splits: Path) -> None:
    outcome = run(tmp_path / "store", splits=splits)
    page = outcome.artifacts["evaluation"].paths("report.html")[0].read_text()
    assert "Training, 2 steps" in page
    assert "1 × decode_error" in page
    assert f"embeddings/{outcome.artifacts['embeddings'].directory.name}" in page
    assert "2 of 3 inputs used" in page
    assert str(tmp_path) not in page
    assert str(tmp_path) not in json.dumps(metrics_of(outcome))


def test_same_inputs_same_bytes_wherever_they_lie(tmp_path: Path, splits: Path) -> None:
    moved = tmp_path / "elsewhere" / "splits.csv"
    moved.parent.mkdir()
    moved.write_bytes(splits.read_bytes())
    first, second = run(tmp_path / "a", splits=splits), run(tmp_path / "b", splits=moved)
    one, other = first.artifacts["evaluation"], second.artifacts["evaluation"]
    assert one.fingerprint == other.fingerprint
    assert [file.hash for file in one.records[0].files] == [file.hash for file in other.records[0].files]


def test_another_split_or_setting_is_another_evaluation(tmp_path: Path, splits: Path) -> None:
    names = {run(tmp_path / "store", splits=splits).artifacts["evaluation"].fingerprint}
    names.add(run(tmp_path / "store", splits=splits, ks=(1,)).artifacts["evaluation"].fingerprint)
    splits.write_text(splits.read_text().replace("train", "val"))
    names.add(run(tmp_path / "store", splits=splits, split="val").artifacts["evaluation"].fingerprint)
    assert len(names) == 3


def test_says_which_measured_videos_were_trained_on(tmp_path: Path, splits: Path) -> None:
    seen = run(tmp_path / "a", trained_on=("video000a", "video003a"), splits=splits)
    assert metrics_of(seen)["split"]["trained_on"] == {"count": 1, "first": ["video000a"]}
    assert metrics_of(seen)["protocols"]["text_to_window"]["trained_on_these_videos"] == "yes, on 1 of 6 videos"
    silent = run(tmp_path / "b", splits=splits)
    assert metrics_of(silent)["protocols"]["text_to_window"]["trained_on_these_videos"] == "unknown"
    others = run(tmp_path / "c", trained_on=("*", "video003a"), splits=splits)
    assert metrics_of(others)["protocols"]["text_to_window"]["trained_on_these_videos"] == "unknown"


def test_says_what_a_given_encoder_was_trained_on_if_it_knows(tmp_path: Path, splits: Path) -> None:
    def note(store: str, corpus: CorpusConfig | None = None, path: Path | None = None) -> str:
        given = EncoderChoice(kind="dual" if path else "s3d-text", path=path and str(path))
        outcome = run(tmp_path / store, corpus, splits=splits, encoder=given)
        found: str = metrics_of(outcome)["protocols"]["text_to_window"]["trained_on_these_videos"]
        return found

    given = tmp_path / "given"
    given.mkdir()
    assert note("weights of others") == "unknown"
    assert note("no weights", CorpusConfig(random_weights=True)) == "no"
    assert note("given", CorpusConfig(random_weights=True), given) == "unknown"
    (given / "trained_on.txt").write_text("video003a\nvideo001b\n")
    assert note("given", CorpusConfig(random_weights=True), given) == "yes, on 1 of 6 videos"


def test_without_a_splits_file_videos_are_held_out(tmp_path: Path) -> None:
    metrics = metrics_of(run(tmp_path / "store", holdout_fraction=0.5))
    assert 0 < metrics["split"]["num_videos"] < 8
    assert "held out by a hash of their ids" in metrics["split"]["source"]
    assert metrics["protocols"]["order_pairs.dtw"]["not_evaluated"].endswith("differ in order only")


def test_videos_without_features_are_missing_not_wrong(tmp_path: Path, splits: Path) -> None:
    metrics = metrics_of(run(tmp_path / "store", CorpusConfig(num_lost=2), splits=splits))
    lost = metrics["split"]["missing"]
    assert lost == {"without_features": {"count": 2, "first": ["video002a", "video002b"]}}
    assert metrics["split"]["lacking"]["without_narrations"]["count"] == 0
    assert metrics["protocols"]["paragraph_to_video.dtw"]["gallery_size"] == 4
    assert metrics["protocols"]["order_pairs.dtw"]["missing"]["pairs_incomplete"] == 1


def test_a_corpus_without_captions_still_gets_its_page(tmp_path: Path) -> None:
    outcome = run(tmp_path / "store", CorpusConfig(narrated=False), holdout_fraction=1.0)
    metrics = metrics_of(outcome)
    assert all(not protocol["evaluated"] for protocol in metrics["protocols"].values())
    assert "8 without narrations" in metrics["protocols"]["text_to_window"]["not_evaluated"]
    assert "Not evaluated" in outcome.artifacts["evaluation"].paths("report.html")[0].read_text()
    assert pq.read_table(outcome.artifacts["evaluation"].paths("ranks.parquet")[0]).num_rows == 0


def test_a_splits_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; expected a CSV video,split,pair"):
        run(tmp_path / "store", splits=tmp_path / "none.csv")


def test_a_val_split_needs_a_splits_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a splits file"):
        run(tmp_path / "store", split="val")


def test_embeddings_that_do_not_say_their_encoder(tmp_path: Path, splits: Path) -> None:
    with pytest.raises(FabulaError, match="does not say description, random_weights, features, normalised"):
        run(tmp_path / "store", CorpusConfig(says_encoder=False), splits=splits)


def test_reports_on_other_artifacts_of_the_run() -> None:
    stage = Evaluate(
        EvaluateConfig(),
        encoder=EncoderChoice(kind="s3d-text"),
        encoder_settings=EncoderSettings(),
        reports_on=("features.s3d", "paragraphs"),
    )
    assert stage.needs == ("manifest", "features.s3d", "paragraphs", "embeddings")
    assert replace(stage, encoder=EncoderChoice(kind="train")).needs[-2:] == ("checkpoint", "embeddings")
    assert replace(stage, ivf=IvfSettings()).needs[-1] == "index"
