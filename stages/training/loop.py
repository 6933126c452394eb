"""One loop for every objective: it moves batches, steps the optimiser, and can be killed at any moment.

The objective is a module that takes a batch and gives a scalar; the source gives the batch of a step as a pure function
of the step. So the position in the data is the step's number, and a run that was killed and resumed has the same bits
as one that was not. Dropout's randomness derives from (seed, step) for the same reason.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from stages.errors import ConfigError
from stages.training.checkpoints import StepRecord, load_latest, save_step
from stages.training.optimisation import Optimisation, learning_rate_at
from stages.training.sampling import sample_generator


class DeviceBatch(Protocol):
    """What a batch must be able to do."""

    def to(self, device: torch.device) -> Self:
        """Return the batch with its tensors on a device."""


BatchT = TypeVar("BatchT", bound=DeviceBatch)
BatchT_co = TypeVar("BatchT_co", bound=DeviceBatch, covariant=True)


class BatchSource(Protocol[BatchT_co]):
    """Batches by the number of the step."""

    def batch(self, step: int) -> BatchT_co:
        """Return the batch of a step; the same step gives the same batch, in any process."""


OnStep = Callable[[int, int, float], None]
"""Called after each update with steps done, steps in all, and the loss."""


def train(
    objective: nn.Module,
    source: BatchSource[BatchT],
    settings: Optimisation,
    *,
    seed: int,
    scratch_dir: Path | None = None,
    checkpoint_every: int = 100,
    on_step: OnStep | None = None,
) -> list[StepRecord]:
    """Train a module in place.

    Args:
        objective: takes a batch, returns a () float loss; its parameters that require gradients are trained.
        source: where batches come from.
        settings: optimiser, schedule, precision, device and threads.
        seed: of dropout.
        scratch_dir: where checkpoints are kept and looked for; None keeps none.
        checkpoint_every: steps between two checkpoints.
        on_step: progress.

    Returns:
        One record a step, those before a resume included.

    Raises:
        ConfigError: the device is missing, or the loss is no longer finite.
    """
    device = _device(settings)
    with fixed_arithmetic(settings.threads):
        objective.to(device).train()
        optimiser = build_optimiser(objective, settings)
        history = load_latest(scratch_dir, objective, optimiser) if scratch_dir else []
        for step in range(len(history), settings.steps):
            record = _update(objective, optimiser, source.batch(step).to(device), settings, step, seed)
            history.append(record)
            if on_step:
                on_step(step + 1, settings.steps, record.loss)
            if scratch_dir and (step + 1) % checkpoint_every == 0 and step + 1 < settings.steps:
                save_step(scratch_dir, objective, optimiser, history)
    objective.eval()
    return history


def build_optimiser(objective: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Return the optimiser of the settings over the parameters that require gradients."""
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def _update(
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: DeviceBatch,
    settings: Optimisation,
    step: int,
    seed: int,
) -> StepRecord:
    """Do one update and say what it was."""
    rate = learning_rate_at(step, settings)
    for group in optimiser.param_groups:
        group["lr"] = rate
    with step_randomness(seed, step, settings), _autocast(settings):
        loss: Tensor = objective(batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError(
            f"training diverged: the loss of step {step + 1} of {settings.steps} is {value} at learning rate {rate:g}; "
            "lower learning_rate or raise warmup_steps"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], settings.clip_norm)
    optimiser.step()
    return StepRecord(step=step + 1, loss=value, learning_rate=rate)


def _device(settings: Optimisation) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train: device is 'cuda', but torch sees no card here; set device = 'cpu'")
    return torch.device(settings.device)


def _autocast(settings: Optimisation) -> contextlib.AbstractContextManager[object]:
    if settings.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(settings.device, dtype=torch.bfloat16)


@contextlib.contextmanager
def step_randomness(seed: int, step: int, settings: Optimisation) -> Iterator[None]:
    """Give torch's own generators (dropout knows no other) the state of (seed, step), and put them back after."""
    devices = [torch.cuda.current_device()] if settings.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(sample_generator(seed, step, "dropout", 0).integers(2**63)))
        yield


@contextlib.contextmanager
def fixed_arithmetic(threads: int) -> Iterator[None]:
    """Fix the number of CPU threads and ask torch for deterministic algorithms; put both back after."""
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)
