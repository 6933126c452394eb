"""Features on one scale while training, and the encoder that takes them as they are again.

A backbone with random weights gives rows that differ in the third digit only, and an Adam step at any sane rate cannot
see it. The map is affine and so is the first layer that reads features, so what is saved holds it folded in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoders.packed import Packed
from stages.errors import Corrupt
from stages.training.dataset import FeatureEntry
from stages.training.layout import epoch_order

LEAST_RELATIVE_STD = 1e-3
"""A component that varies less than this share of the one that varies most is held to carry rounding only."""

MOST_MEASURED = 4096
"""Videos whose features are read to measure their scale; a million more would not change it."""


class Measurable(Protocol):
    """A video whose features can be measured."""

    @property
    def video_id(self) -> str:
        """For messages."""

    @property
    def entry(self) -> FeatureEntry:
        """Where its features lie."""

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """Which of its rows must not be used."""


VideoT = TypeVar("VideoT", bound=Measurable)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScale:
    """What features are standardised with.

    Attributes:
        mean: (D,) float32.
        std: (D,) float32, positive.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def measure_scale(videos: Iterable[Measurable]) -> FeatureScale:
    """Return mean and standard deviation of each component over the intact rows of videos.

    Raises:
        Corrupt: an intact row holds a value that is no number.
    """
    total, squares, num_rows = np.zeros(1), np.zeros(1), 0
    shift: NDArray[np.float64] | None = None
    for video in videos:
        rows = np.asarray(video.entry.map_features(), dtype=np.float64)[~video.damaged]
        if not np.isfinite(rows).all():
            raise Corrupt(f"the features of video {video.video_id} hold values that are no numbers; extract it again")
        # The first row is subtracted from all: squares of values that hardly differ would cancel.
        shift = rows[0] if shift is None else shift
        total = total + (rows - shift).sum(axis=0)
        squares = squares + np.square(rows - shift).sum(axis=0)
        num_rows += len(rows)
    if shift is None:
        raise ValueError("there is no video to measure features on")
    mean = total / num_rows
    std = np.sqrt(np.maximum(squares / num_rows - np.square(mean), 0))
    least = LEAST_RELATIVE_STD * std.max() or 1.0
    return FeatureScale(mean=(shift + mean).astype(np.float32), std=np.maximum(std, least).astype(np.float32))


def sample_videos(videos: Sequence[VideoT], seed: int) -> list[VideoT]:
    """Return the videos that features are measured on: all, or a drawn MOST_MEASURED of them."""
    by_id = {video.video_id: video for video in videos}
    return [by_id[video_id] for video_id in epoch_order(list(by_id), seed=seed, epoch=0)[:MOST_MEASURED]]


class Standardise(nn.Module):
    """(x - mean) / std for each component of features; without a scale the identity."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, scale: FeatureScale | None, dim: int) -> None:
        """Take a scale of `dim` components; None changes nothing."""
        super().__init__()
        mean = torch.zeros(dim) if scale is None else torch.from_numpy(scale.mean)
        std = torch.ones(dim) if scale is None else torch.from_numpy(scale.std)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse_std", 1 / std, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return (features - self.mean) * self.inverse_std

    def packed(self, windows: Packed) -> Packed:
        """Map the rows of packed windows."""
        return Packed(values=self(windows.values), lengths=windows.lengths, places=windows.places)

    @torch.no_grad()
    def fold_into(self, linear: nn.Linear) -> None:
        """Move the map into the layer that reads its output, which then takes features as they are.

        W' = W / std and b' = b - W' mean, in float64. Called once, after training; the map is the identity then.
        """
        weight = linear.weight.double() * self.inverse_std.double()
        linear.bias.copy_(linear.bias.double() - weight @ self.mean.double())
        linear.weight.copy_(weight)
        self.mean.zero_()
        self.inverse_std.fill_(1)

    @torch.no_grad()
    def unfold_from(self, linear: nn.Linear) -> None:
        """Let a layer that takes features as they are read this map's output instead: the inverse of `fold_into`."""
        linear.bias.copy_(linear.bias.double() + linear.weight.double() @ self.mean.double())
        linear.weight.copy_(linear.weight.double() / self.inverse_std.double())
