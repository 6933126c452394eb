"""What the loop asks of an objective: a module, batches by their number, and what is saved of it in the end.

An objective's settings (`stages.training.objectives`) make its task; only the task knows torch. The loop knows nothing
of papers, and a task knows nothing of optimisers, devices, checkpoints or progress.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from stages.training.team import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss of a batch.

    Attributes:
        total: () float, what is minimised.
        terms: () each, by name, for the history: its parts, and whatever else tells how training goes. Every batch has
            the same names.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


class DeviceBatch(Protocol):
    """What a batch must be able to do."""

    def to(self, device: torch.device) -> Self:
        """Return the batch with its tensors on a device."""


BatchT = TypeVar("BatchT", bound=DeviceBatch)
BatchT_co = TypeVar("BatchT_co", bound=DeviceBatch, covariant=True)


class BatchSource(Protocol[BatchT_co]):
    """Batches by their number, counted from 0 over the whole training."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches between two calls of `begin_epoch`."""

    def begin_epoch(self, epoch: int) -> None:
        """Lay out an epoch; called in this thread before the first of its batches is asked for, also on resuming."""

    def batch(self, index: int, part: Part) -> BatchT_co:
        """Return a part of a batch of the current epoch; a pure function, called from several threads."""

    def state(self) -> Mapping[str, Any]:
        """What of the current epoch's layout does not follow from its number, as JSON; empty if all of it does."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take a layout back that `state` gave; `begin_epoch` of that epoch then keeps it."""


class LoopTask(Generic[BatchT]):
    """What the loop trains, whatever becomes of it.

    Attributes:
        module: takes a batch and gives a `Loss`; whatever must survive a kill is in its state.
        source: where batches come from.
    """

    module: nn.Module
    source: BatchSource[BatchT]

    def after_update(self) -> None:
        """Do what follows an update of the weights, in every process alike: momentum encoders, queues."""


class Task(LoopTask[BatchT], ABC):
    """One objective, ready to be trained to a checkpoint.

    Attributes:
        video_ids: the videos that it trains on, sorted.
        facts: what is said of the training in the checkpoint, such as the preset of the features; deterministic JSON.
        unused: cause and reason of the failure of a video that was planned and cannot be trained on.
    """

    video_ids: Sequence[str]
    facts: Mapping[str, Any]
    unused: tuple[str, str] = ("no_usable_narration", "every feature row that its narrations touch is damaged")

    @abstractmethod
    def save(self, folder: Path, training: Mapping[str, Any]) -> None:
        """Write what was trained, as files that open it; called once, after the last step.

        Args:
            folder: exists.
            training: what the files should say of the training.
        """
