"""Settings of VCLR (arXiv:2108.02722)."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.contract import Inputs
from stages.errors import ConfigError
from stages.training.layout import num_batches
from stages.training.objectives.base import Material, ObjectiveSettings, Opening, TrainSplit
from stages.training.objectives.views import ViewSettings

if TYPE_CHECKING:
    from stages.training.task import Task

FRAMES = "frames"


class VCLRSettings(ObjectiveSettings):
    """Frames and clips of videos against each other; the defaults are the published ones (papers.md 4).

    Attributes:
        network: which ResNet (`models.backbones.resnet.RESNETS`).
        batch_videos: videos in a batch.
        views: how frames become views.
        head_width: of the four heads.
        queue: past keys that are negatives, of frames and of clips each.
        momentum: of the moving average that makes keys.
        temperature: of the three contrastive losses.
        inter_weight: of a frame against all videos.
        intra_weight: of a frame against the other frames of its video.
        segment_weight: of a clip against all videos.
        order_weight: of telling which clip is shuffled.
        order_norm_dim: axis over which the order embedding is normalised: 1, across the three frames, as published and
            likely not meant; -1 within a frame.
    """

    makes_encoder: ClassVar[bool] = False
    deals_batches: ClassVar[bool] = False  # a batch's keys are encoded by another process than its queries (ShuffleBN)

    kind: Literal["vclr"] = "vclr"
    network: Literal["resnet50", "resnet101", "resnet152", "tiny"] = "resnet50"
    batch_videos: int = Field(default=256, ge=2)
    views: ViewSettings = ViewSettings()
    head_width: int = Field(default=128, ge=1)
    queue: int = Field(default=131_072, ge=1)
    momentum: float = Field(default=0.999, ge=0, lt=1)
    temperature: float = Field(default=0.1, gt=0)
    inter_weight: float = Field(default=1.0, ge=0)
    intra_weight: float = Field(default=1.0, ge=0)
    segment_weight: float = Field(default=1.0, ge=0)
    order_weight: float = Field(default=1.0, ge=0)
    order_norm_dim: Literal[1, -1] = 1

    @property
    def items_a_batch(self) -> int:
        """Videos."""
        return self.batch_videos

    @property
    def reads(self) -> tuple[str, ...]:
        """See `ObjectiveSettings`."""
        return (FRAMES,)

    def plan(self, inputs: Inputs, split: TrainSplit, *, accumulate: int) -> Material:
        """Take the videos of the split that have frames; text is not asked for."""
        by_unit = {
            record.fingerprint: {video_id for file in record.files for video_id in file.samples()}
            for record in inputs[FRAMES].records
        }
        members = sorted(set(split.video_ids) & {video_id for ids in by_unit.values() for video_id in ids})
        try:
            num_batches(len(members), self.batch_videos, accumulate)
        except ConfigError as error:
            raise ConfigError(
                f"[train] {len(members)} of the {len(split.video_ids)} videos of the train split (by {split.source}) "
                f"have frames, but an update takes batch_videos = {self.batch_videos} times accumulate = {accumulate}; "
                "lower one, or add videos"
            ) from error
        read = sorted(name for name, ids in by_unit.items() if not ids.isdisjoint(members))
        return Material(video_ids=members, identity={"frames": read, "videos": members})

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.vclr import open_vclr

        return open_vclr(self, opening)
