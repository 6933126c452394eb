"""The door to TensorBoard: each step's numbers, as a log of the run that nothing reads back and nobody commits."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX import SummaryWriter

from stages.training.loop import StepReport


class ScalarLog:
    """Writes event files into a folder; `tensorboard --logdir` shows them."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder))

    def write(self, report: StepReport) -> None:
        """Add one step: loss and its terms, learning rate, gradient norm, time, and time that batches were awaited."""
        record = report.record
        scalars = {
            "loss": record.loss,
            **{f"terms/{name}": value for name, value in record.terms.items()},
            "learning_rate": record.learning_rate,
            "gradient_norm": record.gradient_norm,
            "time/step_s": report.spent_s,
            "time/waiting_s": report.waited_s,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, record.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
