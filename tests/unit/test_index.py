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

from models.encoders.build import random_encoder
from models.encoders.checkpoint import DualCheckpoint, save_dual
from models.encoders.config import DualConfig
from models.encoders.joint import EncoderSpec, JointEncoder, open_encoder
from models.encoders.tokenizer import CaptionTokenizer
from pipeline.units import plan_stage, waves
from stages.artifacts.commit import StagedOutput, adopt
from stages.artifacts.durable import publish
from stages.artifacts.hashing import fingerprint, hash_bytes
from stages.artifacts.layout import Store
from stages.artifacts.manifest import VIDEOS, VIDEOS_SCHEMA
from stages.artifacts.records import read_record
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
from stages.index import Index, IndexConfig
from stages.retrieval import open_bundle
from stages.retrieval.content import NARRATIONS, PARAGRAPHS, WINDOWS
from stages.retrieval.query_encoder import open_query_encoder
from stages.retrieval.search import search_like, search_sentence
from tests.retrieval_samples import DIM, STRIDE_S, WINDOW_S, WordEncoder, content_of, vectors_of

SHOWN = {"a": ["pour", "stir"], "b": ["cut", "fry", "bake"], "silent": [], "c": ["wash", "stir"]}
SPAN = {"start_s": FLOAT64, "end_s": FLOAT64}
WINDOWS_SCHEMA = {"window_id": STRING, "video_id": STRING, "index": INT32, **SPAN, "num_damaged": INT32}
NARRATIONS_SCHEMA = {"narration_id": STRING, "video_id": STRING, "index": INT32, "paragraph_index": INT32, **SPAN}
PARAGRAPHS_SCHEMA = {"paragraph_id": STRING, "video_id": STRING, "index": INT32, **SPAN, "text": STRING}


def seal(store: Store, label: str, units: dict[str, dict[str, Any]], about: dict[str, Any]) -> Artifact:
    """Commit and seal an artifact whose units hold these tables (or bytes)."""
    prints = {
        unit_id: fingerprint({name: _digest(file) for name, file in files.items()}) for unit_id, files in units.items()
    }
    name = fingerprint([label, prints, about])
    directory = store.artifact(label, name)
    planned = {unit_id: PlannedUnit(fingerprint=prints[unit_id], parts={}, num_inputs=1) for unit_id in units}
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
        if WINDOWS in files:
            out.describe(label, {"windows": files[WINDOWS].num_rows})
        out.commit({label: prints[unit_id]}, ["x"], [])
    artifact = Artifact(directory)
    artifact.seal()
    return artifact


def _digest(content: Any) -> str:
    return hash_bytes(content if isinstance(content, bytes) else repr(content.to_pydict()).encode())


def shard_tables(shown: dict[str, list[str]]) -> dict[str, Any]:
    """The tables of one embedding unit, as embed writes them."""
    content = content_of(shown)
    vectors = vectors_of(content)
    windows = {**content.windows, "num_damaged": [0] * len(vectors), "vector": vectors_column(vectors)}
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
    """Plan the stage and do its open units as the engine does, in this process."""
    plan = plan_stage(stage, inputs)
    (planned,) = plan.artifacts
    publish(planned.directory.description_path, planned.description.to_bytes())
    for unit_id, source in planned.adoptable.items():
        adopt(source, read_record(source.commit_path(unit_id)), planned.directory)
    artifact = Artifact(planned.directory)
    worker = stage.open(replace(inputs, making={"index": artifact}))
    for job in (job for wave in waves(plan.jobs()) for job in wave):
        out = StagedOutput(job.unit.unit_id, job.targets)
        out.commit(job.fingerprints, job.unit.inputs, worker.process(job.unit, out))
    artifact.seal()
    return artifact


def made_units(artifact: Artifact, inode_of: dict[str, int]) -> list[str]:
    """Units whose files are not those that had these inodes."""
    found = {record.unit_id: artifact.path(record.files[0]).stat().st_ino for record in artifact.records}
    return [unit_id for unit_id, inode in found.items() if inode not in inode_of.values()]


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


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_the_same_embeddings_give_the_same_bytes(tmp_path: Path, kind: Any) -> None:
    stage = Index(IndexConfig(kind=kind))
    first, second = (run(stage, inputs_of(tmp_path / name)) for name in ("1", "2"))
    assert [record.to_bytes() for record in first.records] == [record.to_bytes() for record in second.records]


def test_an_ivf_index_is_made_of_a_quantiser_a_part_a_shard_and_what_joins_them(tmp_path: Path) -> None:
    artifact = run(Index(IndexConfig(kind="ivf")), inputs_of(tmp_path))
    assert [record.unit_id for record in artifact.records] == ["bundle", "codes-00000", "codes-00001", "quantiser"]
    assert artifact.totals()["inputs"] == 2
    bundle = open_bundle(artifact.directory.path)
    assert search_sentence(bundle, WordEncoder(), "fry", k=1).hits[0].video_id == "b"
    assert set(bundle.record.files) >= {"clips.faiss", "clips.parquet"}
    assert not {"quantiser.faiss", "codes.faiss"} & set(bundle.record.files)


def grown(num_videos: int) -> dict[str, list[str]]:
    return {f"v{number:02d}": ["pour", "stir", "cut"] for number in range(num_videos)}


def shards_of(root: Path, shown: dict[str, list[str]], per_shard: int) -> Inputs:
    """As `inputs_of`, with shards of so many videos: a shard that is full never changes."""
    store, names = Store(root), list(shown)
    units = {
        f"{n:05d}": shard_tables({name: shown[name] for name in names[n * per_shard : (n + 1) * per_shard]})
        for n in range(-(-len(names) // per_shard))
    }
    artifacts = {"manifest": manifest_of(store, names), "embeddings": seal(store, "embeddings", units, FACTS)}
    return Inputs(store=store, artifacts=artifacts)


def quantiser_of(artifact: Artifact) -> str:
    return artifact.description.units["quantiser"].fingerprint


def test_an_append_takes_the_quantiser_over_and_fills_the_new_shard_alone(tmp_path: Path) -> None:
    stage = Index(IndexConfig(kind="ivf"))
    before = run(stage, shards_of(tmp_path, grown(8), 4))
    inodes = {record.unit_id: before.path(record.files[0]).stat().st_ino for record in before.records}
    inputs = replace(shards_of(tmp_path, grown(10), 4), previous={"index": [before]})
    after = run(stage, inputs)
    assert made_units(after, inodes) == ["bundle", "codes-00002"]
    assert quantiser_of(after) == quantiser_of(before)
    bundle = open_bundle(after.directory.path)
    assert bundle.clips.num_rows == 60
    last_shard = vectors_of(content_of({name: grown(10)[name] for name in ("v08", "v09")}))
    np.testing.assert_array_equal(bundle.window_vectors(bundle.by_id["v09"]), last_shard[-6:])
    assert plan_stage(stage, replace(inputs, previous={"index": [after, before]})).jobs() == []


@pytest.mark.parametrize(
    ("config", "facts", "num_videos"),
    [
        ({}, FACTS, 40),  # outgrown
        ({"most_growth": 0.0}, FACTS, 10),
        ({"seed": 1}, FACTS, 10),
        ({}, {**FACTS, "encoder": {**FACTS["encoder"], "sha256": "4567"}}, 10),
    ],
    ids=["outgrown", "told to", "other settings", "other encoder"],
)
def test_a_quantiser_that_does_not_suit_is_trained_anew(
    tmp_path: Path, config: dict[str, Any], facts: dict[str, Any], num_videos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(Index(IndexConfig(kind="ivf")), shards_of(tmp_path, grown(8), 4))
    monkeypatch.setitem(globals(), "FACTS", facts)
    inputs = replace(shards_of(tmp_path, grown(num_videos), 4), previous={"index": [before]})
    after = run(Index(IndexConfig(kind="ivf", **config)), inputs)
    assert quantiser_of(after) != quantiser_of(before)
    assert len(made_units(after, {})) == len(after.records)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_video_that_is_left_out_costs_the_bundle_alone_and_leaves_nothing_in_it(tmp_path: Path, kind: Any) -> None:
    inputs = inputs_of(tmp_path)
    before = run(Index(IndexConfig(kind=kind)), inputs)
    stage = Index(IndexConfig(kind=kind, without=("kitchen/b.mp4",)))
    inodes = {record.unit_id: before.path(record.files[0]).stat().st_ino for record in before.records}
    after = run(stage, replace(inputs, previous={"index": [before]}))
    assert made_units(after, inodes) == ["bundle"]
    bundle = open_bundle(after.directory.path)
    assert [video.video_id for video in bundle.videos] == ["a", "silent", "c"]
    assert bundle.clips.num_rows == 8
    for name, row in (("a", 0), ("c", 4)):
        expected = open_bundle(before.directory.path)
        np.testing.assert_array_equal(
            bundle.window_vectors(bundle.by_id[name]), expected.window_vectors(expected.by_id[name])
        )
        assert bundle.by_id[name].rows.start == row
    assert {hit.video_id for hit in search_sentence(bundle, WordEncoder(), "fry", k=99).hits} <= {"a", "c"}
    assert not any(b"cut it" in path.read_bytes() for path in after.directory.path.glob("*-bundle-*"))


def test_leaving_everything_out_gives_an_empty_index(tmp_path: Path) -> None:
    stage = Index(IndexConfig(kind="ivf", without=tuple(SHOWN)))
    with pytest.raises(ArtifactError, match="is empty"):
        open_bundle(run(stage, inputs_of(tmp_path)).directory.path).require_windows()


def test_a_name_that_nobody_has_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no video of the manifest is called 'nobody'"):
        Index(IndexConfig(without=("nobody",))).units(inputs_of(tmp_path))


def test_a_quantiser_that_is_gone_is_not_trained_in_secret(tmp_path: Path) -> None:
    stage = Index(IndexConfig(kind="ivf"))
    before = run(stage, shards_of(tmp_path, grown(8), 4))
    inputs = replace(shards_of(tmp_path, grown(10), 4), previous={"index": [before]})
    (quantiser, *_) = stage.units(inputs)
    assert quantiser.takes_over
    with pytest.raises(ConfigError, match="most_growth=0"):
        stage.open(inputs).process(quantiser, StagedOutput("quantiser", {"index": before.directory}))


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
        encoder=random_encoder(config, seed=0), tokenizer=tokenizer, start_weights="random:seed=0", trained=True
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
