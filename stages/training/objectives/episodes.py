"""Settings of episodic few-shot training: TempCLR's video-video form."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.datasets.records import Annotations, by_class
from stages.errors import ConfigError
from stages.training.objectives.annotated import AnnotatedSettings, RowWindows
from stages.training.objectives.base import Opening
from stages.training.objectives.tempclr import AlignmentSettings, check_orders

if TYPE_CHECKING:
    from stages.training.task import Task


class EpisodesSettings(AnnotatedSettings):
    """Queries against a few shown videos of each class, by alignment (papers.md 3.7; its weights are not published).

    Attributes:
        ways: classes of an episode; a batch is one episode.
        shots: videos that are shown of each.
        queries: videos that are asked of each.
        num_frames: rows of a video that are aligned, spread evenly.
        episodes_per_epoch: after which a checkpoint's epoch ends; nothing else hangs on it.
        weight: of the contrast of orders between a query and each shown video of its class; without it, the plain
            episodic loss.
        negatives: shuffled orders that the true one is told from.
        alignment: how two videos are compared.
        windows: of rows, whose states are compared.
    """

    shares_batches: ClassVar[bool] = False

    kind: Literal["episodes"] = "episodes"
    ways: int = Field(default=5, ge=2)
    shots: int = Field(default=1, ge=1)
    queries: int = Field(default=1, ge=1)
    num_frames: int = Field(default=8, ge=2)
    episodes_per_epoch: int = Field(default=1000, ge=1)
    weight: float = Field(default=0.7, ge=0, le=1)
    negatives: int = Field(default=31, ge=1)
    alignment: AlignmentSettings = AlignmentSettings(method="otam")
    windows: RowWindows = RowWindows()

    @model_validator(mode="after")
    def _there_are_so_many_orders(self) -> "EpisodesSettings":
        """Refuse more negatives than the rows of a video have other orders."""
        if self.weight:
            check_orders(self.negatives, self.num_frames, "frames")
        return self

    @property
    def items_a_batch(self) -> int:
        """An episode."""
        return 1

    def examples(self, annotations: Annotations) -> Sequence[str]:
        """Number the episodes of an epoch, if the classes suffice."""
        needed = self.shots + self.queries
        sizes = [len(source_ids) for source_ids in by_class(annotations).values()]
        enough = sum(size >= needed for size in sizes)
        if enough < self.ways:
            raise ConfigError(
                f"[train.objective] {enough} of {len(sizes)} classes have at least shots + queries = {needed} videos "
                f"with features, but ways is {self.ways}; lower one of them"
            )
        return [f"{number:08d}" for number in range(self.episodes_per_epoch)]

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.episodes import open_episodes

        return open_episodes(self, opening)
