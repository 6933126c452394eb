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
from stages.training.checkpoints import Progress, StepRecord, save_step
from stages.training.loop import LoopSettings, StepReport, build_optimiser, fixed_arithmetic, train
from stages.training.optimisation import Optimisation, learning_rate_at
from stages.training.task import Loss, Task
from stages.training.team import Part

FEW_STEPS = Optimisation(steps=20, learning_rate=1e-2, warmup_steps=5, decay_steps=40, threads=1)


@dataclass(frozen=True)
class Batch:
    x: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.x.to(device))


class Source:
    """Batches that are a function of their number only; each epoch is laid out by a draw that is not."""

    batches_per_epoch = 7

    def __init__(self):
        self.epochs, self.shift, self.kept = [], 0.0, None

    def begin_epoch(self, epoch: int) -> None:
        if self.kept is None or self.kept["epoch"] != epoch:
            self.kept = {"epoch": epoch, "shift": float(torch.rand((), generator=torch.Generator().manual_seed(epoch)))}
            self.epochs.append(epoch)

    def batch(self, index: int, part: Part) -> Batch:
        rows = np.random.default_rng(index).standard_normal((8, 6), dtype=np.float32)[part.of(8)]
        return Batch(torch.from_numpy(rows + np.float32(self.kept["shift"])))

    def state(self):
        return self.kept

    def restore(self, state) -> None:
        self.kept = dict(state) or None


class Module(nn.Module):
    """A small network with dropout that is asked to reproduce the norm of its input, and counts its updates."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Loss:
        error = self.layers(batch.x)[:, 0] - batch.x.norm(dim=1)
        return Loss(total=error.square().mean(), terms={"bias": error.mean()})


class Toy(Task[Batch]):
    def __init__(self, module: nn.Module | None = None) -> None:
        self.module, self.source, self.video_ids, self.facts = module or Module(), Source(), [], {}

    def after_update(self) -> None:
        self.module.updates += 1

    def save(self, folder, training) -> None:
        raise NotImplementedError


def fit(task: Toy, scratch: Path | None = None, optimisation: Optimisation = FEW_STEPS, **changes) -> list[StepRecord]:
    changes = {"seed": 1, "checkpoint_every": 5, **changes}
    return train(task, LoopSettings(optimisation=optimisation, scratch_dir=scratch, **changes))


def bits(task: Toy) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in task.module.state_dict().items()}


class Stop(Exception):
    pass


def stop_at(step: int):
    def on_step(report: StepReport) -> None:
        if report.record.step == step:
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


def test_the_cosine_falls_from_the_peak_to_the_end():
    settings = Optimisation(
        optimiser="sgd", decay="cosine", learning_rate=0.1, warmup_steps=5, warmup_start=0.01, decay_steps=105,
        end_learning_rate=1e-6,
    )  # fmt: skip
    rates = [learning_rate_at(step, settings) for step in range(105)]
    np.testing.assert_allclose(rates[:5], 0.1 * (0.01 + 0.99 * np.arange(1, 6) / 5))
    np.testing.assert_allclose(rates[54], (0.1 + 1e-6) / 2)
    assert rates[104] == pytest.approx(1e-6)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    with pytest.raises(ValueError, match="decay_steps 10 must lie behind warmup_steps 20"):
        Optimisation(warmup_steps=20, decay_steps=10)


def test_training_lowers_the_loss_and_reports_each_step():
    seen: list[StepReport] = []
    history = fit(Toy(), on_step=seen.append)
    assert [record.step for record in history] == list(range(1, 21))
    assert [report.record for report in seen] == history
    assert all(report.steps == 20 and 0 <= report.waited_s <= report.spent_s for report in seen)
    assert all(record.gradient_norm > 0 and set(record.terms) == {"bias"} for record in history)
    assert np.mean([r.loss for r in history[-5:]]) < np.mean([r.loss for r in history[:5]])


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    weights = []
    for seed, readers in ((1, 1), (1, 3), (2, 1)):
        task = Toy()
        fit(task, seed=seed, readers=readers)
        weights.append(bits(task))
    assert weights[0] == weights[1] != weights[2]


def test_epochs_are_laid_out_in_order_and_never_ahead():
    task = Toy()
    fit(task)
    assert task.source.epochs == [0, 1, 2]


@pytest.mark.parametrize("stop", [10, 13, 19])
@pytest.mark.parametrize("change", [{}, {"optimiser": "sgd", "accumulate": 7}], ids=["adam", "sgd-accumulated"])
def test_stop_and_resume_is_bit_equal(tmp_path, stop, change):
    settings = FEW_STEPS.model_copy(update=change)
    whole = Toy()
    history = fit(whole, optimisation=settings)
    with pytest.raises(Stop):
        fit(Toy(), tmp_path, settings, on_step=stop_at(stop))
    resumed, steps = Toy(), []
    again = fit(resumed, tmp_path, settings, on_step=lambda report: steps.append(report.record.step))
    assert bits(resumed) == bits(whole)
    assert again == history
    # The checkpoint of step `stop` itself is written after its report.
    assert steps[0] == (stop - 1) // 5 * 5 + 1
    assert int(resumed.module.updates) == 20


def test_an_epoch_s_layout_is_not_drawn_again_in_its_middle(tmp_path):
    with pytest.raises(Stop):
        fit(Toy(), tmp_path, on_step=stop_at(13))
    resumed = Toy()
    fit(resumed, tmp_path)
    assert resumed.source.epochs == [2]  # step 10 lies in epoch 1, which the checkpoint holds


def drop_nothing(task: "Toy") -> None:
    for layer in task.module.layers:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0


def test_accumulated_batches_are_averaged():
    together, apart = Toy(), Toy()
    for task in (together, apart):
        task.module.eval()
    settings = Optimisation(steps=1, accumulate=3, warmup_steps=0, learning_rate=1e-2, threads=1, clip_norm=0)
    apart.source.begin_epoch(0)
    mean = torch.stack([apart.module(apart.source.batch(index, Part())).total for index in range(3)]).mean()
    mean.backward()
    norm = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in apart.module.parameters()]))
    drop_nothing(together)
    (record,) = fit(together, optimisation=settings)
    assert record.loss == pytest.approx(mean.item(), rel=1e-6)
    assert record.gradient_norm == pytest.approx(float(norm), rel=1e-5)


@pytest.mark.parametrize("most", [0.0, 1e-3, 1e3], ids=["never", "clipped", "small enough"])
def test_gradients_are_clipped_as_torch_clips_them(most: float):
    """By SGD, whose updates are as long as the gradients (Adam's hardly know their length)."""
    ours, theirs = Toy(), Toy()
    settings = Optimisation(
        steps=1, optimiser="sgd", warmup_steps=0, learning_rate=1.0, weight_decay=0.0, threads=1, clip_norm=most
    )
    for task in (ours, theirs):
        drop_nothing(task)
    theirs.source.begin_epoch(0)
    theirs.module(theirs.source.batch(0, Part())).total.backward()
    norm = nn.utils.clip_grad_norm_(theirs.module.parameters(), most or torch.inf)
    torch.optim.SGD(theirs.module.parameters(), lr=1.0).step()
    (record,) = fit(ours, optimisation=settings)
    assert 1e-3 < record.gradient_norm < 1e3
    assert record.gradient_norm == pytest.approx(float(norm), rel=1e-5)
    for found, expected in zip(ours.module.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def _killed_run(scratch: Path) -> None:
    def on_step(report: StepReport) -> None:
        if report.record.step == 12:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(Toy(), scratch, on_step=on_step)


def test_kill_and_resume_is_bit_equal(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_killed_run, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    whole, resumed, steps = Toy(), Toy(), []
    fit(whole)
    fit(resumed, tmp_path, on_step=lambda report: steps.append(report.record.step))
    assert steps[0] == 11
    assert bits(resumed) == bits(whole)


def test_a_half_written_checkpoint_is_not_read(tmp_path):
    task = Toy()
    history = fit(task, optimisation=FEW_STEPS.model_copy(update={"steps": 4}))
    optimiser = build_optimiser(task.module, FEW_STEPS)
    save_step(tmp_path, task.module, optimiser, Progress(history=history, layout=task.source.state()))
    (tmp_path / "partial-step-000000009").mkdir()
    (tmp_path / "partial-step-000000009" / "model.safetensors").write_bytes(b"cut")
    steps = []
    fit(Toy(), tmp_path, on_step=lambda report: steps.append(report.record.step))
    assert steps[0] == 5
    assert not list(tmp_path.glob("partial-*"))


def test_only_the_newest_checkpoint_is_kept_and_nothing_is_pickled(tmp_path):
    fit(Toy(), tmp_path, checkpoint_every=4)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000016"]
    assert sorted(path.name for path in (tmp_path / "step-000000016").iterdir()) == [
        "history.json",
        "layout.json",
        "model.safetensors",
        "optimiser.safetensors",
    ]


def test_frozen_parameters_stay(tmp_path):
    task = Toy()
    task.module.layers[0].requires_grad_(False)
    before = bits(task)
    fit(task, tmp_path)
    after = bits(task)
    assert before["layers.0.weight"] == after["layers.0.weight"]
    assert before["layers.3.weight"] != after["layers.3.weight"]


def test_a_loss_that_is_not_finite_is_named():
    class Broken(Module):
        def forward(self, batch: Batch) -> Loss:
            return Loss(total=super().forward(batch).total * float("nan"))

    with pytest.raises(ConfigError, match=r"diverged: the loss of step 1 of 20 is nan.*lower learning_rate"):
        fit(Toy(Broken()))


def test_a_gradient_that_is_not_finite_is_named():
    class Steep(Module):
        def forward(self, batch: Batch) -> Loss:
            return Loss(total=(super().forward(batch).total * 0.0).sqrt())

    with pytest.raises(ConfigError, match=r"diverged: the norm of the gradient of step 1 of 20 is nan"):
        fit(Toy(Steep()))


def test_an_epoch_begins_in_the_precision_of_the_training():
    class Watched(Source):
        def begin_epoch(self, epoch: int) -> None:
            within_autocast.append(torch.is_autocast_enabled("cpu"))
            super().begin_epoch(epoch)

    within_autocast: list[bool] = []
    task = Toy()
    task.source = Watched()
    fit(task, optimisation=FEW_STEPS.model_copy(update={"precision": "bfloat16"}))
    assert within_autocast
    assert all(within_autocast)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_missing_card_is_named():
    with pytest.raises(ConfigError, match="torch sees no card"):
        fit(Toy(), optimisation=FEW_STEPS.model_copy(update={"device": "cuda"}))


def test_bfloat16_autocast_trains():
    history = fit(Toy(), optimisation=FEW_STEPS.model_copy(update={"precision": "bfloat16"}))
    assert history[-1].loss < history[0].loss
    assert history != fit(Toy())


def test_the_settings_of_torch_are_put_back():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    with fixed_arithmetic(1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    fit(Toy())
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.equal(torch.get_rng_state(), state)


def test_a_failing_reader_is_heard_of():
    class Failing(Source):
        def batch(self, index: int, part: Part) -> Batch:
            if index == 3:
                raise ConfigError("batch 3 cannot be read")
            return super().batch(index, part)

    task = Toy()
    task.source = Failing()
    with pytest.raises(ConfigError, match="batch 3 cannot be read"):
        fit(task, readers=2)
