"""Settings of fine-tuning on ordered steps: VideoCLIP's and TempCLR's on CrossTask."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.datasets.records import Annotations
from stages.errors import ConfigError
from stages.training.objectives.annotated import AnnotatedSettings, RowWindows
from stages.training.objectives.base import Opening
from stages.training.objectives.tempclr import AlignmentSettings

if TYPE_CHECKING:
    from stages.training.task import Task


class StepSequencesSettings(AnnotatedSettings):
    """Which step of its task a row shows, and that rows follow the steps' order (papers.md 2.8, 3.5).

    Attributes:
        weight: of the contrast of orders; TempCLR's. With 0, VideoCLIP's loss.
        negatives: shuffled orders that the true one is told from.
        frames_per_step: rows of a step that take part in the contrast at most.
        inner_shuffling: whether rows inside a step are shuffled, too.
        alignment: how an order is scored.
        windows: of rows.
        primary_only: whether videos of related tasks are left out.
    """

    shares_batches: ClassVar[bool] = False

    kind: Literal["step_sequences"] = "step_sequences"
    weight: float = Field(default=0.12, ge=0, le=1)
    negatives: int = Field(default=31, ge=1)
    frames_per_step: int = Field(default=10, ge=1)
    inner_shuffling: bool = True
    alignment: AlignmentSettings = AlignmentSettings()
    windows: RowWindows = RowWindows()
    primary_only: bool = True

    @property
    def items_a_batch(self) -> int:
        """One video, as its steps are those of its task."""
        return 1

    def examples(self, annotations: Annotations) -> Sequence[str]:
        """Name videos, each in its task: `task/video`."""
        if not annotations.tasks:
            raise ConfigError(f"[train.objective] dataset {self.dataset.name!r} has no tasks with ordered steps")
        left_out = {task.task_id for task in annotations.tasks if self.primary_only and not task.is_primary}
        found = {(segment.group, segment.source_id) for segment in annotations.segments}
        return [f"{task}/{source_id}" for task, source_id in sorted(found) if task not in left_out]

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.step_sequences import open_step_sequences

        return open_step_sequences(self, opening)
