"""What holds for every objective: it learns, the same inputs give the same bytes, and a kill changes none."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.artifacts.sealed import Artifact
from stages.train import Train
from stages.training.history import HISTORY
from tests.objective_samples import NAMES, OBJECTIVES, config_of, inputs_of
from tests.training_samples import do


class Stop(Exception):
    pass


def contents(artifact: Artifact) -> dict[str, bytes]:
    (record,) = artifact.records
    return {file.name: artifact.path(file).read_bytes() for file in record.files}


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_a_kill_in_the_middle_of_an_epoch_changes_no_byte(name: str, tmp_path: Path) -> None:
    inputs = inputs_of(name, tmp_path / "whole")
    whole, failures = do(Train(config_of(name, tmp_path / "whole")), inputs)
    assert not failures
    history = pq.read_table(whole.paths(HISTORY)[0]).to_pydict()
    assert history["step"] == list(range(1, 31))
    assert np.mean(history["loss"][-5:]) < 0.95 * np.mean(history["loss"][:5])

    def stop(done: float, text: str) -> None:
        if done >= 18.5 / 30:
            raise Stop

    inputs = inputs_of(name, tmp_path / "killed")
    stage = Train(config_of(name, tmp_path / "killed"))
    with pytest.raises(Stop):
        do(stage, inputs, on_progress=stop)
    resumed = []
    again, _ = do(stage, inputs, on_progress=lambda done, text: resumed.append(round(done * 30)))
    assert resumed[0] == 17  # after the checkpoint of step 16
    assert contents(again) == contents(whole)


@pytest.mark.parametrize("name", ["tempclr-dtw", "tempclr-otam"])
def test_the_share_of_videos_with_a_sequence_is_reported(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    artifact, _ = do(
        Train(config_of(name)), inputs_of(name, tmp_path), on_progress=lambda done, text: said.append(text)
    )
    history = pq.read_table(artifact.paths(HISTORY)[0]).to_pydict()
    rates = np.array(history["qualified"])
    assert set(rates * 4) <= {0, 1, 2, 3, 4}
    assert rates.mean() > 0.5
    means = artifact.records[0].info["mean_terms"]
    assert means["qualified"] == pytest.approx(rates.mean())
    assert " sequence " in said[-1]
    assert " qualified " in said[-1]
    assert np.mean(history["sequence"][-5:]) < np.mean(history["sequence"][:5])
    weight = OBJECTIVES[name].sequence.weight
    np.testing.assert_allclose(
        history["loss"], (1 - weight) * np.array(history["clip"]) + weight * np.array(history["sequence"]), rtol=1e-5
    )
