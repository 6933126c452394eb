"""Several processes train one model through Ray Train: the loss of the whole batch, kills, and refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer

from pipeline.executors.base import Progress, Report
from pipeline.executors.ray import RayExecutor
from pipeline.units import plan_stage
from stages.artifacts.durable import publish
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs
from stages.train import Train, TrainConfig, WorkersConfig
from stages.training.history import HISTORY
from tests.objective_samples import NAMES, inputs_of, losses_of
from tests.training_samples import do, make_inputs
from tests.unit.test_train import SMALL, with_objective

STEPS = SMALL.optimisation.model_copy(update={"steps": 40, "accumulate": 2})
QUIET = with_objective(
    SMALL.model_copy(update={"optimisation": STEPS, "checkpoint_every": 4}),
    batch_videos=5,
    encoder=SMALL.objective.encoder.model_copy(update={"dropout": 0.0}),
)


def of_two(split: str) -> TrainConfig:
    return QUIET.model_copy(update={"workers": WorkersConfig(count=2, split=split)})


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    executor = RayExecutor(num_workers=2, num_retries=1)
    executor.connect()  # or the trainer below would start a Ray of its own, whose workers starve
    yield executor
    executor.close()


def run(executor: RayExecutor, config: TrainConfig, inputs: Inputs, on_message=lambda message: None):
    """Do the one unit of train by an executor; its last report and the artifact."""
    plan = plan_stage(Train(config), inputs)
    (artifact,) = plan.artifacts
    publish(artifact.directory.description_path, artifact.description.to_bytes())
    report = None
    for message in executor.run(plan.stage, inputs, plan.jobs()):
        on_message(message)
        report = message if isinstance(message, Report) else report
    return report, Artifact(artifact.directory)


def losses(artifact: Artifact) -> np.ndarray:
    return np.array(pq.read_table(artifact.paths(HISTORY)[0]).column("loss").to_pylist())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return losses(do(Train(QUIET), make_inputs(tmp_path_factory.mktemp("alone")))[0])


def _train_all(config: dict[str, Any]) -> None:
    found = {name: losses_of(name, inputs) for name, inputs in config["inputs"].items()}
    if get_context().get_world_rank() == 0:
        Path(config["answer"]).write_text(json.dumps(found))


def test_two_workers_have_the_loss_of_one_with_every_objective(executor: RayExecutor, tmp_path: Path) -> None:
    """Gathered negatives, queues and fused pairs: six steps of two workers and of one with the double batch."""
    inputs = {name: inputs_of(name, tmp_path / name) for name in NAMES}
    answer = tmp_path / "losses.json"
    TorchTrainer(
        _train_all,
        train_loop_config={"inputs": inputs, "answer": str(answer)},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(name="objectives", storage_path=str(tmp_path / "storage")),
    ).fit()
    found = json.loads(answer.read_text())
    assert list(found) == list(NAMES)
    for name in NAMES:
        np.testing.assert_allclose(found[name], losses_of(name, inputs[name]), atol=1e-5, err_msg=name)


def test_whole_batches_are_dealt_and_a_killed_worker_changes_nothing(
    executor: RayExecutor, alone: np.ndarray, tmp_path: Path
) -> None:
    killed = []

    def kill_one(message: Progress | Report) -> None:
        if isinstance(message, Progress) and not killed:
            workers = [process for process in psutil.process_iter(["cmdline"]) if _trains(process)]
            workers[-1].kill()
            killed.append(message.done)

    report, artifact = run(executor, of_two("batches"), make_inputs(tmp_path), on_message=kill_one)
    assert killed
    assert report is not None
    assert report.outcome == "committed", report
    np.testing.assert_allclose(losses(artifact), alone, atol=1e-5)
    assert not list(artifact.directory.staging_dir.glob("*"))
    assert {file.name for file in artifact.records[0].files} >= {"model.safetensors", HISTORY}


def _trains(process: psutil.Process) -> bool:
    command = " ".join(process.info["cmdline"] or ())
    return "ray::RayTrainWorker" in command


def test_a_refusal_ends_the_team(executor: RayExecutor, tmp_path: Path) -> None:
    steps = STEPS.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0, "clip_norm": 0.0})
    report, _ = run(executor, of_two("pairs").model_copy(update={"optimisation": steps}), make_inputs(tmp_path))
    assert report is not None
    assert (report.outcome, report.error) == ("refused", "ConfigError")
    assert "training diverged" in report.message


def test_a_team_that_no_cluster_holds_is_refused(executor: RayExecutor, tmp_path: Path) -> None:
    config = QUIET.model_copy(update={"workers": WorkersConfig(count=500)})
    with pytest.raises(Exception, match=r"a team of 500 processes .* does not fit this cluster"):
        run(executor, config, make_inputs(tmp_path))
