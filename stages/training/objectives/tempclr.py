"""Settings of TempCLR (arXiv:2212.13738)."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from stages.contract import StageConfig
from stages.training.objectives.base import Opening
from stages.training.objectives.text_video import TextVideoSettings

if TYPE_CHECKING:
    from stages.training.task import Task


class AlignmentSettings(StageConfig):
    """How well two sequences go together in time; the defaults are TempCLR's.

    Attributes:
        method: soft `dtw`, or soft `otam` in both orientations.
        gamma: temperature of the soft minimum.
        epsilon: in the denominator of the cosine.
    """

    method: Literal["dtw", "otam"] = "dtw"
    gamma: float = Field(default=0.1, gt=0)
    epsilon: float = Field(default=0.01, ge=0)


class SequenceSettings(StageConfig):
    """The contrast of sequences; the defaults are the released ones (papers.md 3.3).

    Attributes:
        weight: of the contrast; single windows have the rest.
        windows: windows of a sequence: a video qualifies if so many of its draws follow one another strictly.
        text_gap: captions that must lie between two windows' texts besides.
        video_gap: seconds that must lie between two windows besides.
        negatives: shuffled orders that the true one is told from.
        shuffled: whose order is broken; `text` as released.
        alignment: how an order is scored.
    """

    weight: float = Field(default=0.7, ge=0, le=1)
    windows: int = Field(default=5, ge=2)
    text_gap: float = Field(default=0.0, ge=0)
    video_gap: float = Field(default=0.0, ge=0)
    negatives: int = Field(default=31, ge=1)
    shuffled: Literal["text", "video", "both"] = "text"
    alignment: AlignmentSettings = AlignmentSettings()

    @model_validator(mode="after")
    def _there_are_so_many_orders(self) -> "SequenceSettings":
        """Refuse more negatives than a sequence has other orders."""
        check_orders(self.negatives, self.windows, "windows")
        return self


def check_orders(negatives: int, length: int, items: str) -> None:
    """Refuse more shuffled orders than a sequence of `length` items has.

    Raises:
        ValueError: that is so.
    """
    available = math.factorial(length) - 1
    if negatives > available:
        raise ValueError(f"negatives is {negatives}, but {length} {items} have {available} other orders")


class TempCLRSettings(TextVideoSettings):
    """Windows against texts, and sequences of windows against sequences of texts.

    Attributes:
        sequence: the second.
        layer_norms_only: tune the layer norms of what training begins with, as published, or all weights.
    """

    kind: Literal["tempclr"] = "tempclr"
    batch_videos: int = Field(default=16, ge=1)
    sequence: SequenceSettings = SequenceSettings()
    layer_norms_only: bool = True

    @model_validator(mode="after")
    def _draws_can_make_a_sequence(self) -> "TempCLRSettings":
        """Refuse fewer draws than a sequence has windows."""
        if self.sampling.draws_per_video < self.sequence.windows:
            raise ValueError(
                f"sampling.draws_per_video is {self.sampling.draws_per_video}, but sequence.windows is "
                f"{self.sequence.windows}: no video could qualify; raise the one or lower the other"
            )
        return self

    @property
    def needs_start(self) -> str:
        """See `ObjectiveSettings`."""
        return "with layer_norms_only tunes the norms of a trained encoder" if self.layer_norms_only else ""

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.tempclr import open_tempclr

        return open_tempclr(self, opening)
