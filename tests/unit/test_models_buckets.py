"""Buckets: every token comes back to its place, padding is never seen, and near lengths share a bucket."""

import pytest
import torch

from models.encoders.buckets import Buckets
from models.encoders.packed import runs_of

CPU = torch.device("cpu")
LENGTHS = (1, 7, 16, 16, 17, 40, 41, 5)


def numbered(lengths: tuple[int, ...]) -> torch.Tensor:
    """Tokens that carry their number, from 1 on, as two columns of (N, 2)."""
    return torch.arange(1, sum(lengths) + 1, dtype=torch.float32)[:, None].repeat(1, 2)


def test_near_lengths_share_a_bucket_in_the_order_of_the_sequences() -> None:
    buckets = Buckets.of(runs_of(LENGTHS), CPU).buckets
    assert [(bucket.num, bucket.length) for bucket in buckets] == [(4, 16), (1, 17), (2, 41), (1, 5)]
    assert [bucket.bias is None for bucket in buckets] == [False, True, False, True]


@pytest.mark.parametrize("lengths", [LENGTHS, (3, 3, 3), (1,), (63, 2)])
def test_tokens_stand_at_the_beginning_of_their_sequence_and_come_back(lengths: tuple[int, ...]) -> None:
    buckets, tokens = Buckets.of(runs_of(lengths), CPU), numbered(lengths)
    spread = buckets.spread(tokens)
    sequences = [row[:, 0].tolist() for part in spread for row in part]
    biases = [
        row
        for bucket in buckets.buckets
        for row in (torch.zeros(bucket.num, bucket.length) if bucket.bias is None else bucket.bias[:, 0, 0])
    ]
    for expected, found, bias in zip(tokens[:, 0].split(lengths), sequences, biases, strict=True):
        num = len(expected)
        assert found[:num] == expected.tolist()
        assert not any(found[num:])
        assert bias[:num].eq(0).all()
        assert bias[num:].isneginf().all()
    assert torch.equal(buckets.gather(spread), tokens)


def test_gradients_come_back_to_their_tokens() -> None:
    buckets, tokens = Buckets.of(runs_of(LENGTHS), CPU), numbered(LENGTHS).requires_grad_()
    weights = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0))
    (buckets.gather(part * 2 for part in buckets.spread(tokens)) * weights).sum().backward()
    assert torch.equal(tokens.grad, 2 * weights)


def test_what_belongs_to_no_sequence_is_in_no_bucket_and_has_no_gradient() -> None:
    buckets = Buckets.of(runs_of(LENGTHS), CPU, filler=3)
    tokens = numbered((*LENGTHS, 3)).requires_grad_()
    spread = buckets.spread(tokens)
    without = Buckets.of(runs_of(LENGTHS), CPU).spread(numbered(LENGTHS))
    assert all(torch.equal(part, other) for part, other in zip(spread, without, strict=True))
    gathered = buckets.gather(spread)
    assert torch.equal(gathered[:-3], tokens[:-3])
    assert not gathered[-3:].any()
    gathered.sum().backward()
    assert tokens.grad[:, 0].tolist() == [1.0] * sum(LENGTHS) + [0.0] * 3
