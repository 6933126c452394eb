"""From a network, its loss and a way to make a batch to a fitted network, by the one loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import numpy as np
from torch import nn

from stages.artifacts.report_sections import Section, Table
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.fitting.workspace import Workspace
from stages.training.checkpoints import StepRecord
from stages.training.layout import ShuffledLayout
from stages.training.loop import LoopSettings, StepReport, train
from stages.training.task import BatchT, LoopTask
from stages.training.team import Part

_SHOWN_UPDATES = 10

MakeBatch = Callable[[int, Sequence[str]], BatchT]
"""Makes a batch of items, given its number and their names: a pure function, called from several threads."""


class ItemSource(Generic[BatchT]):
    """Each item once an epoch, in a seeded order; those that do not fill a batch wait for another epoch."""

    def __init__(self, names: Sequence[str], batch_size: int, make: MakeBatch[BatchT], *, seed: int) -> None:
        """Keep the names; a batch has no more items than there are."""
        self._layout = ShuffledLayout(names, min(batch_size, len(names)), multiple=1, seed=seed)
        self._make = make

    @property
    def batches_per_epoch(self) -> int:
        """See `BatchSource`."""
        return self._layout.batches_per_epoch

    def begin_epoch(self, epoch: int) -> None:
        """See `BatchSource`."""
        self._layout.begin_epoch(epoch)

    def batch(self, index: int, part: Part) -> BatchT:
        """See `BatchSource`."""
        names = self._layout.batch(index % self.batches_per_epoch)
        return self._make(index, names[part.of(len(names))])

    def state(self) -> Mapping[str, Any]:
        """All follows from the epoch's number."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is nothing to take back."""


class FitTask(LoopTask[BatchT]):
    """A network with its loss, and batches of items."""

    def __init__(self, module: nn.Module, source: ItemSource[BatchT]) -> None:
        self.module, self.source = module, source


def fit(task: FitTask[Any], settings: FitSettings, workspace: Workspace) -> list[StepRecord]:
    """Fit a network in place; it is on the CPU and in eval mode afterwards.

    Returns:
        One record an update.

    Raises:
        ConfigError: the device is missing, or the loss is no longer finite.
    """

    def tell(report: StepReport) -> None:
        workspace.report(report.record.step / report.steps, f"loss {report.record.loss:.3f}")

    loop = LoopSettings(
        optimisation=settings.optimisation(task.source.batches_per_epoch),
        seed=settings.seed,
        scratch_dir=workspace.scratch_dir,
        checkpoint_every=settings.checkpoint_every,
        readers=settings.threads,
        on_step=tell,
    )
    history = train(task, loop)
    task.module.cpu()
    return history


def fit_section(title: str, history: Sequence[StepRecord]) -> Section:
    """Show how a fit went: some of its updates, the last one among them."""
    places = np.unique(np.linspace(0, len(history) - 1, _SHOWN_UPDATES).round().astype(int)).tolist()
    columns = ("update", "learning rate", "loss", *history[0].terms)
    rows = []
    for record in (history[place] for place in places):
        values = (record.loss, *record.terms.values())
        rows.append((str(record.step), f"{record.learning_rate:.2g}", *(f"{value:.4f}" for value in values)))
    return Section(title=title, tables=(Table(columns=columns, rows=tuple(rows)),))
