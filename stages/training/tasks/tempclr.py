"""TempCLR as a task: the loss over windows, and over the sequences that the windows of a video make.

Source: TempCLR, arXiv:2212.13738, with the rules of its released code (papers.md 3.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.alignment.soft_dtw import SequenceCost, SoftDTW
from models.alignment.soft_otam import SoftOTAM
from models.losses.tempclr import (
    SequenceContrast,
    Sequences,
    TempCLRLoss,
    qualifying_sequences,
    tune_layer_norms_only,
)
from stages.errors import ConfigError
from stages.training.batches import Draw, FrameTokens, PairBatch, PairSource, collate, draw_pairs
from stages.training.layout import epoch_order
from stages.training.objectives.base import Opening
from stages.training.objectives.tempclr import AlignmentSettings, SequenceSettings, TempCLRSettings
from stages.training.sampling import sample_generator
from stages.training.task import Loss
from stages.training.tasks.layouts import open_layout
from stages.training.tasks.text_video import EncoderTask, ScaledEncoder, TextVideo, open_text_video
from stages.training.team import Part, Team

NEGATIVES = "/negatives"
"""Name of the draw of shuffled orders; no video can have it."""

MOST_TRIED = 2000
"""Videos whose draws are tried before training, to see how many qualify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceBatch:
    """The pairs of one process, and the sequences that the pairs of all make.

    Attributes:
        pairs: of this process.
        sequences: (Q, S) int64 rows of the pairs of all.
        qualified: share of the batch's videos that make one.
        seed: of the negatives.
    """

    pairs: PairBatch
    sequences: Tensor
    qualified: float
    seed: int

    def to(self, device: torch.device) -> "SequenceBatch":
        """Return the batch with its tensors on a device."""
        return SequenceBatch(
            pairs=self.pairs.to(device),
            sequences=self.sequences.to(device),
            qualified=self.qualified,
            seed=self.seed,
        )


class SequenceAssembly:
    """Makes a `SequenceBatch` of draws."""

    def __init__(self, frame: FrameTokens, settings: SequenceSettings, *, draws_per_video: int, seed: int) -> None:
        self._frame, self._settings, self._draws_per_video, self._seed = frame, settings, draws_per_video, seed

    def __call__(self, index: int, draws: Sequence[Draw], part: Part) -> SequenceBatch:
        """See `stages.training.batches.Assemble`."""
        found = sequences_of(draws, self._settings, self._draws_per_video)
        return SequenceBatch(
            pairs=collate(draws[part.of(len(draws))], self._frame),
            sequences=found.indices,
            qualified=found.rate,
            seed=int(sample_generator(self._seed, index, NEGATIVES, 0).integers(2**63)),
        )


def sequences_of(draws: Sequence[Draw], settings: SequenceSettings, draws_per_video: int) -> Sequences:
    """Choose the windows that follow one another strictly, in every video that has enough of them.

    Args:
        draws: of V videos, `draws_per_video` each, those of one video side by side.
        settings: the rule.
        draws_per_video: W.
    """
    spans = [
        (
            draw.pair.first_caption,
            draw.pair.last_caption + 1,
            float(draw.video.spans[draw.pair.start_row, 0]),
            float(draw.video.spans[draw.pair.end_row - 1, 1]),
        )
        for draw in draws
    ]
    grid = torch.tensor(spans, dtype=torch.float64).view(-1, draws_per_video, 4)
    return qualifying_sequences(grid, settings.windows, text_gap=settings.text_gap, video_gap=settings.video_gap)


class TempCLRModule(nn.Module):
    """The loss of a batch, over the pairs of all processes that share it."""

    def __init__(self, scaled: ScaledEncoder, loss: TempCLRLoss, sharers: Team) -> None:
        super().__init__()
        self.scaled, self.loss, self._sharers = scaled, loss, sharers

    def forward(self, batch: SequenceBatch) -> Loss:
        """Return the loss and its two parts, and which share of the videos had a part in the second."""
        video, text = (self._sharers.gather(vectors) for vectors in self.scaled(batch.pairs))
        terms = self.loss(video, text, batch.sequences, torch.Generator().manual_seed(batch.seed))
        qualified = torch.tensor(batch.qualified, device=video.device)
        return Loss(total=terms.total, terms={"clip": terms.clip, "sequence": terms.sequence, "qualified": qualified})


def open_tempclr(settings: TempCLRSettings, opening: Opening) -> EncoderTask[SequenceBatch]:
    """Build the task; see `ObjectiveSettings.open`."""
    built = open_text_video(settings, opening)
    require_sequences(built, settings, opening.seed)
    scaled = ScaledEncoder(built.checkpoint.encoder, built.scale)
    if settings.layer_norms_only:
        tune_layer_norms_only(scaled)
    module = TempCLRModule(scaled, open_loss(settings.sequence), opening.sharers)
    draws = settings.sampling.draws_per_video
    assembly = SequenceAssembly(
        built.checkpoint.tokenizer.framed, settings.sequence, draws_per_video=draws, seed=opening.seed
    )
    layout = open_layout(settings, built, scaled, opening)
    source = PairSource(built.videos, settings.sampling, layout, assembly, seed=opening.seed)
    return EncoderTask(built, module, source)


def open_loss(settings: SequenceSettings) -> TempCLRLoss:
    """Return the loss of the settings."""
    contrast = SequenceContrast(
        open_alignment(settings.alignment),
        num_negatives=settings.negatives,
        epsilon=settings.alignment.epsilon,
        shuffled=settings.shuffled,
    )
    return TempCLRLoss(contrast, weight=settings.weight)


def open_alignment(settings: AlignmentSettings) -> SequenceCost:
    """Return the path cost of the settings."""
    if settings.method == "otam":
        return SoftOTAM(gamma=settings.gamma)
    return SoftDTW(gamma=settings.gamma)


def require_sequences(built: TextVideo, settings: TempCLRSettings, seed: int) -> None:
    """Refuse videos none of which would qualify, before an hour is spent on training without sequences.

    Raises:
        ConfigError: none of those tried does.
    """
    by_id = {video.video_id: video for video in built.videos}
    tried = [by_id[video_id] for video_id in epoch_order(list(by_id), seed=seed, epoch=0)[:MOST_TRIED]]
    draws = draw_pairs(tried, settings.sampling, seed=seed, index=0)
    found = sequences_of(draws, settings.sequence, settings.sampling.draws_per_video)
    if not len(found.indices):
        raise ConfigError(
            f"[train.objective] none of {len(tried)} videos has sequence.windows = {settings.sequence.windows} windows "
            "that follow one another strictly among its draws, so no sequence would be trained on: lower windows, or "
            "sampling.max_rows and max_text_tokens, or raise sampling.draws_per_video"
        )
