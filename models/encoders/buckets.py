"""Packed sequences for attention: those of nearly equal length in one bucket, padded there and only there.

Attention is small beside the linear layers, and its cost is that of many small operations: a call for every length
would take longer than the padding does. Every other layer sees real tokens alone.

Letters: N tokens, M places of them and of the padding, C sequences of a bucket, L places of one, ... any further axes.
Behind the M places is one more, for tokens that belong to no sequence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from models.encoders.packed import Run

_STEP = 16
"""Lengths up to a multiple of it share a bucket: captions of 63 tokens lie in four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Sequences that stand together, padded to the longest.

    Attributes:
        num: C.
        length: L.
        bias: (C, 1, 1, L) float32, what is added to scores: -inf where a place is padding; None if no place is.
    """

    num: int
    length: int
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Where the tokens of packed sequences stand in their buckets.

    Attributes:
        buckets: in the order of the sequences.
        places: (N,) int64, ascending: of each token among the M places, or M.
    """

    buckets: tuple[Bucket, ...]
    places: Tensor

    @classmethod
    def of(cls, runs: Sequence[Run], device: torch.device, *, filler: int = 0) -> "Buckets":
        """Sort sequences into buckets.

        Args:
            runs: how they are laid out.
            device: where their tokens are.
            filler: how many tokens lie behind these, which belong to no sequence.
        """
        buckets, places, first = [], [], 0
        for _, near in groupby(runs, key=lambda run: -(-run.length // _STEP)):
            lengths = torch.cat([torch.full((run.num, 1), run.length) for run in near])
            real = torch.arange(int(lengths.max())) < lengths
            num, length = real.shape
            bias = torch.zeros((num, 1, 1, length)).masked_fill_(~real[:, None, None], -torch.inf)
            buckets.append(Bucket(num=num, length=length, bias=None if real.all() else bias.to(device)))
            places.append(first + real.flatten().nonzero()[:, 0])
            first += num * length
        places.append(torch.full((filler,), first))
        return cls(buckets=tuple(buckets), places=torch.cat(places).to(device))

    def spread(self, values: Tensor) -> list[Tensor]:
        """Give each bucket's tokens, with zeros behind the end of a sequence: (N, ...) -> (C, L, ...) each."""
        sizes = [bucket.num * bucket.length for bucket in self.buckets]
        wide = values.new_zeros((sum(sizes) + 1, *values.shape[1:])).index_add_(0, self.places, values)
        parts = wide.split([*sizes, 1])[:-1]
        return [
            part.view(bucket.num, bucket.length, *values.shape[1:])
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]

    def gather(self, parts: Iterable[Tensor]) -> Tensor:
        """Lay the tokens of all buckets end to end again, without padding: (C, L, ...) each -> (N, ...).

        Those that belong to no sequence are zeros.
        """
        rows = [part.flatten(0, 1) for part in parts]
        return torch.cat([*rows, torch.zeros_like(rows[0][:1])]).index_select(0, self.places)
