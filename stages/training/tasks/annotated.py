"""What the fine-tuning tasks share: the encoder that they begin with, and the rows of a data set's videos.

Letters: W windows, T rows of the longest, D feature width, E joint width, N rows of a video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoders.checkpoint import DualCheckpoint
from models.encoders.packed import Packed, pack
from stages.datasets.records import Annotations
from stages.errors import ConfigError
from stages.training.batches import pad_windows
from stages.training.dataset import FeatureEntry, feature_entries
from stages.training.objectives.annotated import AnnotatedSettings, RowWindows
from stages.training.objectives.base import Opening
from stages.training.row_windows import row_windows
from stages.training.scale import Standardise, measure_scale, sample_videos
from stages.training.start import check_width, open_start
from stages.training.task import BatchT
from stages.training.tasks.text_video import EncoderTask, ScaledEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsVideo:
    """One video of a data set.

    Attributes:
        video_id: of the manifest.
        entry: where its features lie.
        spans: (N, 2) float64 seconds.
        damaged: (N,) bool, not everywhere True.
    """

    video_id: str
    entry: FeatureEntry
    spans: NDArray[np.float64]
    damaged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """What a task is built of.

    Attributes:
        checkpoint: the encoder before its first step; training changes it in place.
        annotations: of the videos below.
        videos: those that have an intact row, by source id.
        scale: what features are standardised with.
        facts: what a checkpoint says of the training.
    """

    checkpoint: DualCheckpoint
    annotations: Annotations
    videos: Mapping[str, RowsVideo]
    scale: Standardise
    facts: Mapping[str, Any]

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos."""
        return sorted({video.video_id for video in self.videos.values()})


class AnnotatedTask(EncoderTask[BatchT]):
    """Fine-tunes an encoder on a data set."""

    unused = ("no_intact_row", "all of its feature rows are damaged")


def open_annotated(settings: AnnotatedSettings, opening: Opening) -> Annotated:
    """Read the annotations, find the videos' features, and open the encoder that training begins with.

    Raises:
        ConfigError: the encoder cannot be read, or reads other features; or no video has an intact row.
    """
    assert opening.start is not None  # TrainConfig asks for it
    checkpoint = open_start(opening.start, opening.tokenizer)
    features = opening.artifacts[settings.features]
    usable: Mapping[str, str] = opening.payload["usable"]
    annotations = settings.read(usable)
    entries = feature_entries(features, settings.backbone)
    source_ids = dict.fromkeys(video.source_id for video in annotations.videos)
    found = {source_id: _rows(usable[source_id], entries[usable[source_id]]) for source_id in source_ids}
    videos = {source_id: video for source_id, video in found.items() if not video.damaged.all()}
    if not videos:
        raise ConfigError(f"train: none of {len(found)} videos of the data set has an intact feature row")
    first = next(iter(videos.values()))
    check_width(checkpoint.encoder, first.video_id, first.entry)
    linear, measured = checkpoint.encoder.feature_layer, None
    if settings.standardise_features:
        measured = measure_scale(sample_videos(list(videos.values()), opening.seed))
    scale = Standardise(measured, linear.in_features)
    scale.unfold_from(linear)
    facts = {
        "start_weights": checkpoint.start_weights,
        "preset": features.about["preset"]["name"],
        "dataset": annotations.name,
    }
    return Annotated(
        checkpoint=checkpoint, annotations=annotations.only(videos), videos=videos, scale=scale, facts=facts
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowedRows:
    """Windows of rows whose states are looked at one by one.

    Attributes:
        features: (W, T, D) float32, damaged rows zeroed.
        mask: (W, T) bool, True where a row is there and intact.
        places: (W, T) int64, the row of the video; 0 where there is none.
    """

    features: Tensor
    mask: Tensor
    places: Tensor

    def to(self, device: torch.device) -> "WindowedRows":
        """Return the same with its tensors on a device."""
        return WindowedRows(
            features=self.features.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            places=self.places.to(device, non_blocking=True),
        )


def cut_rows(video: RowsVideo, windows: RowWindows) -> WindowedRows:
    """Read a video in windows of rows; one without an intact row is left out."""
    ranges = row_windows(len(video.spans), windows.rows, windows.stride).tolist()
    kept = [(start, end) for start, end in ranges if not video.damaged[start:end].all()]
    rows = np.where(video.damaged[:, None], np.float32(0), np.asarray(video.entry.map_features(), np.float32))
    features, mask = pad_windows([rows[start:end] for start, end in kept], max(end - start for start, end in kept))
    places = torch.zeros(mask.shape, dtype=torch.int64)
    for window, (start, end) in enumerate(kept):
        mask[window, : end - start] = torch.from_numpy(~video.damaged[start:end])
        places[window, : end - start] = torch.arange(start, end)
    return WindowedRows(features=features, mask=mask, places=places)


def states_of(scaled: ScaledEncoder, rows: WindowedRows, windows: RowWindows) -> Tensor:
    """Encode every row in the context of its window -> (W, T, E) float."""
    features = scaled.scale(rows.features)
    return scaled.encoder.encode_video_states(features, rows.mask, cls_visible=windows.cls_visible)


def packed_texts(checkpoint: DualCheckpoint, texts: Sequence[str]) -> Packed:
    """Tokenise texts and lay them end to end."""
    tokenizer = checkpoint.tokenizer
    return pack([torch.tensor(tokenizer.framed(ids)) for ids in tokenizer.pieces_of(texts)])


def _rows(video_id: str, entry: FeatureEntry) -> RowsVideo:
    return RowsVideo(video_id=video_id, entry=entry, spans=entry.read_spans(), damaged=entry.read_damaged())
