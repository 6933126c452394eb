"""Staged files, shards and tables: atomic, the same bytes, opened by vanilla libraries."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from stages.artifacts.commit import StagedOutput
from stages.artifacts.durable import publish
from stages.artifacts.layout import ArtifactDir
from stages.artifacts.records import read_record
from stages.artifacts.shards import ShardWriter, map_array, read_array, read_member, read_samples
from stages.artifacts.tables import (
    FLOAT64,
    STRING,
    columns_table,
    matrix,
    read_table,
    vector,
    vectors_column,
    write_table,
)
from stages.contract import Failure
from stages.errors import Corrupt, SchemaMismatch


def commit_shard(root: Path) -> ArtifactDir:
    target = ArtifactDir(root, "features", "abc")
    out = StagedOutput("00000", {"features": target})
    with ShardWriter(out.create("features", "shards/s3d.tar")) as shard:
        shard.add("v1", {"s3d.npy": np.arange(6, dtype=np.float16).reshape(3, 2), "json": {"b": 1, "a": "ü"}})
        shard.add("v2", {"s3d.npy": np.empty((0, 2), np.float16), "json": {}})
    out.commit(
        {"features": "f" * 32}, ["v1", "v2", "v3"], [Failure(input_id="v3", cause="broken", message="v3: broken")]
    )
    return target


def test_shard_has_the_same_bytes_and_vanilla_webdataset_reads_it(tmp_path: Path) -> None:
    files = [next((commit_shard(tmp_path / name).path / "shards").iterdir()) for name in ("a", "b")]
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()
    samples = list(webdataset.WebDataset(str(files[0]), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["v1", "v2"]
    assert np.load(io.BytesIO(samples[0]["s3d.npy"])).tolist() == [[0, 1], [2, 3], [4, 5]]
    with tarfile.open(files[0]) as tar:
        assert {(member.mtime, member.uname) for member in tar} == {(0, "fabula")}


def test_members_are_found_by_offset(tmp_path: Path) -> None:
    target = commit_shard(tmp_path)
    file = read_record(target.commit_path("00000")).file("shards/s3d.tar")
    by_name = {member.name: member for member in file.members}
    path = target.path / file.path
    assert list(by_name) == ["v1.json", "v1.s3d.npy", "v2.json", "v2.s3d.npy"]
    assert read_member(path, by_name["v1.json"]) == '{"a": "ü", "b": 1}'.encode()
    assert map_array(path, by_name["v1.s3d.npy"]).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert read_array(path, by_name["v2.s3d.npy"]).shape == (0, 2)
    assert dict(read_samples(path))["v1"]["json"] == read_member(path, by_name["v1.json"])
    with pytest.raises(Corrupt, match=r"v1\.json is no array"):
        map_array(path, by_name["v1.json"])


def test_an_array_of_python_objects_is_refused(tmp_path: Path) -> None:
    out = StagedOutput("00000", {"features": ArtifactDir(tmp_path, "features", "abc")})
    with ShardWriter(out.create("features", "x.tar")) as shard, pytest.raises(ValueError, match=r"[Oo]bject"):
        shard.add("v1", {"s3d.npy": np.array([{}], dtype=object)})


@pytest.mark.parametrize("key", ["a.b", "", "ä", "x" * 65, "../x"])
def test_a_key_that_webdataset_would_cut_is_refused(tmp_path: Path, key: str) -> None:
    out = StagedOutput("00000", {"features": ArtifactDir(tmp_path, "features", "abc")})
    with ShardWriter(out.create("features", "x.tar")) as shard, pytest.raises(ValueError, match="sample key"):
        shard.add(key, {"json": {}})


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../b", "", "a b"])
def test_a_worker_cannot_leave_its_artifact(tmp_path: Path, name: str) -> None:
    out = StagedOutput("00000", {"features": ArtifactDir(tmp_path, "features", "abc")})
    with pytest.raises(ValueError, match="no name for a file"):
        out.create("features", name)


def test_failures_must_add_up(tmp_path: Path) -> None:
    failure = Failure(input_id="v9", cause="broken", message="")
    for failures in (
        [failure],
        [Failure(input_id="v1", cause="a", message=""), Failure(input_id="v1", cause="b", message="")],
    ):
        out = StagedOutput("00000", {"features": ArtifactDir(tmp_path, "features", "abc")})
        with pytest.raises(ValueError, match="add up"):
            out.commit({"features": "f"}, ["v1", "v2"], failures)


def test_the_first_committer_wins(tmp_path: Path) -> None:
    target = ArtifactDir(tmp_path, "total", "abc")
    for content, expected in ((b"first", ["total"]), (b"second", [])):
        out = StagedOutput("sum", {"total": target})
        with out.create("total", "total.txt") as file:
            file.write(content)
        assert out.commit({"total": "f"}, ["all"], []) == expected
    record = read_record(target.commit_path("sum"))
    assert (target.path / record.files[0].path).read_bytes() == b"first"
    assert not list(target.staging_dir.iterdir())


def test_publish_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    assert publish(path, b"1")
    assert not publish(path, b"2")
    assert path.read_bytes() == b"1"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.json"]


def test_tables_keep_vectors_beside_their_ids(tmp_path: Path) -> None:
    out = StagedOutput("00000", {"embeddings": ArtifactDir(tmp_path, "embeddings", "abc")})
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    schema = {"id": STRING, "start_s": FLOAT64, "vector": vector(2)}
    present = np.array([True, False, True])
    columns = {"id": ["a", "b", "c"], "start_s": [0.0, 1.0, 2.0], "vector": vectors_column(vectors, present)}
    write_table(out.create("embeddings", "windows.parquet"), columns_table(schema, columns))
    out.commit({"embeddings": "f"}, ["v"], [])
    (path,) = (tmp_path / "embeddings" / "abc").glob("*.parquet")
    assert matrix(read_table(path), "vector").tolist() == [[0, 1], [0, 0], [4, 5]]
    assert matrix(read_table(path).slice(1), "vector").tolist() == [[0, 0], [4, 5]]
    assert pq.read_table(path).column("id").to_pylist() == ["a", "b", "c"]
    with pytest.raises(SchemaMismatch, match="nothere"):
        read_table(path, ["id", "nothere"])
    path.write_bytes(b"no table")
    with pytest.raises(Corrupt, match="not a Parquet"):
        read_table(path)


@pytest.mark.parametrize("field", ["name", "path"])
@pytest.mark.parametrize("path", ["../../outside", "/etc/passwd", "shards/../../x"])
def test_a_record_from_elsewhere_names_nothing_outside_of_its_folder(tmp_path: Path, field: str, path: str) -> None:
    record = commit_shard(tmp_path).commit_path("00000")
    raw = json.loads(record.read_bytes())
    raw["files"][0][field] = path
    record.write_text(json.dumps(raw))
    with pytest.raises(Corrupt, match="does not stay in the artifact's folder"):
        read_record(record)
