"""Fine-tuning a head that labels every row as a task.

Source: VideoCLIP's released code for COIN (papers.md 2.1, 2.8): a linear layer on the states of rows, cross entropy
over all windows of a video, the background among the labels.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.build import with_head
from stages.datasets.records import Segment
from stages.errors import ConfigError
from stages.training.layout import EpochLayout, ShuffledLayout
from stages.training.objectives.annotated import RowWindows
from stages.training.objectives.base import Opening
from stages.training.objectives.step_labels import StepLabelsSettings
from stages.training.row_windows import row_targets
from stages.training.source import LaidOutSource
from stages.training.start import check_length
from stages.training.task import Loss
from stages.training.tasks.annotated import (
    Annotated,
    AnnotatedTask,
    WindowedRows,
    cut_rows,
    open_annotated,
    states_of,
)
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.team import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVideo:
    """The windows of one video, and (W, T) int64 labels of their rows."""

    rows: WindowedRows
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelBatch:
    """The videos of a batch."""

    videos: tuple[LabelledVideo, ...]

    def to(self, device: torch.device) -> "LabelBatch":
        """Return the batch with its tensors on a device."""
        return LabelBatch(
            videos=tuple(LabelledVideo(rows=v.rows.to(device), labels=v.labels.to(device)) for v in self.videos)
        )


class LabelSource(LaidOutSource[LabelBatch]):
    """Batches of whole videos."""

    def __init__(self, built: Annotated, windows: RowWindows, layout: EpochLayout) -> None:
        super().__init__(layout)
        self._videos, self._windows = built.videos, windows
        self._segments: dict[str, list[Segment]] = {source_id: [] for source_id in built.videos}
        for segment in built.annotations.segments:
            self._segments[segment.source_id].append(segment)

    def batch(self, index: int, part: Part) -> LabelBatch:
        """See `BatchSource`."""
        names = self._names(index)
        return LabelBatch(videos=tuple(self._video(name) for name in names[part.of(len(names))]))

    def _video(self, source_id: str) -> LabelledVideo:
        video = self._videos[source_id]
        rows = cut_rows(video, self._windows)
        targets = torch.from_numpy(row_targets(video.spans, self._segments[source_id]))
        return LabelledVideo(rows=rows, labels=targets[rows.places])


class StepLabelsModule(nn.Module):
    """Cross entropy over the real rows of all windows of a batch."""

    def __init__(self, scaled: ScaledEncoder, windows: RowWindows) -> None:
        super().__init__()
        self.scaled, self._windows = scaled, windows

    def forward(self, batch: LabelBatch) -> Loss:
        """Return the loss, and the share of rows that are labelled right."""
        states = torch.cat([states_of(self.scaled, v.rows, self._windows)[v.rows.mask] for v in batch.videos])
        labels = torch.cat([video.labels[video.rows.mask] for video in batch.videos])
        logits = self.scaled.encoder.label_logits(states).float()
        right = (logits.detach().argmax(dim=1) == labels).float().mean()
        return Loss(total=F.cross_entropy(logits, labels), terms={"accuracy": right})


def open_step_labels(settings: StepLabelsSettings, opening: Opening) -> AnnotatedTask[LabelBatch]:
    """Build the task; see `ObjectiveSettings.open`.

    Raises:
        ConfigError: the encoder does not fit, or the data set has more labels than the head.
    """
    built = open_annotated(settings, opening)
    check_length("windows.rows", settings.windows.rows, built.checkpoint.encoder.config.max_video_len)
    highest = max(step.index for step in built.annotations.steps)
    num_labels = settings.num_labels or highest + 1
    if highest >= num_labels:
        raise ConfigError(f"[train.objective] num_labels is {num_labels}, but the data set has a step {highest}")
    try:
        encoder = with_head(built.checkpoint.encoder, num_labels, opening.seed)
    except ValueError as error:
        raise ConfigError(f"[train] start: {error}") from error
    built = replace(built, checkpoint=replace(built.checkpoint, encoder=encoder))
    module = StepLabelsModule(ScaledEncoder(encoder, built.scale), settings.windows)
    labelled = sorted({segment.source_id for segment in built.annotations.segments})
    layout = ShuffledLayout(labelled, settings.batch_videos, multiple=opening.accumulate, seed=opening.seed)
    return AnnotatedTask(built, module, LabelSource(built, settings.windows, layout))
