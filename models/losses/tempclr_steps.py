"""TempCLR's other two forms: CrossTask's step sequences with inner shuffling, and few-shot video against video.

Source: arXiv:2212.13738 and its released code for CrossTask (papers.md 3.5). The few-shot code was never released; its
episode follows the code base that TempCLR's helpers come from (papers.md 3.7), the contrast term is ours.

Letters: T frames of a video, S steps of its task, A steps of its sequence, M kept frames, K negatives, E joint width;
Q queries, C classes, P shots of a class, L clips of a video in an episode.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.alignment.soft_dtw import SequenceCost, SoftDTW
from models.alignment.soft_otam import SoftOTAM
from models.losses.precision import full_precision
from models.losses.tempclr import EPSILON, NUM_NEGATIVES, SequenceContrast, contrast, cosine_similarity, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTerms:
    """The total and its parts, () float32 each; `sequence` is a constant 0 where there is none."""

    total: Tensor
    frames: Tensor
    sequence: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeTerms:
    """The total and its parts, () float32 each, and the (Q, C) logits."""

    total: Tensor
    classes: Tensor
    sequence: Tensor
    logits: Tensor


def shuffled_steps(steps: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draw permutations that read differently: (A,) int64 step ids -> (num, A) int64 positions.

    A draw is repeated while its ids equal the original's; two draws may be equal, as in the released code.

    Raises:
        ValueError: All ids are equal, so no order differs.
    """
    if bool((steps == steps[0]).all()):
        raise ValueError(f"steps: got {steps.tolist()}, expected at least two different ids")
    drawn: list[Tensor] = []
    while len(drawn) < num:
        order = torch.randperm(len(steps), generator=generator)
        if not torch.equal(steps[order], steps):
            drawn.append(order)
    return torch.stack(drawn)


def shuffled_within_runs(labels: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Draw orders that mix frames only inside runs of equal labels: (M,) int64 -> (num, M) int64 positions."""
    runs = torch.unique_consecutive(labels, return_inverse=True)[1]
    keys = runs + torch.rand(num, len(labels), generator=generator, dtype=torch.float64)
    orders: Tensor = keys.argsort(dim=1)
    return orders


class StepSequenceLoss(nn.Module):
    """CrossTask: which step each frame shows, and that the frames follow the steps' order.

    Total: (1 - weight) * binary cross entropy + weight * sequence contrast. The second is 0 in eval mode and where
    fewer than 2 steps or 2 labelled frames are left.

    Args:
        alignment: Path cost of a matrix; None takes soft-DTW with gamma 0.1.
        weight: Of the contrast, in [0, 1].
        num_negatives: K.
        frames_per_step: At most so many frames for each step of the sequence are kept.
        inner_shuffling: In negatives, also mix the frames inside each run of one label.
        epsilon: In the denominator of the cosine.
    """

    def __init__(
        self,
        alignment: SequenceCost | None = None,
        *,
        weight: float = 0.12,
        num_negatives: int = NUM_NEGATIVES,
        frames_per_step: int = 10,
        inner_shuffling: bool = True,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self.alignment: SequenceCost = SoftDTW() if alignment is None else alignment
        self.weight, self.num_negatives, self.epsilon = weight, num_negatives, epsilon
        self.frames_per_step, self.inner_shuffling = frames_per_step, inner_shuffling

    def forward(
        self, frames: Tensor, steps: Tensor, targets: Tensor, order: Tensor, generator: torch.Generator
    ) -> StepTerms:
        """Return the loss of one video and its parts.

        Args:
            frames: (T, E) float states; those of overlapping windows may simply follow one another.
            steps: (S, E) float, pooled texts of the task's steps.
            targets: (T, S) multi-hot, bool or 0 and 1.
            order: (n,) int64 step ids in annotated order; repeats that follow one another count once.
            generator: Draws the negatives, on the CPU.

        Raises:
            ValueError: The shapes do not fit.
        """
        if targets.shape != (len(frames), len(steps)):
            raise ValueError(
                f"targets: got {tuple(targets.shape)}, expected {(len(frames), len(steps))} (frames, steps)"
            )
        with full_precision(frames):
            logits = frames.float() @ steps.float().T
        per_frame = F.binary_cross_entropy_with_logits(logits, targets.float())
        sequence = self.sequence(frames, steps, targets, order, generator) if self.training else logits.new_zeros(())
        total = (1.0 - self.weight) * per_frame + self.weight * sequence
        return StepTerms(total=total, frames=per_frame, sequence=sequence)

    def sequence(
        self, frames: Tensor, steps: Tensor, targets: Tensor, order: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the contrast alone; arguments as in `forward`."""
        collapsed = torch.unique_consecutive(order.cpu())
        labelled = targets.bool().any(dim=1).nonzero()[:, 0].cpu()
        if len(collapsed) < 2 or len(labelled) < 2:
            return torch.zeros((), device=frames.device)
        kept = labelled[spread(len(labelled), min(len(labelled), self.frames_per_step * len(collapsed)))]
        labels = (targets.cpu()[kept].int().cumsum(dim=1) == 0).sum(dim=1)  # the lowest step id of a frame wins
        distance = 1.0 - cosine_similarity(steps[collapsed], frames[kept], self.epsilon)
        rows = shuffled_steps(collapsed, self.num_negatives, generator)
        columns = torch.arange(len(kept)).expand(self.num_negatives, -1)
        if self.inner_shuffling:
            columns = shuffled_within_runs(labels, self.num_negatives, generator)
        negatives = distance[rows[:, :, None], columns[:, None, :]]
        return contrast(torch.cat((distance[None], negatives))[None], self.alignment)


def episode_logits(queries: Tensor, support: Tensor, alignment: SequenceCost, epsilon: float = EPSILON) -> Tensor:
    """Score queries against classes: minus the mean path cost over a class's shots.

    Args:
        queries: (Q, L, E) float.
        support: (C, P, L, E) float.
        alignment: Path cost of a matrix.
        epsilon: In the denominator of the cosine.

    Returns:
        (Q, C), greater is better.
    """
    shots = support.flatten(0, 1)
    distance = 1.0 - cosine_similarity(queries[:, None], shots[None], epsilon)
    costs = alignment(distance.flatten(0, 1))
    return -costs.view(len(queries), *support.shape[:2]).mean(dim=2)


class EpisodeLoss(nn.Module):
    """Few-shot: classify queries by alignment to the shots, and tell a shot's true order from shuffled ones.

    Total: (1 - weight) * cross entropy over classes + weight * sequence contrast of every query with each shot of its
    class, the shot's order broken.

    Args:
        alignment: Path cost of a matrix; None takes OTAM in both orientations with gamma 0.1.
        weight: Of the contrast, in [0, 1]; the paper's is unknown, 0.7 is the one of its pre-training.
        num_negatives: K.
        epsilon: In the denominator of the cosine.
    """

    def __init__(
        self,
        alignment: SequenceCost | None = None,
        *,
        weight: float = 0.7,
        num_negatives: int = NUM_NEGATIVES,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        chosen: SequenceCost = SoftOTAM() if alignment is None else alignment
        self.contrast = SequenceContrast(chosen, num_negatives=num_negatives, epsilon=epsilon)
        self.weight = weight

    def forward(self, queries: Tensor, support: Tensor, classes: Tensor, generator: torch.Generator) -> EpisodeTerms:
        """Return the loss of one episode and its parts; the sequence's is 0 where it weighs nothing.

        Args:
            queries: (Q, L, E) float.
            support: (C, P, L, E) float.
            classes: (Q,) int64 in 0..C - 1.
            generator: Draws the negatives, on the CPU.
        """
        logits = episode_logits(queries, support, self.contrast.alignment, self.contrast.epsilon)
        told = F.cross_entropy(logits, classes)
        sequence = torch.zeros((), device=logits.device)
        if self.weight > 0.0:
            own = support[classes].flatten(0, 1)
            sequence = self.contrast(own, queries.repeat_interleave(support.shape[1], dim=0), generator)
        total = (1.0 - self.weight) * told + self.weight * sequence
        return EpisodeTerms(total=total, classes=told, sequence=sequence, logits=logits)
