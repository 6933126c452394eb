"""VideoCLIP as a task: both towers, the loss over all pairs of a batch, and batches of similar videos.

Source: VideoCLIP, arXiv:2109.14084. Departs in one option: features may be standardised (see `stages.training.scale`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.losses.videoclip import VideoCLIPLoss
from stages.training.batches import Draw, FrameTokens, PairBatch, PairSource, collate
from stages.training.objectives.base import Opening
from stages.training.objectives.videoclip import VideoCLIPSettings
from stages.training.task import Loss
from stages.training.tasks.layouts import open_layout
from stages.training.tasks.text_video import EncoderTask, ScaledEncoder, open_text_video
from stages.training.team import Part, Team


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastBatch:
    """The pairs of one process, and who owns the pairs of all.

    Attributes:
        pairs: P of this process.
        owners: (P of all,) int64, number of the video in the batch; None where pairs of one video are negatives, too.
    """

    pairs: PairBatch
    owners: Tensor | None

    def to(self, device: torch.device) -> "ContrastBatch":
        """Return the batch with its tensors on a device."""
        owners = None if self.owners is None else self.owners.to(device)
        return ContrastBatch(pairs=self.pairs.to(device), owners=owners)


def owners_of(draws: Sequence[Draw]) -> Tensor:
    """Number the videos of draws in the order in which they come: (P,) int64."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(draw.video.video_id, len(numbers)) for draw in draws])


class ContrastAssembly:
    """Makes a `ContrastBatch` of draws."""

    def __init__(self, frame: FrameTokens, *, same_video_negatives: bool) -> None:
        self._frame, self._same_video_negatives = frame, same_video_negatives

    def __call__(self, index: int, draws: Sequence[Draw], part: Part) -> ContrastBatch:
        """See `stages.training.batches.Assemble`."""
        owners = None if self._same_video_negatives else owners_of(draws)
        return ContrastBatch(pairs=collate(draws[part.of(len(draws))], self._frame), owners=owners)


class VideoCLIPModule(nn.Module):
    """The loss of a batch of pairs, over the pairs of all processes that share it."""

    def __init__(self, scaled: ScaledEncoder, loss: VideoCLIPLoss, sharers: Team) -> None:
        super().__init__()
        self.scaled, self.loss, self._sharers = scaled, loss, sharers

    def forward(self, batch: ContrastBatch) -> Loss:
        """Return the loss."""
        video, text = (self._sharers.gather(vectors) for vectors in self.scaled(batch.pairs))
        return Loss(total=self.loss(video, text, batch.owners))


def open_videoclip(settings: VideoCLIPSettings, opening: Opening) -> EncoderTask[ContrastBatch]:
    """Build the task; see `ObjectiveSettings.open`."""
    built = open_text_video(settings, opening)
    scaled = ScaledEncoder(built.checkpoint.encoder, built.scale)
    loss = VideoCLIPLoss(directions=settings.directions, reduction=settings.reduction)
    module = VideoCLIPModule(scaled, loss, opening.sharers)
    assembly = ContrastAssembly(built.checkpoint.tokenizer.framed, same_video_negatives=settings.same_video_negatives)
    layout = open_layout(settings, built, scaled, opening)
    source = PairSource(built.videos, settings.sampling, layout, assembly, seed=opening.seed)
    return EncoderTask(built, module, source)
