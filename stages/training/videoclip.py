"""VideoCLIP as an objective of the loop: both towers, the loss, and features that are put on one scale.

Source: VideoCLIP, arXiv:2109.14084. Departs in one option: features are standardised before the token MLP. A backbone
with random weights gives rows that differ in the third digit only, and an Adam step at any sane rate cannot see it.
The map is affine and so is the MLP's first layer, so what is saved holds it folded in: the published layout stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoders.dual import DualEncoder
from models.losses.videoclip import VideoCLIPLoss
from stages.errors import Corrupt
from stages.training.batches import PairBatch
from stages.training.dataset import TrainingVideo
from stages.training.sampling import epoch_order

LEAST_RELATIVE_STD = 1e-3
"""A component that varies less than this share of the one that varies most is held to carry rounding only."""

MOST_MEASURED = 4096
"""Videos whose features are read to measure their scale; a million more would not change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScale:
    """What features are standardised with.

    Attributes:
        mean: (D,) float32.
        std: (D,) float32, positive.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def measure_scale(videos: Iterable[TrainingVideo]) -> FeatureScale:
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


def sample_videos(videos: Sequence[TrainingVideo], seed: int) -> list[TrainingVideo]:
    """Return the videos that features are measured on: all, or a drawn MOST_MEASURED of them."""
    by_id = {video.video_id: video for video in videos}
    return [by_id[video_id] for video_id in epoch_order(list(by_id), seed=seed, epoch=0)[:MOST_MEASURED]]


class VideoCLIPObjective(nn.Module):
    """The loss of a batch of pairs."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, encoder: DualEncoder, scale: FeatureScale | None) -> None:
        """Take an encoder to train.

        Args:
            encoder: changed by training.
            scale: what features are standardised with; None takes them as they are.
        """
        super().__init__()
        self.encoder = encoder
        self.loss = VideoCLIPLoss()
        dim = encoder.config.feature_dim
        mean = torch.zeros(dim) if scale is None else torch.from_numpy(scale.mean)
        std = torch.ones(dim) if scale is None else torch.from_numpy(scale.std)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse_std", 1 / std, persistent=False)

    def forward(self, batch: PairBatch) -> Tensor:
        """Return the () loss of a batch."""
        features = (batch.features - self.mean) * self.inverse_std * batch.feature_mask[..., None]
        video = self.encoder.encode_video(features, batch.feature_mask)
        text = self.encoder.encode_text(batch.tokens, batch.token_mask)
        loss: Tensor = self.loss(video, text)
        return loss

    @torch.no_grad()
    def fold_scale(self) -> None:
        """Move the standardisation into the first layer of the token MLP; the encoder then takes features as they are.

        W' = W / std and b' = b - W' mean, in float64. Called once, after training.
        """
        linear = self.encoder.video_encoder.videomlp.linear1
        weight = linear.weight.double() * self.inverse_std.double()
        linear.bias.copy_(linear.bias.double() - weight @ self.mean.double())
        linear.weight.copy_(weight)
        self.mean.zero_()
        self.inverse_std.fill_(1)
