"""What the objectives share that train an encoder of windows and texts on features and narrations."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.artifacts.hashing import fingerprint, hash_file
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.training.dataset import NarrationsByVideo, TimedText, unit_entries
from stages.training.layout import num_batches
from stages.training.objectives.base import Material, ObjectiveSettings, TrainSplit
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes


class TextVideoSettings(ObjectiveSettings):
    """Encoder, features and pairs; the defaults are VideoCLIP's.

    Attributes:
        backbone: whose features the video tower reads.
        bert: folder of a BERT in the hub's layout to start from; None starts from random weights, with a tokenizer
            that is trained on the narrations. With `train.start`, neither is.
        encoder: sizes; those of a checkpoint or a BERT stand instead where it has them.
        standardise_features: train on features whose components are put on one scale; what is saved holds it folded
            in. The published training does not; without it, features of random weights teach nothing.
        batch_videos: videos in a batch.
        sampling: pairs of a video.
        retrieval: batches of similar videos; without this table, every batch is drawn from all.
    """

    not_in_identity: ClassVar[Mapping[str, Any]] = {"bert": True}

    backbone: Literal["s3d", "clip"] = "s3d"
    bert: Path | None = None
    encoder: EncoderSizes = EncoderSizes()
    standardise_features: bool = True
    batch_videos: int = Field(default=32, ge=1)
    sampling: OverlapSampling = OverlapSampling()
    retrieval: RetrievalSettings | None = None

    @model_validator(mode="after")
    def _samples_fit_the_towers(self) -> "TextVideoSettings":
        """Refuse samples that a tower cannot take."""
        for drawn, taken in (("max_rows", "max_video_len"), ("kept_text_tokens", "max_text_len")):
            got, most = getattr(self.sampling, drawn), getattr(self.encoder, taken)
            if got > most:
                raise ValueError(f"sampling.{drawn} is {got}, but encoder.{taken} is {most}; lower the one")
        if self.items_a_batch < 2:
            raise ValueError("a batch of one pair has no negatives; raise batch_videos or sampling.draws_per_video")
        return self

    @property
    def encoder_backbone(self) -> Literal["s3d", "clip"]:
        """See `ObjectiveSettings`."""
        return self.backbone

    def check_files(self) -> None:
        """See `ObjectiveSettings`."""
        check_folder(self.bert)

    def least_narrated(self, accumulate: int) -> int:
        """See `ObjectiveSettings`."""
        return self.batch_videos * accumulate

    @property
    def items_a_batch(self) -> int:
        """Pairs."""
        return self.batch_videos * self.sampling.draws_per_video

    @property
    def features(self) -> str:
        """Label of the features."""
        return f"features.{self.backbone}"

    @property
    def reads(self) -> tuple[str, ...]:
        """See `ObjectiveSettings`."""
        return (self.features, "paragraphs")

    def plan(self, inputs: Inputs, split: TrainSplit, *, accumulate: int) -> Material:
        """Take the narrated videos of the split that have features."""
        narrations = NarrationsByVideo(inputs["paragraphs"])
        narrated = [video_id for video_id in split.video_ids if video_id in narrations]
        features = inputs[self.features]
        by_unit = {record.fingerprint: unit_entries(features, record, self.backbone) for record in features.records}
        members = sorted(set(narrated) & {video_id for entries in by_unit.values() for video_id in entries})
        self._check(split, len(narrated), len(members), accumulate)
        identity = {
            "bert": content_of_folder(self.bert),
            "features": sorted(name for name, entries in by_unit.items() if not entries.keys().isdisjoint(members)),
            "videos": fingerprint(members),
            "narrations": fingerprint([fingerprint(_rows(narrations[video_id])) for video_id in members]),
        }
        return Material(video_ids=members, identity=identity)

    def _check(self, split: TrainSplit, num_narrated: int, num_members: int, accumulate: int) -> None:
        """Refuse what could not train."""
        if not num_narrated:
            raise ConfigError(
                f"[train] none of the {len(split.video_ids)} videos of the train split (by {split.source}) has a "
                "narration; give captions ([align] captions), or set encoder = 's3d-text', which needs no training"
            )
        try:
            num_batches(num_members, self.batch_videos, accumulate)
        except ConfigError as error:
            raise ConfigError(
                f"[train] {num_members} of the {num_narrated} narrated videos of the train split (by {split.source}) "
                f"have features, but an update takes batch_videos = {self.batch_videos} times accumulate = "
                f"{accumulate}; lower one, or add videos"
            ) from error


def check_folder(folder: Path | None) -> None:
    """Refuse a model's folder that is not there; None is none.

    Raises:
        ConfigError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"[train.objective] {folder}: there is no such folder; expected that of a model")


def content_of_folder(folder: Path | None) -> Mapping[str, str]:
    """Hash of each file of a model's folder by its path in there; nothing for None.

    Raises:
        ConfigError: there is no such folder.
    """
    check_folder(folder)
    if folder is None:
        return {}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def _rows(narrations: Iterable[TimedText]) -> Sequence[Any]:
    return [[row.start_s, row.end_s, row.text] for row in narrations]
