"""Settings of VideoCLIP (arXiv:2109.14084)."""

from typing import TYPE_CHECKING, Any, Literal

from stages.training.objectives.base import Opening
from stages.training.objectives.text_video import TextVideoSettings

if TYPE_CHECKING:
    from stages.training.task import Task


class VideoCLIPSettings(TextVideoSettings):
    """Windows against overlapping texts; the defaults are the published ones, but for `retrieval`.

    Attributes:
        directions: `both` for pre-training; the others fine-tune (T2V on retrieval data, V2T on question answering).
        reduction: of the two directions; `sum` as published.
        same_video_negatives: whether pairs of one video are each other's negatives, as published.
    """

    kind: Literal["videoclip"] = "videoclip"
    directions: Literal["both", "text_to_video", "video_to_text"] = "both"
    reduction: Literal["sum", "mean"] = "sum"
    same_video_negatives: bool = True

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.videoclip import open_videoclip

        return open_videoclip(self, opening)
