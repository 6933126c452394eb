"""Settings of fine-tuning on the captions of a data set: VideoCLIP's for retrieval and question answering."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from stages.datasets.records import Annotations
from stages.training.objectives.annotated import AnnotatedSettings
from stages.training.objectives.base import Opening

if TYPE_CHECKING:
    from stages.training.task import Task


class CaptionsSettings(AnnotatedSettings):
    """Annotated clips against their captions; the defaults are YouCook2's (papers.md 2.8).

    Attributes:
        directions: `text_to_video` for retrieval, `video_to_text` for question answering, or `both`.
        reduction: of two directions.
        example: `caption`: every caption with its clip; `video`: every video with one of its captions, drawn anew each
            time (MSR-VTT).
        batch_examples: in a batch.
        max_rows: feature rows of a clip that are kept, its first ones.
        same_video_negatives: whether clips of one video are each other's negatives, as published.
    """

    kind: Literal["captions"] = "captions"
    directions: Literal["both", "text_to_video", "video_to_text"] = "text_to_video"
    reduction: Literal["sum", "mean"] = "sum"
    example: Literal["caption", "video"] = "caption"
    batch_examples: int = Field(default=128, ge=2)
    max_rows: int = Field(default=32, ge=1)
    same_video_negatives: bool = True

    @property
    def items_a_batch(self) -> int:
        """Captions, or videos."""
        return self.batch_examples

    def examples(self, annotations: Annotations) -> Sequence[str]:
        """Name clips, or videos."""
        if self.example == "video":
            return sorted({caption.source_id for caption in annotations.captions})
        return [f"{caption.source_id}/{caption.index}" for caption in annotations.captions]

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.captions import open_captions

        return open_captions(self, opening)
