"""Boundary-Matching Network: from a feature sequence to boundary probabilities and a confidence for every pair of them.

Source: Lin et al., "BMN: Boundary-Matching Network for Temporal Action Proposal Generation" (arXiv:1907.09702), section
3, with the sizes of the re-implementation that VCLR's numbers come from (two convolutions of 256 channels at the base,
region widened by half its length on both sides). Departures: samples outside of the video are zero (there, those less
than a step before it count in full), and the order of two linear maps is exchanged. The paper first gathers, for each
pair, N samples of every channel and then convolves over the samples: 21 billion products a video. Here the
convolution's weights act first, on T steps instead of T^2 pairs, and their results are gathered: 8 billion.

Letters: B videos, C channels, T steps of a sequence, N samples of a pair, P pairs (start, end) that lie in the video.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.backbones.initialise import he_initialise


@dataclass(frozen=True, slots=True, kw_only=True)
class BmnSize:
    """Sizes; the defaults are those for ActivityNet.

    Attributes:
        feature_dim: C of the input.
        num_steps: T.
        hidden: channels of the convolutions over time.
        pair_hidden: channels of a pair after its samples are joined.
        map_hidden: channels of the convolutions over the map of pairs.
        num_samples: N.
        points_per_sample: points whose mean is one sample.
        widening: share of its length by which a pair's region grows on each side before it is sampled.
        groups: of the convolutions over time.
    """

    feature_dim: int
    num_steps: int = 100
    hidden: int = 256
    pair_hidden: int = 512
    map_hidden: int = 128
    num_samples: int = 32
    points_per_sample: int = 3
    widening: float = 0.5
    groups: int = 4


class BmnOutput(NamedTuple):
    """What the network says of B videos, all before the sigmoid.

    Attributes:
        starts: (B, T) an action starts near this step.
        ends: (B, T) an action ends near this step.
        confidence: (B, T, T) [length - 1, start] the pair is an action, trained as a classifier.
        overlap: (B, T, T) likewise, trained as a regressor of the overlap with an action.
    """

    starts: Tensor
    ends: Tensor
    confidence: Tensor
    overlap: Tensor


class Bmn(nn.Module):
    """The network.

    Attributes:
        size: its sizes.
    """

    sampling: Tensor
    pairs: Tensor

    def __init__(self, size: BmnSize) -> None:
        super().__init__()
        self.size = size
        hidden, groups = size.hidden, size.groups
        first = nn.Conv1d(size.feature_dim, hidden, 3, padding=1, groups=math.gcd(groups, size.feature_dim))
        self.base = nn.Sequential(first, nn.ReLU(), _over_time(hidden, groups), nn.ReLU())
        self.start = nn.Sequential(_over_time(hidden, groups), nn.ReLU(), nn.Conv1d(hidden, 1, 1))
        self.end = nn.Sequential(_over_time(hidden, groups), nn.ReLU(), nn.Conv1d(hidden, 1, 1))
        self.narrow = nn.Sequential(_over_time(hidden, 1), nn.ReLU())
        # Row n * pair_hidden + o is what output o takes from sample n.
        self.join = nn.Conv1d(hidden, size.num_samples * size.pair_hidden, 1, bias=False)
        self.join_bias = nn.Parameter(torch.zeros(size.pair_hidden))
        self.map = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(size.pair_hidden, size.map_hidden, 1),
            nn.ReLU(),
            nn.Conv2d(size.map_hidden, size.map_hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(size.map_hidden, size.map_hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(size.map_hidden, 2, 1),
        )
        self.register_buffer("pairs", valid_pairs(size.num_steps), persistent=False)
        self.register_buffer("sampling", sampling_matrix(size, self.pairs), persistent=False)

    def forward(self, features: Tensor) -> BmnOutput:
        """Evaluate sequences.

        Args:
            features: (B, C, T) float.

        Returns:
            Logits; entries of the maps whose pair reaches beyond the video mean nothing (`valid_pairs`).

        Raises:
            ValueError: the shape is another one.
        """
        size = self.size
        if features.ndim != 3 or features.shape[1:] != (size.feature_dim, size.num_steps):
            expected = f"(B, {size.feature_dim}, {size.num_steps})"
            raise ValueError(f"BMN features: got shape {tuple(features.shape)}, expected {expected}")
        base = self.base(features)
        confidence, overlap = self.map(self._joined(self.narrow(base))).unbind(dim=1)
        return BmnOutput(self.start(base)[:, 0], self.end(base)[:, 0], confidence, overlap)

    def _joined(self, x: Tensor) -> Tensor:
        """Sample every pair and join its samples: (B, hidden, T) to (B, pair_hidden, T, T)."""
        size, steps = self.size, self.size.num_steps
        taken = self.join(x).unflatten(1, (size.num_samples, size.pair_hidden)).transpose(1, 2).flatten(2)
        joined = x.new_zeros((len(x), size.pair_hidden, steps * steps)).index_copy(
            2, self.pairs, (taken @ self.sampling).to(x.dtype)
        )
        return (joined + self.join_bias[:, None]).view(len(x), size.pair_hidden, steps, steps)


def random_bmn(size: BmnSize, seed: int) -> Bmn:
    """Return a network with seeded He weights to start training from."""
    model = Bmn(size)
    he_initialise(model, seed)
    with torch.no_grad():
        model.join.weight.mul_(1 / math.sqrt(size.num_samples))  # an output adds up that many samples
    return model


def valid_pairs(num_steps: int) -> Tensor:
    """Positions of the P pairs that lie in the video, in a flattened (T, T) map [length - 1, start]: (P,) int64."""
    lengths = torch.arange(num_steps)[:, None]
    return torch.nonzero((lengths + torch.arange(num_steps) < num_steps).flatten())[:, 0]


def sampling_matrix(size: BmnSize, pairs: Tensor) -> Tensor:
    """How much of each step goes into each sample of each pair: (N * T, P) float32.

    A pair of length n from step s covers [s, s + n]; its region reaches widening * (n + 1) further on both sides, and
    N * points_per_sample points lie on it evenly, both ends included. A point between two steps takes of both in
    proportion; steps outside of the video hold nothing.
    """
    steps, num_points = size.num_steps, size.num_samples * size.points_per_sample
    starts, lengths = pairs % steps, pairs // steps + 1
    margin = size.widening * (lengths + 1).double()
    place = torch.arange(num_points, dtype=torch.float64) / (num_points - 1)
    points = (starts - margin)[:, None] + (lengths + 2 * margin)[:, None] * place
    samples = torch.arange(num_points) // size.points_per_sample
    matrix = torch.zeros(size.num_samples * steps * len(pairs), dtype=torch.float64)
    for offset in (0, 1):
        step = points.floor().long() + offset
        share = 1 - (points - step).abs()
        inside = (step >= 0) & (step < steps)
        where = (samples * steps + step) * len(pairs) + torch.arange(len(pairs))[:, None]
        matrix.index_add_(0, where[inside], share[inside] / size.points_per_sample)
    return matrix.float().view(size.num_samples * steps, len(pairs))


def _over_time(channels: int, groups: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, 3, padding=1, groups=groups)
