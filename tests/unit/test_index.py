"""index: from sealed embeddings and a manifest to a sealed bundle that answers."""

import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from models.encoders.checkpoint import DualCheckpoint, save_dual
from models.encoders.config import DualConfig
from models.encoders.dual import random_dual
from models.encoders.joint import EncoderSpec, JointEncoder, open_encoder
from models.encoders.tokenizer import CaptionTokenizer
from stages.artifacts.commit import StagedOutput, publish
from stages.artifacts.hashing import fingerprint
from stages.artifacts.layout import Store
from stages.artifacts.manifest import VIDEOS, VIDEOS_SCHEMA
from stages.artifacts.sealed import Artifact, Description, PlannedUnit
from stages.artifacts.tables import (
    FLOAT64,
    INT32,
    STRING,
    columns_table,
    rows_table,
    vector,
    vectors_column,
    write_table,
)
from stages.contract import Inputs
from stages.errors import ArtifactError, ConfigError, NotSealed, SchemaMismatch
from stages.index import NARRATIONS, PARAGRAPHS, WINDOWS, Index, IndexConfig
from stages.retrieval import open_bundle
from stages.retrieval.query_encoder import open_query_encoder
from stages.retrieval.search import search_like, search_sentence
from tests.retrieval_samples import DIM, STRIDE_S, WINDOW_S, WordEncoder, content_of

SHOWN = {"a": ["pour", "stir"], "b": ["cut", "fry", "bake"], "silent": [], "c": ["wash", "stir"]}
SPAN = {"start_s": FLOAT64, "end_s": FLOAT64}
WINDOWS_SCHEMA = {"window_id": STRING, "video_id": STRING, "index": INT32, **SPAN, "num_damaged": INT32}
NARRATIONS_SCHEMA = {"narration_id": STRING, "video_id": STRING, "index": INT32, "paragraph_index": INT32, **SPAN}
PARAGRAPHS_SCHEMA = {"paragraph_id": STRING, "video_id": STRING, "index": INT32, **SPAN, "text": STRING}


def seal(store: Store, label: str, units: dict[str, dict[str, Any]], about: dict[str, Any]) -> Artifact:
    """Commit and seal an artifact whose units hold these tables (or bytes)."""
    name = fingerprint([label, sorted(units), about])
    directory = store.artifact(label, name)
    planned = {unit_id: PlannedUnit(fingerprint=fingerprint(unit_id), parts={}, num_inputs=1) for unit_id in units}
    description = Description(
        label=label, stage="embed", version=1, schema=1, fingerprint=name, about=about, units=planned
    )
    publish(directory.description_path, description.to_bytes())
    for unit_id, files in units.items():
        out = StagedOutput(unit_id, {label: directory})
        for file_name, content in files.items():
            if isinstance(content, bytes):
                out.create(label, file_name).write(content)
            else:
                write_table(out.create(label, file_name), content)
        out.commit({label: fingerprint(unit_id)}, ["x"], [])
    artifact = Artifact(directory)
    artifact.seal()
    return artifact


def shard_tables(shown: dict[str, list[str]]) -> dict[str, Any]:
    """The tables of one embedding unit, as embed writes them."""
    content = content_of(shown)
    num_rows = len(content.window_vectors)
    windows = {**content.windows, "num_damaged": [0] * num_rows, "vector": vectors_column(content.window_vectors)}
    present = np.arange(len(content.paragraph_vectors)) != 1
    text_vectors = vectors_column(content.paragraph_vectors)
    paragraphs = {
        **content.paragraphs,
        "text_vector": text_vectors,
        "video_vector": vectors_column(content.paragraph_vectors, present),
    }
    texts = content.narrations["text"]
    said = WordEncoder().encode_texts(texts).numpy() if texts else np.zeros((0, DIM), np.float32)
    narrations = {**content.narrations, "vector": vectors_column(said)}
    return {
        WINDOWS: columns_table({**WINDOWS_SCHEMA, "vector": vector(DIM)}, windows),
        NARRATIONS: columns_table({**NARRATIONS_SCHEMA, "text": STRING, "vector": vector(DIM)}, narrations),
        PARAGRAPHS: columns_table(
            {**PARAGRAPHS_SCHEMA, "text_vector": vector(DIM), "video_vector": vector(DIM)}, paragraphs
        ),
    }


def manifest_of(store: Store, names: list[str]) -> Artifact:
    rows = [
        {
            **dict.fromkeys(VIDEOS_SCHEMA, 0),
            **dict.fromkeys(("container", "video_codec", "audio_codec", "content_hash"), ""),
            "video_id": name,
            "position": position,
            "paths": [f"kitchen/{name}.mp4", f"copies/{name}-again.mp4"],
            "source_ids": [],
            "has_audio": False,
            "status": "ok",
        }
        for position, name in enumerate(names)
    ]
    return seal(store, "manifest", {"00000": {VIDEOS: rows_table(VIDEOS_SCHEMA, rows)}}, {})


FACTS = {
    "window_s": WINDOW_S,
    "stride_s": STRIDE_S,
    "encoder": {**asdict(content_of({}).encoder), "dim": DIM},
}


def inputs_of(root: Path, shown: dict[str, list[str]] = SHOWN, facts: dict[str, Any] = FACTS) -> Inputs:
    """A manifest and embeddings of two shards."""
    store = Store(root)
    names = list(shown)
    half = (len(names) + 1) // 2
    shards = {f"{n:05d}": part for n, part in enumerate((names[:half], names[half:])) if part}
    units = {unit_id: shard_tables({name: shown[name] for name in part}) for unit_id, part in shards.items()}
    artifacts = {"manifest": manifest_of(store, names), "embeddings": seal(store, "embeddings", units, facts)}
    return Inputs(store=store, artifacts=artifacts)


def encoded_inputs(root: Path, encoder: JointEncoder, kind: str) -> Inputs:
    """One video whose windows are the encoder's own vectors of the narrations, so that each finds itself."""
    texts = ["now pour it", "now stir it"]
    vectors = encoder.encode_texts(texts).numpy()
    starts = [0.0, WINDOW_S]
    rows = {
        "video_id": ["a", "a"],
        "index": [0, 1],
        "start_s": starts,
        "end_s": [start + WINDOW_S for start in starts],
        "vector": vectors_column(vectors),
    }
    kinds = {"vector": vector(vectors.shape[1])}
    tables = {
        WINDOWS: columns_table(
            WINDOWS_SCHEMA | kinds, {**rows, "window_id": ["a/w00000", "a/w00001"], "num_damaged": [0, 0]}
        ),
        NARRATIONS: columns_table(
            NARRATIONS_SCHEMA | {"text": STRING} | kinds,
            {**rows, "narration_id": ["a/n0000", "a/n0001"], "paragraph_index": [0, 0], "text": texts},
        ),
        PARAGRAPHS: rows_table(PARAGRAPHS_SCHEMA | {"video_vector": kinds["vector"]}, []),
    }
    store = Store(root)
    embeddings = seal(store, "embeddings", {"00000": tables}, facts_of(encoder, kind))
    return Inputs(store=store, artifacts={"manifest": manifest_of(store, ["a"]), "embeddings": embeddings})


def run(stage: Index, inputs: Inputs) -> Artifact:
    """Do the stage's unit as the engine does."""
    (unit,) = stage.units(inputs)
    name = fingerprint(unit.identities["index"])
    directory = inputs.store.artifact("index", name)
    planned = {"bundle": PlannedUnit(fingerprint=name, parts={}, num_inputs=len(unit.inputs))}
    description = Description(
        label="index", stage="index", version=1, schema=1, fingerprint=name, about={}, units=planned
    )
    publish(directory.description_path, description.to_bytes())
    out = StagedOutput(unit.unit_id, {"index": directory})
    failures = stage.open(inputs).process(unit, out)
    out.commit({"index": name}, unit.inputs, failures)
    artifact = Artifact(directory)
    artifact.seal()
    return artifact


def test_a_sealed_index_answers_and_vanilla_libraries_open_its_files(tmp_path: Path) -> None:
    artifact = run(Index(IndexConfig()), inputs_of(tmp_path))
    bundle = open_bundle(artifact.directory.path)
    hit = search_sentence(bundle, WordEncoder(), "fry", k=1).hits[0]
    assert (hit.video_id, hit.path) == ("b", "kitchen/b.mp4")
    assert bundle.find_video("b-again.mp4").video_id == "b"
    assert bundle.record.probe is not None
    assert bundle.record.probe.text == "now pour it"
    assert bundle.record.files.keys() == {file.name for file in artifact.records[0].files} - {"bundle.json"}
    assert faiss.read_index(str(artifact.paths("clips.faiss")[0])).ntotal == 14
    assert pq.read_table(artifact.paths("clips.parquet")[0]).num_rows == 14
    # Of each shard's paragraphs the second has no vector; the silent video has none at all.
    assert bundle.paragraph_videos == ("a", "c")
    assert artifact.records[0].info["rows"]["clips.parquet"] == 14


def test_the_same_embeddings_give_the_same_bytes(tmp_path: Path) -> None:
    stage = Index(IndexConfig(kind="ivf"))
    first, second = (run(stage, inputs_of(tmp_path / name)) for name in ("1", "2"))
    assert first.records[0].to_bytes() == second.records[0].to_bytes()


def test_identity_changes_with_settings_embeddings_and_paths_only(tmp_path: Path) -> None:
    def identity(stage: Index, inputs: Inputs) -> Any:
        return stage.units(inputs)[0].identities

    same = identity(Index(IndexConfig()), inputs_of(tmp_path / "1"))
    assert identity(Index(IndexConfig()), inputs_of(tmp_path / "2")) == same
    assert identity(Index(IndexConfig(kind="ivf")), inputs_of(tmp_path / "3")) != same
    assert identity(Index(IndexConfig()), inputs_of(tmp_path / "4", {"z": ["pour"], **SHOWN})) != same


def test_no_windows_give_an_empty_index_that_says_so(tmp_path: Path) -> None:
    artifact = run(Index(IndexConfig(kind="ivf")), inputs_of(tmp_path, {"silent": [], "empty": []}))
    bundle = open_bundle(artifact.directory.path)
    assert (bundle.clips.num_rows, bundle.record.dim) == (0, DIM)
    with pytest.raises(ArtifactError, match="is empty: none of its 2 videos"):
        search_like(bundle, "silent")


def test_embeddings_without_any_unit_give_an_empty_index_too(tmp_path: Path) -> None:
    bundle = open_bundle(run(Index(IndexConfig()), inputs_of(tmp_path, {})).directory.path)
    with pytest.raises(ArtifactError, match="is empty"):
        search_sentence(bundle, WordEncoder(), "pour")


def test_the_checkpoint_s_files_travel_with_the_index(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path)
    files = {"model.safetensors": b"w", "encoder.json": b"{}", "tokenizer.json": b"t", "history.parquet": b"h"}
    checkpoint = seal(inputs.store, "checkpoint", {"train": files}, {})
    inputs = replace(inputs, artifacts={**inputs.artifacts, "checkpoint": checkpoint})
    stage = Index(IndexConfig(), trained_here=True)
    assert "checkpoint" in stage.needs
    moved = tmp_path / "moved"
    shutil.copytree(run(stage, inputs).directory.path, moved)
    shutil.rmtree(tmp_path / "checkpoint")
    with open_bundle(moved).encoder_dir() as folder:
        assert folder is not None
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            name: content for name, content in files.items() if name != "history.parquet"
        }


def tiny_checkpoint() -> DualCheckpoint:
    tokenizer = CaptionTokenizer.train(["now pour it", "now stir it"], vocab_size=60)
    config = DualConfig(
        hidden_size=64,
        num_heads=1,
        intermediate_size=8,
        video_layers=1,
        text_layers=1,
        vocab_size=120,
        max_positions=80,
        feature_dim=4,
    )
    return DualCheckpoint(
        encoder=random_dual(config, seed=0), tokenizer=tokenizer, start_weights="random:seed=0", trained=True
    )


def facts_of(encoder: JointEncoder, kind: str) -> dict[str, Any]:
    """What embed says of its encoder."""
    names = ("backbone", "description", "random_weights", "normalised", "dim")
    own = {name: getattr(encoder, name) for name in names}
    return {**FACTS, "encoder": {"kind": kind, "sha256": "0" * 64, "seed": 0, "features": "f", **own}}


def test_a_given_checkpoint_of_ours_travels_and_asks(tmp_path: Path) -> None:
    save_dual(tiny_checkpoint(), tmp_path / "given")
    encoder = open_encoder(EncoderSpec(kind="dual", path=str(tmp_path / "given")))
    inputs = encoded_inputs(tmp_path / "store", encoder, "dual")
    folder = run(Index(IndexConfig(), checkpoint_path=tmp_path / "given"), inputs).directory.path
    shutil.copytree(folder, tmp_path / "moved")
    for gone in ("given", "store"):
        shutil.rmtree(tmp_path / gone)
    bundle = open_bundle(tmp_path / "moved")
    with open_query_encoder(bundle) as query_encoder:
        answer = search_sentence(bundle, query_encoder, "now pour it", k=1)
    assert (answer.hits[0].start_s, answer.random_weights) == (0.0, False)


def test_a_published_checkpoint_travels_in_our_layout(tmp_path: Path) -> None:
    made = tiny_checkpoint()
    tensors = {f"mmmodel.{name}": value for name, value in made.encoder.state_dict().items()}
    torch.save({"model": tensors}, tmp_path / "checkpoint_best.pt")
    made.tokenizer.save(tmp_path / "tokenizer.json")
    spec = EncoderSpec(
        kind="dual", path=str(tmp_path / "checkpoint_best.pt"), tokenizer=str(tmp_path / "tokenizer.json")
    )
    inputs = encoded_inputs(tmp_path / "store", open_encoder(spec), "dual")
    stage = Index(
        IndexConfig(), checkpoint_path=tmp_path / "checkpoint_best.pt", tokenizer_path=tmp_path / "tokenizer.json"
    )
    bundle = open_bundle(run(stage, inputs).directory.path)
    (tmp_path / "checkpoint_best.pt").unlink()
    with open_query_encoder(bundle) as query_encoder:
        assert search_sentence(bundle, query_encoder, "now pour it", k=1).hits[0].start_s == 0.0


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoint cannot be opened"):
        run(Index(IndexConfig(), checkpoint_path=tmp_path / "nowhere.pt"), inputs_of(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no encoder\.json"):
        run(Index(IndexConfig(), checkpoint_path=tmp_path / "empty"), inputs_of(tmp_path))


def test_embeddings_that_do_not_name_their_encoder_are_refused(tmp_path: Path) -> None:
    facts = {**FACTS, "encoder": {"kind": "dual"}}
    with pytest.raises(SchemaMismatch, match=r"does not say encoder\.backbone, .*encoder\.seed"):
        run(Index(IndexConfig()), inputs_of(tmp_path, facts=facts))


def test_an_unfinished_index_is_not_opened(tmp_path: Path) -> None:
    artifact = run(Index(IndexConfig()), inputs_of(tmp_path))
    artifact.directory.seal_path.unlink()
    with pytest.raises(NotSealed, match="is not finished"):
        open_bundle(artifact.directory.path)


def test_planning_imports_neither_faiss_nor_torch() -> None:
    code = (
        "import sys, stages.index, stages.retrieval, stages.retrieval.results, stages.retrieval.paragraph_query;"
        "print(sorted({'faiss', 'torch', 'ray', 'av'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
