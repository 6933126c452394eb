"""Checkpoints inside a run: weights, optimiser, history and the epoch's layout, in folders that appear at once.

They live in the unit's scratch folder and are gone when the unit commits; what a run makes is written by its task.
Randomness, the schedule and the position in the data need no state of their own: all derive from the number of the
step. Queues and momentum encoders are part of the module's state.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_PREFIX = "step-"
_PARTIAL = "partial-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One update.

    Attributes:
        step: 1 for the first.
        loss: of its batches, before the update.
        learning_rate: that it was done with.
        gradient_norm: of all gradients together, before clipping.
        terms: the parts of the loss, by name.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float = 0.0
    terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands.

    Attributes:
        history: every step so far; its length is the number of the next step, counted from 0.
        layout: what the source of batches says of its epoch.
    """

    history: list[StepRecord] = field(default_factory=list)
    layout: Mapping[str, Any] = field(default_factory=dict)


def save_step(scratch_dir: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> Path:
    """Write a checkpoint in one atomic step and delete the earlier ones.

    Args:
        scratch_dir: the unit's scratch folder.
        module: whose state is written.
        optimiser: whose moments are written.
        progress: where the training stands.

    Returns:
        The checkpoint's folder.
    """
    final = scratch_dir / f"{_PREFIX}{len(progress.history):09d}"
    partial = scratch_dir / f"{_PARTIAL}{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_owned(module.state_dict()), partial / "model.safetensors")
    save_file(_owned(_moments(optimiser)), partial / "optimiser.safetensors")
    (partial / "history.json").write_text(json.dumps([asdict(record) for record in progress.history]))
    (partial / "layout.json").write_text(json.dumps(progress.layout))
    for path in (*sorted(partial.iterdir()), partial):
        _sync(path)
    partial.rename(final)
    _sync(scratch_dir)
    for older in _finished(scratch_dir)[:-1]:
        shutil.rmtree(older)
    return final


def load_latest(scratch_dir: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Put the newest finished checkpoint into a module and its optimiser.

    Args:
        scratch_dir: the unit's scratch folder.
        module: changed in place.
        optimiser: over the parameters of `module`; changed in place.

    Returns:
        Where the training stands; at its beginning when there is no checkpoint.
    """
    finished = _finished(scratch_dir)
    if not finished:
        return Progress()
    folder = finished[-1]
    module.load_state_dict(load_file(folder / "model.safetensors"))
    _restore_moments(optimiser, load_file(folder / "optimiser.safetensors"))
    return Progress(
        history=[StepRecord(**record) for record in json.loads((folder / "history.json").read_text())],
        layout=json.loads((folder / "layout.json").read_text()),
    )


def clear_partial(scratch_dir: Path) -> None:
    """Delete half-written checkpoints that a kill has left."""
    for leftover in scratch_dir.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover)


def _finished(scratch_dir: Path) -> list[Path]:
    return sorted(scratch_dir.glob(f"{_PREFIX}*"))


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy each tensor, since safetensors refuses names that share memory (tied weights)."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors under `<parameter>.<name>`."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None  # SGD names a momentum that it does not have
    }


def _restore_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
