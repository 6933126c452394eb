"""Checkpoints inside a run: weights, optimiser and history, as safetensors and JSON, in folders that appear at once.

They live in the unit's scratch folder and are gone when the unit commits; what a run makes is written by the encoder.
The randomness and the position in the data need no state of their own: both derive from the number of the step.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

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
        loss: of its batch, before the update.
        learning_rate: that it was done with.
    """

    step: int
    loss: float
    learning_rate: float


def save_step(
    scratch_dir: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, history: list[StepRecord]
) -> Path:
    """Write a checkpoint in one atomic step and delete the earlier ones.

    Args:
        scratch_dir: the unit's scratch folder.
        objective: whose state is written.
        optimiser: whose moments are written.
        history: every step so far; its length is the step of the checkpoint.

    Returns:
        The checkpoint's folder.
    """
    final = scratch_dir / f"{_PREFIX}{len(history):09d}"
    partial = scratch_dir / f"{_PARTIAL}{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_owned(objective.state_dict()), partial / "model.safetensors")
    save_file(_owned(_moments(optimiser)), partial / "optimiser.safetensors")
    (partial / "history.json").write_text(json.dumps([asdict(record) for record in history]))
    for path in (*sorted(partial.iterdir()), partial):
        _sync(path)
    partial.rename(final)
    _sync(scratch_dir)
    for older in _finished(scratch_dir)[:-1]:
        shutil.rmtree(older)
    return final


def load_latest(scratch_dir: Path, objective: nn.Module, optimiser: torch.optim.Optimizer) -> list[StepRecord]:
    """Put the newest finished checkpoint into a module and its optimiser.

    Args:
        scratch_dir: the unit's scratch folder; half-written checkpoints in it are deleted.
        objective: changed in place.
        optimiser: over the parameters of `objective`; changed in place.

    Returns:
        The history so far; empty when there is no checkpoint.
    """
    for leftover in scratch_dir.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover)
    finished = _finished(scratch_dir)
    if not finished:
        return []
    folder = finished[-1]
    objective.load_state_dict(load_file(folder / "model.safetensors"))
    _restore_moments(optimiser, load_file(folder / "optimiser.safetensors"))
    return [StepRecord(**record) for record in json.loads((folder / "history.json").read_text())]


def _finished(scratch_dir: Path) -> list[Path]:
    return sorted(scratch_dir.glob(f"{_PREFIX}*"))


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy each tensor, since safetensors refuses names that share memory (tied weights)."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors under `<parameter>.<name>`."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


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
