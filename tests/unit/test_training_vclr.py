"""VCLR in the trainer: what is drawn, the moving average and the queues, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from models.backbones.resnet import RESNETS
from models.backbones.resnet_weights import load_resnet
from models.backbones.vclr import HEADS, random_vclr, start_tensors
from pipeline.plan import build_stages, resolve
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.train import Train
from stages.training.frame_source import draw_frames
from stages.training.tasks.vclr import VCLRTask
from stages.training.team import Part
from tests.objective_samples import OBJECTIVES, config_of, inputs_of, open_task
from tests.small_run import SmallRun
from tests.training_samples import do, make_frames, picture_of


def test_frames_are_two_of_each_third() -> None:
    usable = np.array([0, 2, 3, 5, 8, 9, 10, 20])
    seen = set()
    for seed in range(300):
        keys, queries = draw_frames(usable, np.random.default_rng(seed))
        assert not set(keys.tolist()) & set(queries.tolist())
        for place, third in enumerate(({0, 2}, {3, 5}, {8, 9, 10, 20})):
            assert {int(keys[place]), int(queries[place])} <= third
        seen |= {(place, int(frame)) for place, frame in enumerate(queries)}
    assert len(seen) == len(usable)


def opened(inputs: Inputs) -> VCLRTask:
    """The task in its first epoch."""
    task = open_task("vclr", inputs)
    assert isinstance(task, VCLRTask)
    task.source.begin_epoch(0)
    return task


def test_a_batch_is_a_function_of_its_number_and_its_parts_are_the_batch(tmp_path: Path) -> None:
    inputs = inputs_of("vclr", tmp_path)
    one, other = opened(inputs).source, opened(inputs).source
    whole = one.batch(1, Part())
    assert whole.query.shape == whole.key.shape == (6, 3, 32, 32, 3)
    assert torch.equal(other.batch(1, Part()).query, whole.query)
    assert not torch.equal(one.batch(0, Part()).query, whole.query)
    parts = [one.batch(1, Part(rank, 4)) for rank in range(4)]
    assert [len(part.anchor) for part in parts] == [2, 2, 1, 1]
    for name in ("query", "key", "again", "anchor"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert torch.equal(torch.cat([part.orders.labels for part in parts]), whole.orders.labels)
    assert sum(part.share for part in parts) == pytest.approx(4)
    assert set(whole.anchor.tolist()) <= {0, 2}


def test_the_average_follows_and_keys_are_enqueued_x1_first(tmp_path: Path) -> None:
    task = opened(inputs_of("vclr", tmp_path))
    module = task.module
    batch = task.source.batch(0, Part())
    module.train()
    module(batch)
    rows, second = torch.arange(6), (batch.anchor == 2).long()
    views = [batch.again, batch.query[rows, 1 - second], batch.query[rows, 2 - second]]
    with torch.no_grad():
        expected = torch.cat([module.average.image(view)[0] for view in views])
    before = {name: value.clone() for name, value in module.average.named_parameters()}
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter += 1.0
    buffers = {name: value.clone() for name, value in module.average.named_buffers()}
    task.after_update()
    for name, value in module.average.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.1, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(value, buffers[name]) for name, value in module.average.named_buffers())
    assert int(module.frame_queue.pointer) == 18 % 12
    assert int(module.clip_queue.pointer) == 6
    torch.testing.assert_close(module.frame_queue.memory[:6], expected[12:])  # x3 wraps around
    torch.testing.assert_close(module.frame_queue.memory[6:], expected[6:12])
    task.after_update()
    assert int(module.frame_queue.pointer) == 18 % 12  # nothing is enqueued twice


def test_nothing_is_enqueued_in_eval_mode(tmp_path: Path) -> None:
    task = opened(inputs_of("vclr", tmp_path))
    task.module.eval()
    task.module(task.source.batch(0, Part()))
    task.after_update()
    assert int(task.module.frame_queue.pointer) == 0


def test_what_is_trained_opens_as_a_frozen_backbone(tmp_path: Path) -> None:
    artifact, failures = do(Train(config_of("vclr")), inputs_of("vclr", tmp_path))
    assert not failures
    (path,) = artifact.paths("model.safetensors")
    resnet = load_resnet(path, RESNETS["tiny"])
    trained = safetensors.torch.load_file(path)
    assert torch.equal(resnet.conv1.weight, trained["conv1.weight"])
    assert not torch.equal(resnet.conv1.weight, random_vclr(RESNETS["tiny"], 0, head_width=16).conv1.weight)


def test_training_starts_from_moco_a_trunk_or_vclr(tmp_path: Path) -> None:
    network = random_vclr(RESNETS["tiny"], 5, head_width=16)
    own = network.state_dict()
    trunk = {name: value for name, value in own.items() if not name.startswith("fc_")}
    projection = {
        f"fc.{layer}.{kind}": own[f"fc_inter.{layer}.{kind}"] for layer in (0, 2) for kind in ("weight", "bias")
    }
    fresh = random_vclr(RESNETS["tiny"], 6, head_width=16)
    from_moco = start_tensors({**trunk, **projection}, fresh)
    assert all(torch.equal(from_moco[f"{head}.2.bias"], own["fc_inter.2.bias"]) for head in HEADS)
    assert torch.equal(from_moco["fc_order_classifier.weight"], fresh.state_dict()["fc_order_classifier.weight"])
    assert torch.equal(start_tensors(trunk, fresh)["fc_tsn.0.weight"], fresh.state_dict()["fc_tsn.0.weight"])
    # The published file: `model` with `module.` before every name, beside the moving average and the contrast's state.
    saved = {"model": {f"module.{name}": value for name, value in own.items()}, "epoch": 400}
    torch.save(saved, tmp_path / "current.pth")
    steps = config_of("vclr").optimisation.model_copy(update={"steps": 1, "learning_rate": 1e-12, "warmup_steps": 0})
    config = config_of("vclr", start=tmp_path / "current.pth", optimisation=steps)
    artifact, _ = do(Train(config), inputs_of("vclr", tmp_path / "store"))
    found = safetensors.torch.load_file(artifact.paths("model.safetensors")[0])
    assert all(
        torch.allclose(found[name], own[name], atol=1e-6)
        for name in own
        if "running" not in name and "num_" not in name
    )
    torch.save({"conv1.weight": own["conv1.weight"]}, tmp_path / "cut.pth")
    with pytest.raises(ConfigError, match=r"\[train\] start: .*missing"):
        do(Train(config.model_copy(update={"start": tmp_path / "cut.pth"})), inputs_of("vclr", tmp_path / "other"))


def test_a_video_with_too_few_frames_is_a_failure_and_too_few_videos_are_refused(tmp_path: Path) -> None:
    inputs = inputs_of("vclr", tmp_path)
    few = {**inputs.artifacts, "frames": make_frames(inputs.store, 20, few=("v03",), num_frames=10)}
    _, failures = do(Train(config_of("vclr", holdout_fraction=0.0)), Inputs(store=inputs.store, artifacts=few))
    assert [(failure.input_id, failure.cause) for failure in failures] == [("v03", "too_few_frames")]
    objective = OBJECTIVES["vclr"].model_copy(update={"batch_videos": 30})
    with pytest.raises(ConfigError, match=r"have frames, but an update takes batch_videos = 30"):
        Train(config_of("vclr", objective=objective)).units(inputs)


def test_a_run_ends_with_training_and_needs_frames(tmp_path: Path) -> None:
    run = SmallRun(tmp_path).write(train__objective={"kind": "vclr"})
    from pipeline.config import load_config

    with pytest.raises(ConfigError, match=r"\[extract\.frames\] is missing"):
        resolve(load_config(run.config))
    (run.folder / "corpus" / "videos").mkdir(parents=True)
    config = resolve(load_config(run.config, ["extract.frames.num_frames=12"]))
    assert config.extract.backbones == ()
    assert [stage.name for stage in build_stages(config)] == ["ingest", "extract", "align", "train"]


def test_pictures_tell_videos_and_moments_apart() -> None:
    assert np.abs(picture_of(0, 0).astype(int) - picture_of(1, 0)).mean() > 10
    assert np.abs(picture_of(0, 0).astype(int) - picture_of(0, 4)).mean() > 10
