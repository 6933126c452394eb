"""What the objectives share that fine-tune an encoder on the annotations of a data set.

The data set says which of its videos train; the run's own split and its narrations do not count here.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stages.artifacts.hashing import fingerprint
from stages.artifacts.manifest import read_members
from stages.contract import Inputs, StageConfig
from stages.datasets.catalogue import AnyDataset
from stages.datasets.files import Split
from stages.datasets.membership import Membership, find_members, unit_of_videos
from stages.datasets.records import Annotations
from stages.errors import ConfigError
from stages.training.layout import num_batches
from stages.training.objectives.base import Material, ObjectiveSettings, TrainSplit


class AnnotatedSettings(ObjectiveSettings):
    """Which annotations, and whose features.

    Attributes:
        dataset: its files.
        split: of the data set, that is trained on.
        backbone: whose features the encoder reads.
        standardise_features: train on features whose components are put on one scale; what is saved holds it folded
            in. The published fine-tuning does not.
    """

    not_in_identity: ClassVar[Mapping[str, Any]] = {"dataset": True}

    dataset: AnyDataset
    split: Split = "train"
    backbone: Literal["s3d", "clip"] = "s3d"
    standardise_features: bool = True

    @property
    def encoder_backbone(self) -> Literal["s3d", "clip"]:
        """See `ObjectiveSettings`."""
        return self.backbone

    @property
    def needs_start(self) -> str:
        """See `ObjectiveSettings`."""
        return "fine-tunes a trained encoder"

    @property
    def features(self) -> str:
        """Label of the features."""
        return f"features.{self.backbone}"

    @property
    def reads(self) -> tuple[str, ...]:
        """See `ObjectiveSettings`."""
        return (self.features,)

    @abstractmethod
    def examples(self, annotations: Annotations) -> Sequence[str]:
        """Name what batches are made of.

        Args:
            annotations: of the split, of videos that have features.

        Raises:
            ConfigError: they are of no use to the objective.
        """

    def check_files(self) -> None:
        """See `ObjectiveSettings`."""
        self.dataset.check("[train.objective] dataset.")

    def plan(self, inputs: Inputs, split: TrainSplit, *, accumulate: int) -> Material:
        """Take the videos of the data set's split that have features."""
        features = inputs[self.features]
        unit_of = unit_of_videos(features)
        found = find_members(self.dataset, self.split, read_members(inputs["manifest"]), [unit_of])
        annotations = found.annotations.only(found.usable).of_split(self.split)
        self._check(found, annotations, accumulate)
        source_ids = [video.source_id for video in annotations.videos]
        video_ids = sorted({found.usable[source_id] for source_id in source_ids})
        units = {unit_of[video_id] for video_id in video_ids}
        identity = {
            "dataset": self.dataset.model_dump(mode="json", exclude=set(self.dataset.paths())),
            "files": self.dataset.content(),
            "features": sorted(record.fingerprint for record in features.records if record.unit_id in units),
            "videos": fingerprint(sorted(found.usable.items())),
        }
        return Material(video_ids=video_ids, identity=identity, payload={"usable": dict(found.usable)})

    def read(self, usable: Mapping[str, str]) -> Annotations:
        """Read the annotations that are trained on.

        Args:
            usable: the manifest's video by source id, of all videos with features, as `plan` found them.
        """
        annotations = self.dataset.settle(self.dataset.read(), set(usable))
        return annotations.only(usable).of_split(self.split)

    def _check(self, found: Membership, annotations: Annotations, accumulate: int) -> None:
        """Refuse what could not train."""
        examples = self.examples(annotations)
        try:
            num_batches(len(examples), self.items_a_batch, accumulate)
        except ConfigError as error:
            raise ConfigError(
                f"[train.objective] {len(found.joined.video_ids)} of the {found.joined.num_videos} videos of "
                f"{annotations.name}, split {self.split}, have features; that makes {len(examples)} examples, but an "
                f"update takes {self.items_a_batch} times accumulate = {accumulate}; lower one, or extract more"
            ) from error


class RowWindows(StageConfig):
    """How videos are cut into windows of rows whose states are looked at one by one (papers.md 2.8).

    Attributes:
        rows: of a window.
        stride: from one window to the next.
        cls_visible: whether a [CLS] token may be attended to; the published heads mask it out.
    """

    rows: int = Field(default=32, ge=1)
    stride: int = Field(default=16, ge=1)
    cls_visible: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride > self.rows:
            raise ValueError(f"stride is {self.stride}, rows {self.rows}: rows between windows would not be trained on")
        return self
