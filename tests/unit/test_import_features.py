"""import_features on real manifests and on files as extractors leave them, good and bad."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.units import plan_stage
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.artifacts.shards import read_samples
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.import_features import ImportFeatures, ImportFeaturesConfig, plan_import
from stages.ingest import Ingest, IngestConfig
from stages.training.dataset import feature_entries
from tests.media import Numbered, make_video
from tests.small_run import SmallRun
from tests.unit.test_extract import run_stage


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """alpha.mp4 of 5 s, sub/beta.mp4 of 4.2 s, gamma.mp4 of 3 s."""
    root = tmp_path_factory.mktemp("import")
    (root / "media" / "sub").mkdir(parents=True)
    make_video(root / "media" / "alpha", Numbered(num_frames=125, size=(64, 48)))
    make_video(root / "media" / "sub" / "beta", Numbered(num_frames=105, size=(64, 48)))
    make_video(root / "media" / "gamma", Numbered(num_frames=75, size=(64, 48)))
    inputs = Inputs(store=Store(root / "store"), artifacts={})
    return run_stage(Ingest(IngestConfig(media=root / "media")), inputs)["manifest"]


class Importer:
    """Writes files and imports them."""

    def __init__(self, root: Path, manifest: Artifact) -> None:
        self.folder, self.store, self.manifest = root / "features", Store(root / "store"), manifest
        self.folder.mkdir()

    @property
    def inputs(self) -> Inputs:
        return Inputs(store=self.store, artifacts={"manifest": self.manifest})

    def save(self, name: str, array: Any) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / name, array)

    def stage(self, **config: Any) -> ImportFeatures:
        return plan_import(ImportFeaturesConfig(folder=self.folder, **config), self.store)

    def run(self, **config: Any) -> Artifact:
        stage = self.stage(**config)
        return run_stage(stage, self.inputs)[stage.label]

    def failures(self, **config: Any) -> dict[str, str]:
        return {f.input_id: f.cause for record in self.run(**config).records for f in record.failures}


@pytest.fixture
def importer(tmp_path: Path, manifest: Artifact) -> Importer:
    return Importer(tmp_path, manifest)


def rows(num: int, dim: int = 512, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)


def read(artifact: Artifact) -> dict[str, dict[str, Any]]:
    return {
        key: {
            name: json.loads(data) if name == "json" else np.load(io.BytesIO(data), allow_pickle=False)
            for name, data in parts.items()
        }
        for record in artifact.records
        for file in record.files
        for key, parts in read_samples(artifact.path(file))
    }


def test_rows_spans_and_facts(importer: Importer) -> None:
    importer.save("alpha.npy", rows(5))
    importer.save("sub/beta.mp4.npy", rows(5, seed=1))
    importer.save("gamma.webm.npy", rows(4, seed=2).astype(np.float64))
    importer.save("stranger.npy", rows(9))
    artifact = importer.run()
    assert artifact.label == "features.s3d"
    assert artifact.about["dim"] == 512
    assert artifact.about["preset"]["name"] == "imported"
    assert artifact.about["weights"].startswith("imported:xxh3:")
    found = read(artifact)
    assert sorted(found) == ["alpha", "beta", "gamma"]
    np.testing.assert_array_equal(found["alpha"]["s3d.npy"], rows(5).astype(np.float16))
    np.testing.assert_allclose(found["alpha"]["spans.npy"], [[k, k + 1] for k in range(5)])
    np.testing.assert_allclose(found["beta"]["spans.npy"][-1], [4, 4.2])
    assert found["gamma"]["s3d.npy"].shape == (3, 512)  # the fourth row begins where the video ends
    assert found["alpha"]["damaged.npy"].tolist() == [False] * 5
    facts = found["beta"]["json"]
    assert (facts["source"], facts["num_clips"], facts["status"]) == ("sub/beta.mp4.npy", 5, "ok")
    (record,) = artifact.records
    assert record.info == {
        "videos": 3, "clips": 13, "rows_behind_the_end": 1, "files_without_video": 1, "such_as": ["stranger.npy"],
    }  # fmt: skip
    assert set(feature_entries(artifact, "s3d")) == {"alpha", "beta", "gamma"}


def test_a_stated_rate_and_suffix(importer: Importer) -> None:
    importer.save("alpha_rgb.npy", rows(2, 1024))
    importer.save("alpha_flow.npy", rows(2, 1024, seed=1))
    artifact = importer.run(backbone="i3d", suffix="_rgb.npy", rate=1 / 2.56)
    alpha = read(artifact)["alpha"]
    assert artifact.label == "features.i3d"
    np.testing.assert_allclose(alpha["spans.npy"], [[0, 2.56], [2.56, 5.0]])
    np.testing.assert_array_equal(alpha["i3d.npy"], rows(2, 1024).astype(np.float16))


class Bomb:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def test_objects_and_pickles_are_refused(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(importer.folder)
    importer.save("alpha.npy", np.array([Bomb(), None], dtype=object))
    importer.save("gamma.npy", rows(3))
    shutil.copy(importer.folder / "alpha.npy", importer.folder / "whole.npy")
    content = (importer.folder / "alpha.npy").read_bytes()
    (importer.folder / "beta.npy").write_bytes(content[content.index(b"\n") + 1 :])
    assert importer.failures() == {"alpha": "object_array", "beta": "not_npy"}
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (rows(5, 100), "wrong_shape"),
        (rows(5)[:, :, None], "wrong_shape"),
        (np.zeros((0, 512), np.float32), "wrong_shape"),
        (np.zeros(512, np.float32), "wrong_shape"),
        (np.zeros((5, 512), np.int64), "wrong_type"),
        (np.full((5, 512), np.nan, np.float32), "not_finite"),
        (np.full((5, 512), 1e6, np.float32), "not_finite"),
        (rows(50), "wrong_length"),
        (np.zeros((5, 512), "S4"), "wrong_type"),
    ],
)
def test_bad_arrays_are_named_failures(importer: Importer, array: Any, cause: str) -> None:
    importer.save("alpha.npy", array)
    importer.save("beta.npy", rows(4))
    importer.save("gamma.npy", rows(3))
    assert importer.failures() == {"alpha": cause}


@pytest.mark.parametrize("keep", [0, 5, 60, 128, 5000])
def test_cut_files_are_failures(importer: Importer, keep: int) -> None:
    for name, num in (("alpha", 5), ("beta", 4), ("gamma", 3)):
        importer.save(f"{name}.npy", rows(num))
    path = importer.folder / "alpha.npy"
    path.write_bytes(path.read_bytes()[:keep])
    assert importer.failures() == {"alpha": "not_npy"}


def test_a_wrong_rate_says_which_would_fit(importer: Importer) -> None:
    importer.save("alpha.npy", rows(50))
    (record,) = importer.run().records
    message = next(f.message for f in record.failures if f.input_id == "alpha")
    assert "10 rows a second would fit" in message
    assert str(importer.folder) not in message


def test_videos_without_a_file_are_failures(importer: Importer) -> None:
    importer.save("alpha.npy", rows(5))
    assert importer.failures() == {"beta": "no_features", "gamma": "no_features"}


def test_what_cannot_be_meant_is_an_error(importer: Importer) -> None:
    with pytest.raises(ConfigError, match=r"no file \*.npy"):
        importer.stage()
    importer.save("nobody.npy", rows(5))
    with pytest.raises(ConfigError, match="none of its 1 files"):
        importer.run()
    importer.save("alpha.npy", rows(5))
    importer.save("alpha.mp4.npy", rows(5))
    with pytest.raises(ConfigError, match=r"alpha.mp4.npy and alpha.npy are both features of the video alpha"):
        importer.run()
    with pytest.raises(ConfigError, match="there is no such folder"):
        plan_import(ImportFeaturesConfig(folder=importer.folder / "x"), importer.store)
    with pytest.raises(ValidationError):
        ImportFeaturesConfig(folder=importer.folder, rate=0)


def test_the_usual_width_is_found(importer: Importer) -> None:
    importer.save("alpha.npy", rows(5, 1024))
    importer.save("beta.npy", rows(4, 1024))
    importer.save("gamma.npy", rows(3, 512))
    assert importer.stage().config.dim == 1024
    assert importer.failures() == {"gamma": "wrong_shape"}


def test_same_files_same_bytes_and_a_changed_one_redoes_its_shard(importer: Importer, tmp_path: Path) -> None:
    for name, num in (("alpha", 5), ("beta", 4), ("gamma", 3)):
        importer.save(f"{name}.npy", rows(num))

    def hashes(artifact: Artifact) -> list[str]:
        return [file.hash for record in artifact.records for file in record.files]

    first = importer.run(videos_per_shard=1)
    importer.store = Store(tmp_path / "other")
    assert hashes(importer.run(videos_per_shard=1)) == hashes(first)
    importer.save("gamma.npy", rows(3, seed=5))
    plan = plan_stage(importer.stage(videos_per_shard=1), importer.inputs)
    assert len(plan.jobs()) == 1


def test_the_command_says_how_a_run_goes_on_with_them(tmp_path: Path) -> None:
    run = SmallRun(tmp_path).write(encoder="s3d-text", evaluate={}, train={})
    run.videos.mkdir(parents=True)
    make_video(run.videos / "alpha", Numbered(num_frames=125, size=(64, 48)))
    (tmp_path / "its features").mkdir()
    np.save(tmp_path / "its features" / "alpha_2.npy", rows(10))
    said = run.fabula("import features", str(tmp_path / "its features"), "--rate", "2", "--suffix", "_2.npy").stderr
    assert f"fabula run --config {run.store}, " in said
    _, section = said.split("add to the configuration:\n")
    with run.config.open("a") as file:
        file.write(section)
    for config in (run.config, run.store):
        stages = json.loads(run.fabula("plan", "--json", config=config).stdout)
        assert [stage["stage"] for stage in stages][:3] == ["ingest", "import_features", "align"]
        assert [artifact["run"] for stage in stages[:2] for artifact in stage["artifacts"]] == [0, 0]


@pytest.mark.shared
def test_real_i3d_features(importer: Importer, shared_dir: Path) -> None:
    folder = shared_dir / "data" / "features" / "bmt_women_long_jump"
    importer.save("alpha_rgb.npy", np.load(folder / "rgb.npy"))
    assert importer.failures(backbone="i3d", suffix="_rgb.npy", rate=14 / 5) == {
        "beta": "no_features", "gamma": "no_features",
    }  # fmt: skip
