"""What a proposal network is fitted to: sequences of equal steps, and where actions lie in them.

Letters: B videos, C channels, T steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from models.actions.bmn import Bmn
from models.losses.bmn import BmnLoss, BmnTargets
from stages.evaluation.fitting.fit import FitTask, ItemSource, fit
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.fitting.workspace import Workspace
from stages.evaluation.proposal_targets import proposal_targets
from stages.evaluation.records import F32, F64
from stages.training.checkpoints import StepRecord
from stages.training.sampling import sample_generator
from stages.training.task import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceItem:
    """One video.

    Attributes:
        steps: (T, C) float32.
        actions: (G, 2) float64 shares of the video.
    """

    steps: F32 = field(repr=False)
    actions: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalBatch:
    """B videos.

    Attributes:
        steps: (B, C, T) float32.
        targets: of the videos.
        draws: (B, T, T) float32 in [0, 1).
    """

    steps: Tensor
    targets: BmnTargets
    draws: Tensor

    def to(self, device: torch.device) -> "ProposalBatch":
        """Return the batch with its tensors on a device."""
        targets = BmnTargets(*(part.to(device) for part in self.targets))
        return ProposalBatch(steps=self.steps.to(device), targets=targets, draws=self.draws.to(device))


class ProposalLoss(nn.Module):
    """BMN's loss of a batch."""

    def __init__(self, network: Bmn) -> None:
        super().__init__()
        self.network = network
        self.loss = BmnLoss()

    def forward(self, batch: ProposalBatch) -> Loss:
        """Return the loss and its parts."""
        terms = self.loss(self.network(batch.steps), batch.targets, batch.draws)
        parts = {name: value.detach() for name, value in terms._asdict().items() if name != "total"}
        return Loss(total=terms.total, terms=parts)


def fit_proposals(
    network: Bmn, items: Mapping[str, SequenceItem], settings: FitSettings, workspace: Workspace
) -> list[StepRecord]:
    """Fit a network to videos, in place, and say how it went."""
    num_steps = network.size.num_steps

    def make(index: int, chosen: Sequence[str]) -> ProposalBatch:
        targets = [proposal_targets(items[name].actions, num_steps) for name in chosen]
        parts = (torch.from_numpy(np.stack(part)).float() for part in zip(*targets, strict=True))
        generators = (sample_generator(settings.seed, index, name, 0) for name in chosen)
        draws = np.stack([generator.random((num_steps, num_steps), dtype=np.float32) for generator in generators])
        steps = np.stack([items[name].steps.T for name in chosen])
        return ProposalBatch(steps=torch.from_numpy(steps), targets=BmnTargets(*parts), draws=torch.from_numpy(draws))

    source = ItemSource(list(items), settings.batch_size, make, seed=settings.seed)
    return fit(FitTask(ProposalLoss(network), source), settings, workspace)
