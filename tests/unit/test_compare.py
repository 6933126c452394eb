"""compare_features on artifacts that extract and import_features made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs
from stages.doctor.compare import compare_features, open_features, row_cosines
from stages.errors import ConfigError
from stages.import_features import ImportFeaturesConfig, plan_import
from stages.ingest import Ingest, IngestConfig
from tests.media import Numbered, make_video
from tests.unit.test_extract import Corpus, run_stage


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    root = tmp_path_factory.mktemp("compare")
    (root / "media").mkdir()
    for name, num in (("alpha", 125), ("beta", 75), ("gamma", 50)):
        make_video(root / "media" / name, Numbered(num_frames=num, size=(64, 48)))
    return run_stage(Ingest(IngestConfig(media=root / "media")), Inputs(store=Store(root / "s"), artifacts={}))[
        "manifest"
    ]


def make(root: Path, manifest: Artifact, arrays: dict[str, Any]) -> Artifact:
    (root / "files").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(root / "files" / f"{name}.npy", array)
    store = Store(root / "store")
    stage = plan_import(ImportFeaturesConfig(folder=root / "files"), store)
    return run_stage(stage, Inputs(store=store, artifacts={"manifest": manifest}))[stage.label]


def rows(num: int, dim: int = 8, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)


def test_equal_and_nearly_equal(tmp_path: Path, manifest: Artifact) -> None:
    plain = {"alpha": rows(5), "beta": rows(3)}
    a = make(tmp_path / "a", manifest, plain)
    b = make(tmp_path / "b", manifest, {**plain, "beta": -plain["beta"]})
    same = compare_features(a, a)
    assert same.cosine.num_rows == 8
    assert same.cosine.minimum == pytest.approx(1)
    assert not same.differing
    other = compare_features(a, b)
    assert other.cosine.minimum == pytest.approx(-1)
    assert other.cosine.mean == pytest.approx(2 / 8)
    assert [video.cosine.mean for video in other.videos] == pytest.approx([1, -1])
    assert set(other.cosine.percentiles) == {"0.1", "1", "5", "50"}
    assert json.loads(json.dumps(other.to_json()))["videos"][0]["video_id"] == "alpha"
    assert other.lines()[2] == "2 videos in both, 0 only in a, 0 only in b"
    assert other.lines()[4].startswith("  beta: 3 rows, cosine min -1.0")


def test_rows_and_videos_only_in_one_and_other_widths(tmp_path: Path, manifest: Artifact) -> None:
    a = make(tmp_path / "a", manifest, {"alpha": rows(5), "beta": rows(3)})
    b = make(tmp_path / "b", manifest, {"alpha": rows(4), "gamma": rows(2)})
    wide = make(tmp_path / "wide", manifest, {"alpha": rows(5, 16)})
    found = compare_features(a, b)
    assert (found.only_a, found.only_b) == (("beta",), ("gamma",))
    (alpha,) = found.differing
    assert (alpha.only_a, alpha.only_b, alpha.cosine.num_rows) == (1, 0, 4)
    (alpha,) = compare_features(a, wide).differing
    assert (alpha.shape_a, alpha.shape_b, alpha.cosine.num_rows) == ((5, 8), (5, 16), 0)
    assert "no row to compare" in compare_features(a, wide).lines()[3]


def test_of_extracts(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    make_video(tmp_path / "media" / "alpha", Numbered(num_frames=100, size=(64, 48)))
    corpus = Corpus(tmp_path, tmp_path / "media")
    one = corpus.extract("one", thumbnails=False)["features.s3d"]
    two = corpus.extract("two", thumbnails=False, s3d={"seed": 1})["features.s3d"]
    found = compare_features(open_features(one.directory.path), open_features(two.directory.path))
    assert found.cosine.num_rows == 2
    assert -1 < (found.cosine.minimum or 0) < 0.999
    assert (found.weights_a, found.weights_b) == ("random:seed=0", "random:seed=1")
    assert found.videos[0].mask_differs == 0


def test_zero_rows() -> None:
    a = np.array([[0, 0], [0, 0], [3, 4]], np.float16)
    b = np.array([[0, 0], [1, 0], [4, 3]], np.float16)
    assert row_cosines(a, b) == pytest.approx([1, 0, 0.96])


def test_only_features_are_opened(tmp_path: Path, manifest: Artifact) -> None:
    with pytest.raises(ConfigError, match="no features artifact"):
        open_features(manifest.directory.path)
    with pytest.raises(ConfigError, match="no features artifact"):
        open_features(tmp_path)
