"""One loop for every objective: it moves batches, steps the optimiser, and can be killed at any moment.

A task gives the module and the batches as a pure function of their number. So the position in the data is the step's
number, and a run that was killed and resumed has the same bits as one that was not. The randomness of dropout derives
from (seed, step, process) for the same reason.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from models.memory import keep_freed_memory
from stages.errors import ConfigError
from stages.training.ahead import Ahead
from stages.training.checkpoints import Progress, StepRecord, clear_partial, load_latest, save_step
from stages.training.optimisation import Optimisation, learning_rate_at
from stages.training.sampling import sample_generator
from stages.training.task import DeviceBatch, LoopTask, Loss
from stages.training.team import ALONE, Part, Team

Split = Literal["pairs", "batches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One update, for whoever watches.

    Attributes:
        record: what of it is kept.
        steps: updates in all.
        spent_s: how long it took.
        waited_s: how long of that the batches were waited for.
    """

    record: StepRecord
    steps: int
    spent_s: float
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How a task is trained.

    Attributes:
        optimisation: optimiser, schedule, precision, device and threads.
        seed: of dropout.
        team: the processes that train together.
        split: what these divide: the `pairs` of each batch, or whole `batches`.
        scratch_dir: where checkpoints are kept and looked for; None keeps none.
        checkpoint_every: steps between two checkpoints.
        readers: threads that prepare batches.
        on_step: told of each update, in every process.
    """

    optimisation: Optimisation
    seed: int
    team: Team = ALONE
    split: Split = "pairs"
    scratch_dir: Path | None = None
    checkpoint_every: int = 100
    readers: int = 1
    on_step: Callable[[StepReport], None] = field(default=lambda report: None)


def train(task: LoopTask[Any], settings: LoopSettings) -> list[StepRecord]:
    """Train a task's module in place.

    Args:
        task: what is trained; those of its parameters that require gradients are.
        settings: how.

    Returns:
        One record a step, those before a resume included.

    Raises:
        ConfigError: the device is missing, or the loss or its gradient is no longer finite.
    """
    wanted = settings.optimisation
    device = _device(wanted)
    keep_freed_memory()
    with fixed_arithmetic(wanted.threads):
        task.module.to(device).train()
        optimiser = build_optimiser(task.module, wanted)
        progress = _resume(task, optimiser, settings)
        history = progress.history
        indices, part = _share(settings, len(history))
        with Ahead(task.source, indices, part, readers=settings.readers) as batches:
            for step in range(len(history), wanted.steps):
                began, waited = time.perf_counter(), batches.waited_s
                record = _update(task, optimiser, batches, settings, step)
                history.append(record)
                task.after_update()
                settings.on_step(
                    StepReport(
                        record=record,
                        steps=wanted.steps,
                        spent_s=time.perf_counter() - began,
                        waited_s=batches.waited_s - waited,
                    )
                )
                _keep(task, optimiser, settings, history)
    task.module.eval()
    return history


def build_optimiser(module: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Return the optimiser of the settings over the parameters that require gradients."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _resume(task: LoopTask[Any], optimiser: torch.optim.Optimizer, settings: LoopSettings) -> Progress:
    """Put the newest checkpoint into the task, in every process."""
    if settings.scratch_dir is None:
        return Progress()
    if settings.team.leads:
        clear_partial(settings.scratch_dir)
    settings.team.wait()
    progress = load_latest(settings.scratch_dir, task.module, optimiser)
    task.source.restore(progress.layout)
    return progress


def _keep(
    task: LoopTask[Any], optimiser: torch.optim.Optimizer, settings: LoopSettings, history: list[StepRecord]
) -> None:
    """Write a checkpoint when one is due."""
    done = len(history)
    due = done % settings.checkpoint_every == 0 and done < settings.optimisation.steps
    if settings.scratch_dir is None or not due:
        return
    if settings.team.leads:
        progress = Progress(history=history, layout=task.source.state())
        save_step(settings.scratch_dir, task.module, optimiser, progress)
    settings.team.wait()


def _share(settings: LoopSettings, first_step: int) -> tuple[list[int] | range, Part]:
    """The batches that this process takes part in, and its part of each."""
    team, each = settings.team, settings.optimisation.accumulate
    indices = range(first_step * each, settings.optimisation.steps * each)
    if settings.split == "pairs":
        return indices, team.part
    assert each % team.size == 0
    return indices[team.rank :: team.size], Part()


def _update(
    task: LoopTask[Any], optimiser: torch.optim.Optimizer, batches: Ahead[Any], settings: LoopSettings, step: int
) -> StepRecord:
    """Do one update and say what it was."""
    wanted, team = settings.optimisation, settings.team
    rate = learning_rate_at(step, wanted)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    dealt = wanted.accumulate // (team.size if settings.split == "batches" else 1)
    losses = []
    for number in range(dealt):
        with _autocast(wanted):  # the model may choose the videos of an epoch that begins
            batch = batches.next()
        losses.append(_gradients(task.module, batch, settings, (step, number), dealt))
    team.average_gradients(task.module)
    names = ("loss", *losses[0].terms)
    values = _means(losses, team if settings.split == "batches" else ALONE)
    _check_finite("loss", values[0], step, rate, wanted)
    norm = _clip(optimiser, wanted.clip_norm)
    _check_finite("norm of the gradient", norm, step, rate, wanted)
    optimiser.step()
    terms = dict(zip(names[1:], values[1:], strict=True))
    return StepRecord(step=step + 1, loss=values[0], learning_rate=rate, gradient_norm=norm, terms=terms)


def _gradients(
    module: nn.Module, batch: DeviceBatch, settings: LoopSettings, place: tuple[int, int], dealt: int
) -> Loss:
    """Add the gradients of one batch of an update, which has `dealt` of them here."""
    wanted = settings.optimisation
    with step_randomness(settings, place), _autocast(wanted):
        loss: Loss = module(batch.to(torch.device(wanted.device)))
    (loss.total / dealt).backward()
    return loss


def _means(losses: list[Loss], team: Team) -> list[float]:
    """Loss and terms, each the mean over the batches of an update in all processes."""
    with torch.no_grad():
        rows = torch.stack([torch.stack([loss.total, *loss.terms.values()]).float() for loss in losses])
        means: list[float] = team.gather(rows).mean(dim=0).tolist()
    return means


def _check_finite(what: str, value: float, step: int, rate: float, wanted: Optimisation) -> None:
    if not math.isfinite(value):
        raise ConfigError(
            f"training diverged: the {what} of step {step + 1} of {wanted.steps} is {value} at learning rate {rate:g}; "
            "lower learning_rate or raise warmup_steps"
        )


def _clip(optimiser: torch.optim.Optimizer, most: float) -> float:
    """Scale the gradients down to a norm unless `most` is 0, and return what it was; see `clip_grad_norm_`.

    That multiplies all gradients even by 1, which is two fifths of its time.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    value = float(norm)
    if most and not value <= most:  # NaN, too, reaches all of them
        nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return value


def _device(settings: Optimisation) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train: device is 'cuda', but torch sees no card here; set device = 'cpu'")
    return torch.device(settings.device)


def _autocast(settings: Optimisation) -> contextlib.AbstractContextManager[object]:
    if settings.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(settings.device, dtype=torch.bfloat16)


@contextlib.contextmanager
def step_randomness(settings: LoopSettings, place: tuple[int, int]) -> Iterator[None]:
    """Give torch's own generators (dropout knows no other) the state of a step, and put theirs back after.

    Args:
        settings: seed, device and process.
        place: number of the step, and of the batch in it.
    """
    step, number = place
    name = f"dropout {settings.team.rank}" if settings.team.rank else "dropout"
    devices = [torch.cuda.current_device()] if settings.optimisation.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(sample_generator(settings.seed, step, name, number).integers(2**63)))
        yield


@contextlib.contextmanager
def fixed_arithmetic(threads: int) -> Iterator[None]:
    """Fix the number of CPU threads and ask torch for deterministic algorithms; put all back after.

    New memory is not filled with NaN, which torch does beside them by default: every operation here writes what it
    reads later, and filling takes a fifth of a step.
    """
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its one attribute has no type
    filling_before = memory.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)
        memory.fill_uninitialized_memory = filling_before
