"""TempCLR's sequence-level contrast: a paragraph and its video go together in this order, and not in another.

Source: Yang et al., "TempCLR", ICLR 2023 (arXiv:2212.13738), with the constants and rules of the released code
(papers.md 3.3, 3.5): distance 1 - cosine with 0.01 in the denominator, five separated windows a video, 31 of the 119
permutations of the sentences as negatives, logits = -path cost.

Letters: N window-caption pairs of a batch, V videos, W windows a video, Q qualifying videos, S length of a sequence,
K negatives, E joint width.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.alignment.soft_dtw import SequenceCost, SoftDTW
from models.losses.precision import full_precision
from models.losses.videoclip import VideoCLIPLoss

EPSILON = 0.01
NUM_NEGATIVES = 31
Shuffled = Literal["text", "video", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Which windows of a batch make sequences.

    Attributes:
        indices: (Q, S) int64 rows of the flattened (V * W) batch, in temporal order.
        num_videos: V, all videos that were looked at.
    """

    indices: Tensor
    num_videos: int

    @property
    def rate(self) -> float:
        """Share of videos that qualify: the effective batch of the sequence term."""
        return len(self.indices) / max(self.num_videos, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TempCLRTerms:
    """The total and its parts, () float32 each; `sequence` is a constant 0 if no video qualifies."""

    total: Tensor
    clip: Tensor
    sequence: Tensor


def cosine_similarity(first: Tensor, second: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Cosine of rows, dot / (|x| |y| + epsilon): (..., R, E) and (..., C, E) -> (..., R, C) float32 or float64."""
    x = first if first.dtype == torch.float64 else first.float()
    y = second.to(x.dtype)
    norms = torch.linalg.vector_norm(x, dim=-1)[..., :, None] * torch.linalg.vector_norm(y, dim=-1)[..., None, :]
    with full_precision(x):
        similarity: Tensor = (x @ y.transpose(-1, -2)) / (norms + epsilon)
    return similarity


def separated_windows(spans: Tensor, text_gap: float = 0.0, video_gap: float = 0.0) -> Tensor:
    """Pick windows of one video that follow one another strictly, greedily from the first.

    A window is kept iff its text begins after the last kept text's end and its video after the last kept video's end.
    Both comparisons are strict although ends are exclusive, so windows that touch do not both stay: on whole captions
    and whole seconds that is a gap of one of each.

    Args:
        spans: (W, 4) of text_start, text_end (captions), video_start, video_end (seconds), ends exclusive.
        text_gap: Captions that must lie between besides, >= 0; the published rule has 0.
        video_gap: Seconds that must lie between besides, >= 0; the published rule has 0.

    Returns:
        (M,) int64 rows of `spans` in the order (text_start, video_start, text_end, video_end), 1 <= M <= W.
    """
    rows = [tuple(row) for row in spans.tolist()]
    order = sorted(range(len(rows)), key=lambda row: (rows[row][0], rows[row][2], rows[row][1], rows[row][3]))
    kept: list[int] = []
    text_end, video_end = -1.0 - text_gap, -1.0 - video_gap
    for row in order:
        if rows[row][0] > text_end + text_gap and rows[row][2] > video_end + video_gap:
            kept.append(row)
            text_end, video_end = rows[row][1], rows[row][3]
    return torch.tensor(kept, dtype=torch.int64)


def qualifying_sequences(
    spans: Tensor, num_windows: int = 5, *, text_gap: float = 0.0, video_gap: float = 0.0
) -> Sequences:
    """Choose `num_windows` separated windows of every video that has so many.

    Args:
        spans: (V, W, 4) as in `separated_windows`.
        num_windows: S, >= 2; of more kept windows, int(linspace(0, M - 1, S)) are taken.
        text_gap: As in `separated_windows`.
        video_gap: As in `separated_windows`.

    Returns:
        The chosen rows of the batch, and the number of videos.

    Raises:
        ValueError: `num_windows` or the shape is not as said.
    """
    if num_windows < 2 or spans.ndim != 3 or spans.shape[-1] != 4:
        raise ValueError(f"got spans {tuple(spans.shape)} and {num_windows} windows, expected (V, W, 4) and at least 2")
    chosen = []
    for video, windows in enumerate(spans):
        kept = separated_windows(windows, text_gap, video_gap)
        if len(kept) >= num_windows:
            chosen.append(kept[spread(len(kept), num_windows)] + video * spans.shape[1])
    indices = torch.stack(chosen) if chosen else torch.zeros(0, num_windows, dtype=torch.int64)
    return Sequences(indices=indices, num_videos=len(spans))


def spread(length: int, num: int) -> Tensor:
    """int(linspace(0, length - 1, num)) with NumPy's rounding: (num,) int64; `num` is at most `length`."""
    return torch.from_numpy(np.linspace(0, length - 1, num).astype(np.int64))


def permutation_negatives(length: int, num: int, generator: torch.Generator) -> Tensor:
    """Draw distinct permutations, none of them the identity, without replacement.

    Args:
        length: S, items to permute.
        num: K, 1 <= K <= S! - 1.
        generator: Of the draw, on the CPU.

    Returns:
        (K, S) int64.

    Raises:
        ValueError: There are not so many permutations.
    """
    available = math.factorial(length) - 1
    if not 1 <= num <= available:
        raise ValueError(f"negatives: got {num}, but {length} items have {available} permutations besides the identity")
    if length <= 8:
        return _permutations(torch.randperm(available, generator=generator)[:num] + 1, length)
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < num:  # so long a sequence all but never repeats one
        permutation = tuple(torch.randperm(length, generator=generator).tolist())
        if permutation != tuple(range(length)):
            drawn[permutation] = None
    return torch.tensor(list(drawn))


def _permutations(ranks: Tensor, length: int) -> Tensor:
    """The permutations of these lexicographic ranks, rank 0 the identity: (K,) -> (K, S), by Lehmer's code."""
    remaining = torch.arange(length).repeat(len(ranks), 1)
    columns = []
    for left in range(length, 0, -1):
        digit = (ranks // math.factorial(left - 1) % left)[:, None]
        columns.append(remaining.gather(1, digit)[:, 0])
        kept = torch.arange(left).expand(len(ranks), left) != digit
        remaining = remaining[kept].view(len(ranks), left - 1)
    return torch.stack(columns, dim=1)


def contrast(costs: Tensor, alignment: SequenceCost) -> Tensor:
    """Cross entropy of the first matrix against the others: (Q, 1 + K, R, C) costs -> () mean over Q."""
    logits = -alignment(costs.flatten(0, 1)).view(costs.shape[:2])
    return F.cross_entropy(logits, torch.zeros(len(costs), dtype=torch.int64, device=costs.device))


class SequenceContrast(nn.Module):
    """Tell the true order of a sequence from shuffled ones, beside another sequence that keeps its order.

    Args:
        alignment: Path cost of a matrix: `SoftDTW` or `SoftOTAM`.
        num_negatives: K, for each sequence and step.
        epsilon: In the denominator of the cosine.
        shuffled: Whose order is broken. "text" is the released code; "both" adds the two directions.
    """

    def __init__(
        self,
        alignment: SequenceCost | None = None,
        *,
        num_negatives: int = NUM_NEGATIVES,
        epsilon: float = EPSILON,
        shuffled: Shuffled = "text",
    ) -> None:
        super().__init__()
        if shuffled not in ("text", "video", "both"):
            raise ValueError(f"shuffled: got {shuffled!r}, expected text, video or both")
        self.alignment: SequenceCost = SoftDTW() if alignment is None else alignment
        self.num_negatives, self.epsilon, self.shuffled = num_negatives, epsilon, shuffled

    def forward(self, text: Tensor, video: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean cross entropy over 1 + K orders.

        Args:
            text: (Q, S, E) float in temporal order; in few-shot learning another video of the same class.
            video: (Q, T, E) float in temporal order.
            generator: Draws the negatives, on the CPU.

        Returns:
            () float32 or float64; a constant 0 without gradient if Q is 0.

        Raises:
            ValueError: A sequence has too few permutations for K negatives.
        """
        if not len(text):
            return torch.zeros((), device=text.device)
        distance = 1.0 - cosine_similarity(text, video, self.epsilon)
        loss = torch.zeros((), device=text.device)
        if self.shuffled != "video":
            loss = loss + self._direction(distance, generator)
        if self.shuffled != "text":
            loss = loss + self._direction(distance.transpose(1, 2), generator)
        return loss

    def _direction(self, distance: Tensor, generator: torch.Generator) -> Tensor:
        """Contrast with permuted rows: (Q, R, C) -> ()."""
        num, length, _ = distance.shape
        drawn = [permutation_negatives(length, self.num_negatives, generator) for _ in range(num)]
        orders = F.pad(torch.stack(drawn), (0, 0, 1, 0))
        orders[:, 0] = torch.arange(length)
        rows = orders.to(distance.device)
        videos = torch.arange(num, device=distance.device)[:, None, None]
        return contrast(distance[videos, rows], self.alignment)


class TempCLRLoss(nn.Module):
    """(1 - weight) * VideoCLIP's loss over single windows + weight * the contrast of sequences.

    Args:
        sequence: The contrast; None takes the published one (soft-DTW, gamma 0.1, 31 negatives).
        weight: Of the sequence term, in [0, 1].
    """

    def __init__(self, sequence: SequenceContrast | None = None, *, weight: float = 0.7) -> None:
        super().__init__()
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"weight: got {weight}, expected a share in [0, 1]")
        self.clip = VideoCLIPLoss()
        self.sequence = SequenceContrast() if sequence is None else sequence
        self.weight = weight

    def forward(self, video: Tensor, text: Tensor, sequences: Tensor, generator: torch.Generator) -> TempCLRTerms:
        """Return the loss and its parts.

        Args:
            video: (N, E) float window vectors.
            text: (N, E) float caption vectors, row i belongs to row i of `video`.
            sequences: (Q, S) int64, `Sequences.indices`.
            generator: Draws the negatives, on the CPU.
        """
        rows = sequences.to(video.device)
        clip = self.clip(video, text)
        sequence = self.sequence(text[rows], video[rows], generator)
        total = (1.0 - self.weight) * clip + self.weight * sequence
        return TempCLRTerms(total=total, clip=clip, sequence=sequence)


def layer_norm_names(model: nn.Module) -> list[str]:
    """Names of the parameters that TempCLR tunes: those whose module is called exactly `LayerNorm`."""
    return [name for name, _ in model.named_parameters() if name.split(".")[-2:-1] == ["LayerNorm"]]


def tune_layer_norms_only(model: nn.Module) -> int:
    """Freeze all parameters but those of `layer_norm_names`; return how many numbers stay trainable.

    Raises:
        ValueError: No module has that name, so nothing would be trained.
    """
    chosen = set(layer_norm_names(model))
    if not chosen:
        raise ValueError("layer-norm tuning: no module of this model is named LayerNorm, so nothing would be trained")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
