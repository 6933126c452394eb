"""Fine-tuning on ordered steps as a task: which step of its task a row shows, and that rows follow the steps.

Source: VideoCLIP's and TempCLR's released code for CrossTask (papers.md 2.8, 3.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.encoders.packed import Packed
from models.losses.tempclr_steps import StepSequenceLoss
from stages.datasets.records import Segment, Task
from stages.training.embedder import rows_over
from stages.training.layout import EpochLayout, ShuffledLayout
from stages.training.objectives.annotated import RowWindows
from stages.training.objectives.base import Opening
from stages.training.objectives.step_sequences import StepSequencesSettings
from stages.training.sampling import sample_generator
from stages.training.source import LaidOutSource
from stages.training.start import check_length
from stages.training.task import Loss
from stages.training.tasks.annotated import (
    Annotated,
    AnnotatedTask,
    RowsVideo,
    WindowedRows,
    cut_rows,
    open_annotated,
    packed_texts,
    states_of,
)
from stages.training.tasks.tempclr import NEGATIVES, open_alignment
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.team import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsBatch:
    """One video in its task. N counts the real rows of all its windows, one window after the other.

    Attributes:
        rows: its windows.
        steps: packed texts of the S steps of the task.
        targets: (N, S) bool, which steps a row shows.
        order: (n,) int64 steps as annotated, in the order of time.
        seed: of the shuffled orders.
    """

    rows: WindowedRows
    steps: Packed
    targets: Tensor
    order: Tensor
    seed: int

    def to(self, device: torch.device) -> "StepsBatch":
        """Return the batch with its tensors on a device; the order stays where it is read."""
        return StepsBatch(
            rows=self.rows.to(device),
            steps=self.steps.to(device),
            targets=self.targets.to(device),
            order=self.order,
            seed=self.seed,
        )


class StepsSource(LaidOutSource[StepsBatch]):
    """A video a batch."""

    def __init__(self, built: Annotated, windows: RowWindows, layout: EpochLayout, *, seed: int) -> None:
        super().__init__(layout)
        self._built, self._windows, self._seed = built, windows, seed
        self._tasks: Mapping[str, Task] = {task.task_id: task for task in built.annotations.tasks}
        self._segments: dict[str, list[Segment]] = {}
        for segment in built.annotations.segments:
            self._segments.setdefault(f"{segment.group}/{segment.source_id}", []).append(segment)

    def batch(self, index: int, part: Part) -> StepsBatch:
        """See `BatchSource`."""
        (name,) = self._names(index)
        segments = self._segments[name]
        task, video = self._tasks[segments[0].group], self._built.videos[segments[0].source_id]
        rows = cut_rows(video, self._windows)
        shown = shown_steps(video, segments, len(task.steps))
        in_time = sorted(segments, key=lambda segment: (segment.start_s, segment.index))
        return StepsBatch(
            rows=rows,
            steps=packed_texts(self._built.checkpoint, task.steps),
            targets=torch.from_numpy(shown)[rows.places[rows.mask]],
            order=torch.tensor([segment.label_index for segment in in_time]),
            seed=int(sample_generator(self._seed, index, NEGATIVES, 0).integers(2**63)),
        )


def shown_steps(video: RowsVideo, segments: Sequence[Segment], num_steps: int) -> np.ndarray:
    """Return which steps each row of a video shows: (N, S) bool; a row that a segment touches belongs to it."""
    shown = np.zeros((len(video.spans), num_steps), dtype=bool)
    for segment in segments:
        ((start, end),) = rows_over(video.spans, np.array([[segment.start_s, segment.end_s]])).tolist()
        shown[start:end, segment.label_index] = True
    return shown


class StepSequencesModule(nn.Module):
    """The loss of one video; rows that two windows hold count twice, as published."""

    def __init__(self, scaled: ScaledEncoder, loss: StepSequenceLoss, windows: RowWindows) -> None:
        super().__init__()
        self.scaled, self.loss, self._windows = scaled, loss, windows

    def forward(self, batch: StepsBatch) -> Loss:
        """Return the loss and its two parts."""
        frames = states_of(self.scaled, batch.rows, self._windows)[batch.rows.mask]
        steps = self.scaled.encoder.encode_packed_text(batch.steps)
        terms = self.loss(frames, steps, batch.targets, batch.order, torch.Generator().manual_seed(batch.seed))
        return Loss(total=terms.total, terms={"frames": terms.frames, "sequence": terms.sequence})


def open_step_sequences(settings: StepSequencesSettings, opening: Opening) -> AnnotatedTask[StepsBatch]:
    """Build the task; see `ObjectiveSettings.open`."""
    built = open_annotated(settings, opening)
    check_length("windows.rows", settings.windows.rows, built.checkpoint.encoder.config.max_video_len)
    loss = StepSequenceLoss(
        open_alignment(settings.alignment),
        weight=settings.weight,
        num_negatives=settings.negatives,
        frames_per_step=settings.frames_per_step,
        inner_shuffling=settings.inner_shuffling,
        epsilon=settings.alignment.epsilon,
    )
    module = StepSequencesModule(ScaledEncoder(built.checkpoint.encoder, built.scale), loss, settings.windows)
    names = settings.examples(built.annotations)
    layout = ShuffledLayout(names, settings.items_a_batch, multiple=opening.accumulate, seed=opening.seed)
    return AnnotatedTask(built, module, StepsSource(built, settings.windows, layout, seed=opening.seed))
