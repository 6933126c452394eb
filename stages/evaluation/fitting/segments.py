"""What a segment network is fitted to: a few rows or frames of each item, one from each of equal parts of it.

Source: Wang et al., "Temporal Segment Networks" (arXiv:1608.00859), section 3.1.
Letters: B items, K segments, N rows or frames of an item, D width of a row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.actions.tsn import ConsensusHead
from stages.evaluation.fitting.fit import FitTask, ItemSource, fit
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.fitting.workspace import Workspace
from stages.evaluation.records import F32, I64
from stages.training.checkpoints import StepRecord
from stages.training.sampling import sample_generator
from stages.training.task import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBatch:
    """B items.

    Attributes:
        segments: (B, K, D) float32 rows, or (B, K, H, W, 3) uint8 frames.
        labels: (B,) int64.
    """

    segments: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "SegmentBatch":
        """Return the batch with its tensors on a device."""
        return SegmentBatch(segments=self.segments.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowItem:
    """Rows with one class: a video, or an annotated part of one.

    Attributes:
        num_rows: N, at least 1.
        read: places (n,) int64 in [0, N) to rows (n, D) float32; called from several threads.
        label: of the class.
    """

    num_rows: int
    read: Callable[[I64], F32]
    label: int


class SegmentLoss(nn.Module):
    """Cross entropy of a network on segments."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: SegmentBatch) -> Loss:
        """Return the loss, and how many of the batch are right."""
        logits: Tensor = self.network(batch.segments)
        right = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return Loss(total=F.cross_entropy(logits.float(), batch.labels), terms={"accuracy": right})


def drawn_places(num_items: int, num_segments: int, generator: np.random.Generator) -> I64:
    """One place of each of K equal parts of N, uniform in it: (K,) int64 ascending; of few items some come twice."""
    within = (np.arange(num_segments) + generator.random(num_segments)) * num_items / num_segments
    return np.minimum(within.astype(np.int64), num_items - 1)


def middle_places(num_items: int, num_segments: int) -> I64:
    """The middle of each of K equal parts of N: (K,) int64."""
    return ((np.arange(num_segments) + 0.5) * num_items / num_segments).astype(np.int64)


def segment_task(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[str, np.random.Generator], tuple[Tensor, int]],
    settings: FitSettings,
) -> FitTask[SegmentBatch]:
    """Make the task of fitting a network to segments.

    Args:
        network: segments to logits.
        names: of the items.
        read: an item's drawn segments and its class.
        settings: batch size and seed.
    """

    def make(index: int, chosen: Sequence[str]) -> SegmentBatch:
        drawn = [read(name, sample_generator(settings.seed, index, name, 0)) for name in chosen]
        return SegmentBatch(
            segments=torch.stack([segments for segments, _ in drawn]),
            labels=torch.tensor([label for _, label in drawn]),
        )

    source = ItemSource(names, settings.batch_size, make, seed=settings.seed)
    return FitTask(SegmentLoss(network), source)


def fit_head(
    head: ConsensusHead,
    items: Mapping[str, RowItem],
    num_segments: int,
    settings: FitSettings,
    workspace: Workspace,
) -> list[StepRecord]:
    """Fit a head to frozen rows, in place, and say how it went."""

    def read(name: str, generator: np.random.Generator) -> tuple[Tensor, int]:
        item = items[name]
        return torch.from_numpy(item.read(drawn_places(item.num_rows, num_segments, generator))), item.label

    return fit(segment_task(head, list(items), read, settings), settings, workspace)
