"""A damaged clip is in no training batch, no index row and no score: whatever its row holds, nothing behind it changes.

One store is run as it is. In a copy of it the feature rows of all damaged clips are overwritten with noise before the
stages behind extract run. If any of them read a damaged row, a byte of what they make would differ.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.training.dataset import FeatureEntry, feature_entries
from tests.mutations import noise_in_the_middle
from tests.small_run import SmallRun

STAGES_BEHIND = ("checkpoint", "embeddings", "index", "evaluation")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRun, SmallRun]:
    """Two stores of one corpus with damaged videos; in the second one damaged rows are poisoned."""
    folder = tmp_path_factory.mktemp("damage")
    clean = SmallRun(folder / "clean").write()
    clean.fabula("corpus")
    for number, path in enumerate(sorted(clean.videos.glob("*.mp4"))):
        if number % 2:
            path.write_bytes(noise_in_the_middle(path.read_bytes(), number, size=600))
    clean.fabula("run", "--until", "extract")
    splits = str(clean.folder / "corpus" / "splits.csv")
    poisoned = SmallRun(folder / "poisoned").write(
        ingest__media=str(clean.videos), train__splits=splits, evaluate__splits=splits
    )
    shutil.copytree(clean.store, poisoned.store)
    for entry in entries(poisoned.store):
        poison(entry)
    for run in (clean, poisoned):
        run.fabula("run")
    return clean, poisoned


def entries(store: Path) -> Iterator[FeatureEntry]:
    for directory in Store(store).artifacts("features"):
        yield from feature_entries(Artifact(directory), "s3d").values()


def poison(entry: FeatureEntry) -> None:
    """Overwrite the damaged rows at their place in the tar."""
    rows, damaged = np.array(entry.map_features()), entry.read_damaged()
    rows[damaged] = np.random.default_rng(0).normal(0, 30, rows[damaged].shape).astype(rows.dtype)
    with entry.path.open("r+b") as file:
        file.seek(entry.features.offset + entry.features.size - rows.nbytes)
        file.write(rows.tobytes())


def test_some_clips_are_damaged_and_poisoned(runs: tuple[SmallRun, SmallRun]) -> None:
    clean, poisoned = (list(entries(run.store)) for run in runs)
    num_damaged = sum(int(entry.read_damaged().sum()) for entry in clean)
    num_rows = sum(len(entry.read_damaged()) for entry in clean)
    assert 5 <= num_damaged <= num_rows - 20
    for before, after in zip(clean, poisoned, strict=True):
        damaged = before.read_damaged()
        differs = np.any(np.array(before.map_features()) != np.array(after.map_features()), axis=1)
        assert np.array_equal(differs, damaged)


def test_nothing_behind_extract_reads_a_damaged_row(runs: tuple[SmallRun, SmallRun]) -> None:
    clean, poisoned = (
        {name: data for name, data in run.committed().items() if name.split("/")[0] in STAGES_BEHIND} for run in runs
    )
    assert {name.split("/")[0] for name in clean} == set(STAGES_BEHIND)
    assert sorted(clean) == sorted(poisoned)
    assert [name for name in clean if clean[name] != poisoned[name]] == []
