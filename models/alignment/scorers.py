"""The hard sequence scorers of one device: compiled kernels on a CPU, batched tensors on a card; the same numbers.

Letters: P texts, V videos, S sentences, N windows, E joint width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from models.alignment.caption_average import caption_average_matrix
from models.alignment.drop_dtw import drop_dtw_score_matrix
from models.alignment.dtw import dtw_score_matrix
from models.alignment.otam import otam_score_matrix
from models.alignment.sequences import F32, F64
from models.alignment.tensor_scores import tensor_caption_average, tensor_drop_dtw, tensor_dtw, tensor_otam

Scorer = Callable[[Sequence[F32], Sequence[F32]], F64]
"""P texts (S, E) and V videos (N, E) -> (P, V) float64, greater is better."""


class DropScorer(Protocol):
    """A scorer that leaves out what fits nothing, at a price."""

    def __call__(self, texts: Sequence[F32], videos: Sequence[F32], *, drop_clip: float, drop_sentence: float) -> F64:
        """Score P texts against V videos -> (P, V) float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorers:
    """One function a score."""

    caption_average: Scorer
    dtw: Scorer
    otam: Scorer
    drop_dtw: DropScorer


CPU = Scorers(
    caption_average=caption_average_matrix,
    dtw=dtw_score_matrix,
    otam=otam_score_matrix,
    drop_dtw=drop_dtw_score_matrix,
)


def scorers_on(device: str) -> Scorers:
    """The scorers of a device: `cpu`, or `cuda`.

    Raises:
        ValueError: it is a card, and there is none.
    """
    if device == "cpu":
        return CPU
    if not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: torch sees no card here; take 'cpu'")
    return tensor_scorers(torch.device(device))


def tensor_scorers(device: torch.device) -> Scorers:
    """The tensor recurrences on any device; on a CPU they are the slower form, and test the one on a card."""
    return Scorers(
        caption_average=partial(tensor_caption_average, device=device),
        dtw=partial(tensor_dtw, device=device),
        otam=partial(tensor_otam, device=device),
        drop_dtw=partial(tensor_drop_dtw, device=device),
    )
