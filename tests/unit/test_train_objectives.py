"""What holds for every objective: it learns, the same inputs give the same bytes, and a kill changes none."""

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.artifacts.sealed import Artifact
from stages.contract import Inputs
from stages.train import Train
from stages.training.history import HISTORY
from tests.objective_samples import NAMES, OBJECTIVES, STEPS_OF_A_RUN, config_of, inputs_of, open_task
from tests.training_samples import do

CHECKPOINT, KILLED = 11, 17
"""After which step there is a checkpoint, and after which the process dies: in the middle of an epoch, both of them."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes of a server that has torch imported, but has not computed with it: its threads survive no fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def contents(artifact: Artifact) -> dict[str, bytes]:
    (record,) = artifact.records
    return {file.name: artifact.path(file).read_bytes() for file in record.files}


def train_until_killed(stage: Train, inputs: Inputs) -> None:
    """Train until this process is killed by its own hand, as hard as by any other."""

    def kill(done: float, text: str) -> None:
        if round(done * STEPS_OF_A_RUN) == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)

    do(stage, inputs, on_progress=kill)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name: str, tmp_path: Path) -> None:
    inputs = inputs_of(name, tmp_path)
    artifact, failures = do(Train(config_of(name, tmp_path)), inputs)
    assert not failures
    history = pq.read_table(artifact.paths(HISTORY)[0]).to_pydict()
    assert history["step"] == list(range(1, STEPS_OF_A_RUN + 1))
    assert np.mean(history["loss"][-5:]) < 0.95 * np.mean(history["loss"][:5])


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_in_the_middle_of_an_epoch_changes_no_byte(
    name: str, tmp_path: Path, processes: ForkServerContext
) -> None:
    inputs = {run: inputs_of(name, tmp_path / run) for run in ("whole", "killed")}
    stages = {run: Train(config_of(name, tmp_path / run, checkpoint_every=CHECKPOINT)) for run in inputs}
    each = open_task(name, inputs["whole"]).source.batches_per_epoch
    assert CHECKPOINT % each
    assert KILLED % each
    whole, _ = do(stages["whole"], inputs["whole"])
    process = processes.Process(target=train_until_killed, args=(stages["killed"], inputs["killed"]))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    steps: list[int] = []
    again, _ = do(
        stages["killed"], inputs["killed"], on_progress=lambda done, text: steps.append(round(done * STEPS_OF_A_RUN))
    )
    assert steps[0] == CHECKPOINT + 1
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
