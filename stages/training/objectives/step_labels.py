"""Settings of fine-tuning a head that labels every row of a video: VideoCLIP's on COIN."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.datasets.records import Annotations
from stages.training.objectives.annotated import AnnotatedSettings, RowWindows
from stages.training.objectives.base import Opening

if TYPE_CHECKING:
    from stages.training.task import Task


class StepLabelsSettings(AnnotatedSettings):
    """Cross entropy over the steps of a data set and the background; the defaults are COIN's (papers.md 2.8).

    Attributes:
        num_labels: of the head, background included; None takes one more than the data set's highest step (COIN: 779).
        windows: of rows.
        batch_videos: videos in a batch.
    """

    shares_batches: ClassVar[bool] = False

    kind: Literal["step_labels"] = "step_labels"
    num_labels: int | None = Field(default=None, ge=2)
    windows: RowWindows = RowWindows(stride=8)
    batch_videos: int = Field(default=1, ge=1)

    @property
    def items_a_batch(self) -> int:
        """Videos."""
        return self.batch_videos

    def examples(self, annotations: Annotations) -> Sequence[str]:
        """Name the videos that have a step."""
        return sorted({segment.source_id for segment in annotations.segments})

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.step_labels import open_step_labels

        return open_step_labels(self, opening)
