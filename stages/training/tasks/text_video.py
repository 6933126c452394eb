"""What the tasks share that train an encoder of windows and texts: videos, tokenizer, start weights, encoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.encoders.checkpoint import DualCheckpoint, save_dual
from models.encoders.dual import TwoWayEncoder
from models.encoders.tokenizer import CaptionTokenizer
from stages.errors import ConfigError
from stages.training.batches import PairBatch
from stages.training.dataset import NarrationsByVideo, TimedText, TrainingVideo, feature_entries, join_videos
from stages.training.objectives.base import Opening
from stages.training.objectives.text_video import TextVideoSettings
from stages.training.scale import Standardise, measure_scale, sample_videos
from stages.training.start import check_length, check_width, open_start, open_tokenizer, start_checkpoint
from stages.training.task import BatchSource, BatchT, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TextVideo:
    """What a task is built of.

    Attributes:
        checkpoint: the encoder before its first step; training changes it in place.
        videos: what can be drawn from, by id.
        narrations: what was said, by video id; `captions.narrations` of a video counts in them.
        scale: what its features are standardised with.
        facts: what a checkpoint says of the training.
    """

    checkpoint: DualCheckpoint
    videos: Sequence[TrainingVideo]
    narrations: Mapping[str, Sequence[TimedText]]
    scale: Standardise
    facts: Mapping[str, Any]

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos."""
        return [video.video_id for video in self.videos]


def open_text_video(settings: TextVideoSettings, opening: Opening) -> TextVideo:
    """Join the videos with their narrations and make the encoder that training begins with.

    Raises:
        ConfigError: no video has a usable narration, or the weights cannot be read or do not fit.
    """
    wanted = set(opening.video_ids)
    features = opening.artifacts[settings.features]
    entries = {k: v for k, v in feature_entries(features, settings.backbone).items() if k in wanted}
    narrations = NarrationsByVideo(opening.artifacts["paragraphs"])
    started = open_start(opening.start, opening.tokenizer) if opening.start else None
    sentences = (row.text for video_id in opening.video_ids for row in narrations[video_id])
    tokenizer = started.tokenizer if started else open_tokenizer(settings.encoder, sentences, bert=settings.bert)
    videos = join_videos(entries, narrations, tokenizer.pieces_of, settings.sampling)
    if not videos:
        raise ConfigError(f"train: none of {len(wanted)} narrated videos has an intact feature row where it is told")
    checkpoint = started or _begin_anew(settings, tokenizer, videos, opening.seed)
    check_fit(checkpoint.encoder, settings, videos[0])
    measured = measure_scale(sample_videos(videos, opening.seed)) if settings.standardise_features else None
    linear = checkpoint.encoder.feature_layer
    scale = Standardise(measured, linear.in_features)
    if started:  # it reads features as they are
        scale.unfold_from(linear)
    facts = {"start_weights": checkpoint.start_weights, "preset": features.about["preset"]["name"]}
    return TextVideo(checkpoint=checkpoint, videos=videos, narrations=narrations, scale=scale, facts=facts)


def check_fit(encoder: TwoWayEncoder, settings: TextVideoSettings, video: TrainingVideo) -> None:
    """Refuse features and samples that the encoder does not take.

    Raises:
        ConfigError: the features have another width, or windows more rows.
    """
    check_width(encoder, video.video_id, video.entry)
    check_length("sampling.max_rows", settings.sampling.max_rows, encoder.config.max_video_len)
    check_length("sampling.kept_text_tokens", settings.sampling.kept_text_tokens, encoder.config.max_text_len)


def _begin_anew(
    settings: TextVideoSettings, tokenizer: CaptionTokenizer, videos: Sequence[TrainingVideo], seed: int
) -> DualCheckpoint:
    width = videos[0].entry.map_features().shape[1]
    return start_checkpoint(
        settings.encoder, tokenizer, settings.backbone, feature_dim=width, bert=settings.bert, seed=seed
    )


class PairEncoder(nn.Module, ABC):
    """Encodes both sides of pairs.

    Attributes:
        dim: width of a vector.
    """

    dim: int

    @abstractmethod
    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Return the vectors of windows and texts, (P, dim) each."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device


class ScaledEncoder(PairEncoder):
    """An encoder on features that are put on one scale."""

    def __init__(self, encoder: TwoWayEncoder, scale: Standardise) -> None:
        super().__init__()
        self.encoder, self.scale = encoder, scale
        self.dim = encoder.config.hidden_size

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """See `PairEncoder`."""
        return self.encoder.encode_packed_video(self.scale.packed(batch.windows)), self.encoder.encode_packed_text(
            batch.texts
        )

    def fold(self) -> None:
        """Let the encoder take features as they are; once, after training."""
        self.scale.fold_into(self.encoder.feature_layer)


class BuiltEncoder(Protocol):
    """What a task is built of that trains an encoder."""

    @property
    def checkpoint(self) -> DualCheckpoint:
        """The encoder that is trained."""

    @property
    def video_ids(self) -> list[str]:
        """Of the videos that it is trained on."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a checkpoint says of the training."""


class EncoderTask(Task[BatchT]):
    """A task that trains an encoder, and saves it so that it takes features as they are."""

    def __init__(self, built: BuiltEncoder, module: nn.Module, source: BatchSource[BatchT]) -> None:
        """Join what was built.

        Args:
            built: the checkpoint that is trained.
            module: gives the loss; its `scaled` is the `ScaledEncoder` of the checkpoint.
            source: its batches.
        """
        self._checkpoint = built.checkpoint
        self.module, self.source = module, source
        self.video_ids, self.facts = built.video_ids, built.facts

    def save(self, folder: Path, training: Mapping[str, Any]) -> None:
        """See `Task`."""
        scaled = self.module.scaled
        assert isinstance(scaled, ScaledEncoder)
        scaled.cpu().fold()
        save_dual(self._checkpoint, folder, training=training)
