"""Sequences of different lengths without padding: laid end to end, those of one length side by side.

What treats every token alike (linear layers, norms) sees one matrix of real tokens. Means go over the runs of equally
long sequences, each of which is a view of that matrix; attention goes over `models.encoders.buckets`.

Letters: P sequences, N tokens of all of them, L tokens of one, C sequences of a run, ... any further axes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class Run(NamedTuple):
    """Equally long sequences that stand together: `num` of `length` tokens each, from token `start` on."""

    start: int
    num: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """P sequences end to end, the shortest first, equally long ones in the order of the batch.

    Attributes:
        values: (N, ...) tokens.
        lengths: of the P sequences as they are laid out, ascending.
        places: (P,) int64, where each sequence of the batch stands among those laid out.
    """

    values: Tensor
    lengths: tuple[int, ...]
    places: Tensor

    def to(self, device: torch.device) -> "Packed":
        """Return the same with its tensors on a device."""
        return Packed(
            values=self.values.to(device, non_blocking=True),
            lengths=self.lengths,
            places=self.places.to(device, non_blocking=True),
        )

    def runs(self) -> tuple[Run, ...]:
        """The runs of equally long sequences, in the order of `values`."""
        return runs_of(self.lengths)


def pack(sequences: Sequence[Tensor]) -> Packed:
    """Lay sequences end to end.

    Args:
        sequences: P tensors (L_i, ...), L_i >= 1; the further axes are equal.

    Raises:
        ValueError: there is none, or one is empty.
    """
    if not sequences or min(map(len, sequences)) < 1:
        raise ValueError(f"pack: got lengths {[len(each) for each in sequences]}, expected at least one of at least 1")
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    places = torch.empty(len(order), dtype=torch.int64)
    places[torch.tensor(order)] = torch.arange(len(order))
    return Packed(
        values=torch.cat([sequences[index] for index in order]),
        lengths=tuple(len(sequences[index]) for index in order),
        places=places,
    )


def runs_of(lengths: Sequence[int]) -> tuple[Run, ...]:
    """Return the runs of sequences of these lengths, which stand in ascending order."""
    runs, start = [], 0
    for length, equal in groupby(lengths):
        num = len(list(equal))
        runs.append(Run(start, num, length))
        start += num * length
    return tuple(runs)


def views(values: Tensor, runs: Sequence[Run]) -> Iterator[Tensor]:
    """Yield each run of (N, ...) tokens as a view (C, L, ...); the runs make up all tokens.

    One split, not a slice each: the gradient of every slice would be as large as `values`.
    """
    parts = values.split([num * length for _, num, length in runs])
    for tokens, (_, num, length) in zip(parts, runs, strict=True):
        yield tokens.view(num, length, *values.shape[1:])


def mean_without_first(values: Tensor, runs: Sequence[Run]) -> Tensor:
    """Average each sequence's tokens but the first: (N, E) -> (P, E), as laid out."""
    return torch.cat([tokens[:, 1:].mean(dim=1) for tokens in views(values, runs)])


def unpack(values: Tensor, packed: Packed, *, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Pad the sequences again, in the order of the batch.

    Args:
        values: (N, ...) tokens, laid out as those of `packed`.
        packed: whose layout it is.
        length: tokens that every sequence gets; None for those of the longest.

    Returns:
        (P, length, ...) with zeros behind the end of a sequence, and (P, length) bool, True where a token is real.
    """
    width = max(packed.lengths) if length is None else length
    padded = [
        torch.cat((tokens, tokens.new_zeros(len(tokens), width - tokens.shape[1], *tokens.shape[2:])), dim=1)
        for tokens in views(values, packed.runs())
    ]
    lengths = torch.tensor(packed.lengths, device=values.device)
    real = torch.arange(width, device=values.device) < lengths[:, None]
    return torch.cat(padded)[packed.places], real[packed.places]
