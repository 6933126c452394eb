"""Episodic few-shot training as a task: queries against shown videos, each a short sequence of states.

Source: TempCLR's video-video form (arXiv:2212.13738), whose code was not released (papers.md 3.7). What is aligned are
the encoder's states of rows, so that a few-shot evaluation of these states measures what was trained.

Letters: C classes, P shown videos of each, Q asked videos of each, V = C (P + Q), F rows of a video, R rows of all.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.losses.tempclr_steps import EpisodeLoss
from stages.training.episodes import EpisodeShape, draw_episodes
from stages.training.layout import EpochLayout, ShuffledLayout
from stages.training.objectives.base import Opening
from stages.training.objectives.episodes import EpisodesSettings
from stages.training.row_windows import uniform_places
from stages.training.sampling import sample_generator
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
from stages.training.tasks.tempclr import open_alignment
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.team import Part

EPISODE = "/episode"
"""Name of the draw of an episode; no video can have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRows:
    """One video: its windows, how many rows it has, and (F,) int64 which of them are aligned."""

    rows: WindowedRows
    num_rows: int
    aligned: Tensor

    def to(self, device: torch.device) -> "SequenceRows":
        """Return the same with its tensors on a device."""
        return SequenceRows(rows=self.rows.to(device), num_rows=self.num_rows, aligned=self.aligned.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeBatch:
    """One episode.

    Attributes:
        videos: V, class by class: first the shown ones, then the asked ones.
        seed: of the shuffled orders.
    """

    videos: tuple[SequenceRows, ...]
    seed: int

    def to(self, device: torch.device) -> "EpisodeBatch":
        """Return the batch with its tensors on a device."""
        return EpisodeBatch(videos=tuple(video.to(device) for video in self.videos), seed=self.seed)


class EpisodeSource(LaidOutSource[EpisodeBatch]):
    """Episodes, each drawn by the number of its batch."""

    def __init__(self, built: Annotated, settings: EpisodesSettings, layout: EpochLayout, *, seed: int) -> None:
        super().__init__(layout)
        self._videos, self._settings, self._seed = built.videos, settings, seed
        labelled = {item.source_id: item.label_index for item in built.annotations.labelled}
        self._source_ids = sorted(labelled)
        self._labels = np.array([labelled[source_id] for source_id in self._source_ids], dtype=np.int64)

    def batch(self, index: int, part: Part) -> EpisodeBatch:
        """See `BatchSource`."""
        settings = self._settings
        shape = EpisodeShape(ways=settings.ways, shots=settings.shots, queries=settings.queries, num_episodes=1)
        generator = sample_generator(self._seed, index, EPISODE, 0)
        drawn = draw_episodes(self._labels, shape, generator)
        order = np.concatenate([drawn.support[0], drawn.query[0]], axis=1).ravel()
        videos = tuple(self._sequence(self._source_ids[place]) for place in order.tolist())
        return EpisodeBatch(videos=videos, seed=int(generator.integers(2**63)))

    def _sequence(self, source_id: str) -> SequenceRows:
        video = self._videos[source_id]
        intact = np.flatnonzero(~video.damaged)
        aligned = intact[uniform_places(len(intact), self._settings.num_frames)]
        rows = cut_rows(video, self._settings.windows)
        return SequenceRows(rows=rows, num_rows=len(video.spans), aligned=torch.from_numpy(aligned))


class EpisodesModule(nn.Module):
    """The loss of one episode."""

    def __init__(self, scaled: ScaledEncoder, loss: EpisodeLoss, settings: EpisodesSettings) -> None:
        super().__init__()
        self.scaled, self.loss, self._settings = scaled, loss, settings

    def forward(self, batch: EpisodeBatch) -> Loss:
        """Return the loss, its two parts, and the share of queries that get their class."""
        settings = self._settings
        sequences = torch.stack([self._sequence(video) for video in batch.videos])
        by_class = sequences.view(settings.ways, -1, *sequences.shape[1:])
        support, queries = by_class[:, : settings.shots], by_class[:, settings.shots :].flatten(0, 1)
        classes = torch.arange(settings.ways, device=sequences.device).repeat_interleave(settings.queries)
        terms = self.loss(queries, support, classes, torch.Generator().manual_seed(batch.seed))
        right = (terms.logits.detach().argmax(dim=1) == classes).float().mean()
        return Loss(total=terms.total, terms={"classes": terms.classes, "sequence": terms.sequence, "accuracy": right})

    def _sequence(self, video: SequenceRows) -> Tensor:
        """States of the aligned rows, each the mean over the windows that hold it: (F, E) float32."""
        mask, places = video.rows.mask, video.rows.places
        states = states_of(self.scaled, video.rows, self._settings.windows)[mask].float()
        total = states.new_zeros(video.num_rows, states.shape[1]).index_add(0, places[mask], states)
        count = states.new_zeros(video.num_rows).index_add(0, places[mask], torch.ones_like(states[:, 0]))
        return total[video.aligned] / count[video.aligned, None]


def open_episodes(settings: EpisodesSettings, opening: Opening) -> AnnotatedTask[EpisodeBatch]:
    """Build the task; see `ObjectiveSettings.open`.

    Raises:
        ConfigError: the encoder does not fit, or a class has too few videos with an intact row.
    """
    built = open_annotated(settings, opening)
    check_length("windows.rows", settings.windows.rows, built.checkpoint.encoder.config.max_video_len)
    names = settings.examples(built.annotations)
    layout = ShuffledLayout(names, settings.items_a_batch, multiple=opening.accumulate, seed=opening.seed)
    loss = EpisodeLoss(
        open_alignment(settings.alignment),
        weight=settings.weight,
        num_negatives=settings.negatives,
        epsilon=settings.alignment.epsilon,
    )
    module = EpisodesModule(ScaledEncoder(built.checkpoint.encoder, built.scale), loss, settings)
    return AnnotatedTask(built, module, EpisodeSource(built, settings, layout, seed=opening.seed))
