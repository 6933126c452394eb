"""A bundle opens in vanilla libraries, survives a move, and refuses what does not belong together."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stages.errors import ArtifactError, ConfigError, Corrupt, NotSealed, SchemaMismatch
from stages.retrieval import open_bundle
from stages.retrieval.clips import FlatClips
from stages.retrieval.ivf import IvfSettings
from tests.retrieval_samples import DIM, WordEncoder, bundle_of, content_of, vectors_of, write_folder

SHOWN = {"a": ["pour", "stir"], "b": ["cut", "fry", "bake"], "empty": [], "c": ["wash"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "bundle", content_of(SHOWN))


def rewrite(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def test_vanilla_faiss_and_pyarrow_read_it_and_rows_are_joined(folder: Path) -> None:
    index = faiss.read_index(str(folder / "clips.faiss"))
    table = pq.read_table(folder / "clips.parquet")
    content = content_of(SHOWN)
    assert index.ntotal == table.num_rows == 12
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert table.column_names == ["row", "window_id", "video_id", "path", "start_s", "end_s"]
    by_id = dict(zip(content.windows["window_id"], vectors_of(content), strict=True))
    for row, window_id in enumerate(table.column("window_id").to_pylist()):
        np.testing.assert_array_equal(index.reconstruct(row), by_id[window_id])
    assert set(table.column("path").to_pylist()) == {"kitchen/a.mp4", "kitchen/b.mp4", "kitchen/c.mp4"}
    assert faiss.read_index(str(folder / "paragraphs.faiss")).ntotal == 3
    assert pq.read_table(folder / "paragraphs.parquet").column("text").to_pylist()[0] == "now pour it now stir it"
    record = json.loads((folder / "bundle.json").read_bytes())
    assert (record["schema"], record["metric"], record["normalised"], record["dim"]) == (1, "inner_product", True, DIM)


def test_rows_are_in_manifest_order_whatever_the_order_of_the_embeddings(folder: Path, tmp_path: Path) -> None:
    content = content_of(SHOWN)
    order = np.random.default_rng(0).permutation(len(vectors_of(content)))
    shuffled = replace(
        content,
        windows={name: [column[row] for row in order] for name, column in content.windows.items()},
        clips=FlatClips(vectors=vectors_of(content)[order]),
    )
    other = write_folder(tmp_path / "other", shuffled)
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_an_opened_bundle_knows_videos_windows_and_narrations(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert [(video.video_id, len(video.rows)) for video in bundle.videos] == [
        ("a", 4),
        ("b", 6),
        ("empty", 0),
        ("c", 2),
    ]
    np.testing.assert_array_equal(bundle.window_vectors(bundle.by_id["b"]), vectors_of(content_of(SHOWN))[4:10])
    assert bundle.window_vectors(bundle.by_id["empty"]).shape == (0, DIM)
    assert [narration.text for narration in bundle.narrations["b"]] == ["now cut it", "now fry it", "now bake it"]
    assert bundle.window_spans[5].tolist() == [4.0, 12.0]
    assert bundle.owners.tolist() == [0] * 4 + [1] * 6 + [3] * 2


def test_an_ivf_bundle_records_what_it_is_and_gives_the_same_vectors(tmp_path: Path) -> None:
    shown = {f"v{n}": ["pour", "stir", "cut"] for n in range(30)}
    settings = IvfSettings(nlist=4, target_recall=0.8)
    bundle = open_bundle(write_folder(tmp_path, content_of(shown), settings))
    assert bundle.record.ivf is not None
    assert bundle.record.ivf["nlist"] == 4
    assert bundle.record.ivf["recall"] >= 0.8
    assert bundle.clips.nprobe == bundle.record.ivf["nprobe"]
    np.testing.assert_array_equal(bundle.window_vectors(bundle.videos[3]), vectors_of(content_of(shown))[18:24])


def test_a_moved_bundle_opens(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")
    assert open_bundle(tmp_path / "elsewhere").clips.num_rows == 12


@pytest.mark.parametrize(
    ("name", "video"),
    [("src-b", "b"), ("kitchen/b.mp4", "b"), ("b.mp4", "b"), ("b", "b"), ("empty", "empty")],
)
def test_videos_are_found_by_any_of_their_names(folder: Path, name: str, video: str) -> None:
    assert open_bundle(folder).find_video(name).video_id == video


def test_a_name_that_fits_two_or_no_videos_is_refused(tmp_path: Path) -> None:
    content = content_of({"a": ["pour"], "b": ["cut"]})
    content = replace(content, videos={**content.videos, "paths": [["x/film.mp4"], ["y/film.mkv", "y/b.mkv"]]})
    bundle = open_bundle(write_folder(tmp_path, content))
    with pytest.raises(ConfigError, match=r"2 videos: a \(x/film\.mp4\) and b \(y/film\.mkv\)"):
        bundle.find_video("film")
    assert bundle.find_video("film.mkv").video_id == "b"
    with pytest.raises(ConfigError, match=r"no video .* is called 'nothing'"):
        bundle.find_video("nothing")


def test_shuffled_rows_are_named(folder: Path) -> None:
    table = pq.read_table(folder / "clips.parquet")
    rewrite(folder / "clips.parquet", table.take(pa.array(list(range(12))[::-1])))
    with pytest.raises(Corrupt, match=r"rows of .*clips\.parquet are shuffled"):
        open_bundle(folder)


def test_a_stale_table_is_named(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", content_of({"a": ["pour", "stir"]}))
    shutil.copy(other / "clips.parquet", folder / "clips.parquet")
    with pytest.raises(Corrupt, match=r"clips\.parquet is stale: it has 4 rows, the index was made with 12"):
        open_bundle(folder)


def test_a_table_of_another_index_with_as_many_rows_is_named(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", content_of({"x": ["pour"] * 6}))
    shutil.copy(other / "clips.parquet", folder / "clips.parquet")
    with pytest.raises(Corrupt, match="other ids than the index was made with"):
        open_bundle(folder)


def test_an_index_of_other_vectors_is_named(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", content_of({"x": ["pour"] * 6}))
    shutil.copy(other / "clips.faiss", folder / "clips.faiss")
    with pytest.raises(Corrupt, match=r"clips\.faiss has hash"):
        open_bundle(folder)


def test_an_edited_value_that_keeps_the_ids_is_named(folder: Path) -> None:
    table = pq.read_table(folder / "clips.parquet")
    moved = table.set_column(4, "start_s", pc.add(table.column("start_s"), 0.5))
    rewrite(folder / "clips.parquet", moved)
    with pytest.raises(Corrupt, match=r"clips\.parquet has (hash|\d+ bytes)"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "name", ["clips.faiss", "clips.parquet", "paragraphs.faiss", "narrations.parquet", "videos.parquet"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Corrupt, match=rf"{name} is missing"):
        open_bundle(folder)


def test_another_schema_and_a_broken_record_are_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "schema": 9}))
    with pytest.raises(SchemaMismatch, match="has schema 9"):
        open_bundle(folder)
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "encoder"}))
    with pytest.raises(Corrupt, match="KeyError"):
        open_bundle(folder)
    path.write_text("{")
    with pytest.raises(Corrupt, match="does not describe a bundle"):
        open_bundle(folder)
    path.unlink()
    with pytest.raises(NotSealed, match=r"holds no bundle\.json"):
        open_bundle(folder)


def test_only_the_encoder_that_made_it_may_ask(folder: Path) -> None:
    bundle = open_bundle(folder)
    encoder = WordEncoder()
    bundle.require_encoder(encoder)
    encoder = WordEncoder()
    encoder.words.weight.data.copy_(encoder.words.weight.data.roll(1, 0))
    with pytest.raises(SchemaMismatch, match=r"vector of 'now pour it' \(cosine -?0\.0000, expected at least 0\.999\)"):
        bundle.require_encoder(encoder)
    encoder.description = "another"
    with pytest.raises(SchemaMismatch, match=r"'another' .*description differs"):
        bundle.require_encoder(encoder)
    encoder.dim = 3
    with pytest.raises(SchemaMismatch, match=r"dim 3\): dim differs"):
        bundle.require_encoder(encoder)


def test_an_index_without_windows_opens_and_says_so_when_asked(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, {"empty": [], "none": []})
    assert bundle.clips.num_rows == 0
    with pytest.raises(ArtifactError, match="is empty: none of its 2 videos has a window"):
        bundle.require_windows()
    nothing = open_bundle(write_folder(tmp_path / "none", content_of({})))
    assert (nothing.videos, nothing.owners.tolist(), nothing.narrations) == ((), [], {})


def test_the_trained_encoder_travels_with_the_bundle_and_is_checked(tmp_path: Path) -> None:
    weights = tmp_path / "w"
    weights.write_bytes(b"weights")
    content = replace(content_of(SHOWN), encoder_files={"model.safetensors": weights, "encoder.json": weights})
    folder = write_folder(tmp_path / "bundle", content)
    weights.unlink()
    with open_bundle(folder).encoder_dir() as found:
        assert found is not None
        assert (found / "model.safetensors").read_bytes() == b"weights"
        kept = found
    assert not kept.exists()
    (folder / "encoder" / "encoder.json").write_bytes(b"Weights")
    with pytest.raises(Corrupt, match=r"encoder\.json has hash"), open_bundle(folder).encoder_dir():
        pass


def test_a_bundle_without_encoder_files_gives_none(folder: Path) -> None:
    with open_bundle(folder).encoder_dir() as found:
        assert found is None


def test_paragraphs_without_vectors_are_left_out(tmp_path: Path) -> None:
    content = content_of(SHOWN)
    present = np.array([True, False, True])
    bundle = open_bundle(write_folder(tmp_path, replace(content, paragraph_present=present)))
    assert bundle.paragraph_videos == ("a", "c")
    np.testing.assert_array_equal(bundle.paragraphs.reconstruct(range(2)), content.paragraph_vectors[present])


def test_embeddings_that_do_not_fit_the_manifest_are_refused(tmp_path: Path) -> None:
    content = content_of(SHOWN)
    twice = replace(content, windows={**content.windows, "window_id": ["a/w00000"] * 12})
    with pytest.raises(Corrupt, match="window_id twice"):
        write_folder(tmp_path, twice)
    videos = {name: column[:1] for name, column in content.videos.items()}
    with pytest.raises(Corrupt, match="name the video 'b'"):
        write_folder(tmp_path, replace(content, videos=videos))
