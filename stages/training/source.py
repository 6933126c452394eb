"""Batches that a layout lays out: what every source of batches has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from stages.training.layout import EpochLayout
from stages.training.team import Part

BatchT = TypeVar("BatchT")


class LaidOutSource(ABC, Generic[BatchT]):
    """A `stages.training.task.BatchSource` whose batches are laid out by a layout."""

    def __init__(self, layout: EpochLayout) -> None:
        self._layout = layout

    @property
    def batches_per_epoch(self) -> int:
        """See `BatchSource`."""
        return self._layout.batches_per_epoch

    def begin_epoch(self, epoch: int) -> None:
        """See `BatchSource`."""
        self._layout.begin_epoch(epoch)

    @abstractmethod
    def batch(self, index: int, part: Part) -> BatchT:
        """See `BatchSource`."""

    def state(self) -> Mapping[str, Any]:
        """See `BatchSource`."""
        return self._layout.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `BatchSource`."""
        self._layout.restore(state)

    def _names(self, index: int) -> Sequence[str]:
        """Return what the batch of this number is made of; it lies in the current epoch."""
        return self._layout.batch(index % self.batches_per_epoch)
