"""The training loop: schedule, determinism, resume."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.errors import ConfigError
from stages.training.checkpoints import save_step
from stages.training.loop import build_optimiser, fixed_arithmetic, train
from stages.training.optimisation import Optimisation, learning_rate_at

FEW_STEPS = Optimisation(steps=20, learning_rate=1e-2, warmup_steps=5, decay_steps=40, threads=1)


@dataclass(frozen=True)
class Batch:
    x: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.x.to(device))


class Source:
    """Batches that are a function of the step only."""

    def batch(self, step: int) -> Batch:
        return Batch(torch.from_numpy(np.random.default_rng(step).standard_normal((8, 6), dtype=np.float32)))


class Objective(nn.Module):
    """A small network with dropout that is asked to reproduce the norm of its input."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, batch: Batch) -> Tensor:
        return (self.layers(batch.x)[:, 0] - batch.x.norm(dim=1)).square().mean()


def bits(objective: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in objective.state_dict().items()}


class Stop(Exception):
    pass


def stop_at(step: int):
    def on_step(done: int, total: int, loss: float) -> None:
        if done == step:
            raise Stop

    return on_step


def test_the_learning_rate_warms_up_and_decays():
    settings = Optimisation(learning_rate=1.0, warmup_steps=4, decay_steps=12, end_learning_rate=0.2)
    rates = [learning_rate_at(step, settings) for step in range(14)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 0.9])
    np.testing.assert_allclose(rates[11:], [0.2, 0.2, 0.2])
    assert rates[3:12] == sorted(rates[3:12], reverse=True)


def test_the_defaults_are_the_published_ones():
    published = Optimisation()
    assert (published.optimiser, published.beta1, published.beta2, published.clip_norm) == ("adam", 0.9, 0.98, 2.0)
    assert learning_rate_at(999, published) == 5e-5
    assert learning_rate_at(106_999, published) == pytest.approx(4.47e-5, rel=1e-3)


def test_training_lowers_the_loss_and_reports_each_step():
    seen = []
    history = train(Objective(), Source(), FEW_STEPS, seed=1, on_step=lambda *said: seen.append(said))
    assert [record.step for record in history] == list(range(1, 21))
    assert [(done, total) for done, total, _ in seen] == [(step, 20) for step in range(1, 21)]
    assert np.mean([r.loss for r in history[-5:]]) < np.mean([r.loss for r in history[:5]])


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    weights = []
    for seed in (1, 1, 2):
        objective = Objective()
        train(objective, Source(), FEW_STEPS, seed=seed)
        weights.append(bits(objective))
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("stop", [10, 13, 19])
def test_stop_and_resume_is_bit_equal(tmp_path, stop):
    whole = Objective()
    history = train(whole, Source(), FEW_STEPS, seed=1)
    with pytest.raises(Stop):
        train(Objective(), Source(), FEW_STEPS, seed=1, scratch_dir=tmp_path, checkpoint_every=5, on_step=stop_at(stop))
    resumed, steps = Objective(), []
    again = train(
        resumed,
        Source(),
        FEW_STEPS,
        seed=1,
        scratch_dir=tmp_path,
        checkpoint_every=5,
        on_step=lambda done, total, loss: steps.append(done),
    )
    assert bits(resumed) == bits(whole)
    assert again == history
    # The checkpoint of step `stop` itself is written after its report.
    assert steps[0] == (stop - 1) // 5 * 5 + 1


def _killed_run(scratch: Path) -> None:
    def on_step(done: int, total: int, loss: float) -> None:
        if done == 12:
            os.kill(os.getpid(), signal.SIGKILL)

    train(Objective(), Source(), FEW_STEPS, seed=1, scratch_dir=scratch, checkpoint_every=5, on_step=on_step)


def test_kill_and_resume_is_bit_equal(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_killed_run, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    whole, resumed = Objective(), Objective()
    train(whole, Source(), FEW_STEPS, seed=1)
    steps = []
    train(
        resumed,
        Source(),
        FEW_STEPS,
        seed=1,
        scratch_dir=tmp_path,
        on_step=lambda done, total, loss: steps.append(done),
    )
    assert steps[0] == 11
    assert bits(resumed) == bits(whole)


def test_a_half_written_checkpoint_is_not_read(tmp_path):
    objective = Objective()
    optimiser = build_optimiser(objective, FEW_STEPS)
    history = train(objective, Source(), FEW_STEPS.model_copy(update={"steps": 4}), seed=1)
    save_step(tmp_path, objective, optimiser, history)
    (tmp_path / "partial-step-000000009").mkdir()
    (tmp_path / "partial-step-000000009" / "model.safetensors").write_bytes(b"cut")
    steps = []
    train(Objective(), Source(), FEW_STEPS, seed=1, scratch_dir=tmp_path, on_step=lambda d, t, loss: steps.append(d))
    assert steps[0] == 5
    assert not list(tmp_path.glob("partial-*"))


def test_only_the_newest_checkpoint_is_kept_and_nothing_is_pickled(tmp_path):
    train(Objective(), Source(), FEW_STEPS, seed=1, scratch_dir=tmp_path, checkpoint_every=4)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000016"]
    assert sorted(path.name for path in (tmp_path / "step-000000016").iterdir()) == [
        "history.json",
        "model.safetensors",
        "optimiser.safetensors",
    ]


def test_frozen_parameters_stay(tmp_path):
    objective = Objective()
    objective.layers[0].requires_grad_(False)
    before = bits(objective)
    train(objective, Source(), FEW_STEPS, seed=1, scratch_dir=tmp_path, checkpoint_every=5)
    after = bits(objective)
    assert before["layers.0.weight"] == after["layers.0.weight"]
    assert before["layers.3.weight"] != after["layers.3.weight"]


def test_a_loss_that_is_not_finite_is_named():
    class Broken(Objective):
        def forward(self, batch: Batch) -> Tensor:
            return super().forward(batch) * float("nan")

    with pytest.raises(ConfigError, match=r"diverged: the loss of step 1 of 20 is nan.*lower learning_rate"):
        train(Broken(), Source(), FEW_STEPS, seed=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_missing_card_is_named():
    with pytest.raises(ConfigError, match="torch sees no card"):
        train(Objective(), Source(), FEW_STEPS.model_copy(update={"device": "cuda"}), seed=1)


def test_bfloat16_autocast_trains():
    history = train(Objective(), Source(), FEW_STEPS.model_copy(update={"precision": "bfloat16"}), seed=1)
    assert history[-1].loss < history[0].loss
    assert history != train(Objective(), Source(), FEW_STEPS, seed=1)


def test_the_settings_of_torch_are_put_back():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    with fixed_arithmetic(1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    train(Objective(), Source(), FEW_STEPS, seed=1)
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.equal(torch.get_rng_state(), state)
