"""VCLR: logits and losses against loops, the queue's order and its saved place, the draw of the order task."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.vclr import (
    MomentumQueue,
    VCLREmbeddings,
    VCLRLoss,
    draw_frame_orders,
    inter_logits,
    intra_logits,
    order_features,
    queue_logits,
)
from tests.generators import seeded

B, D, K = 4, 8, 20


def units(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(shape, generator=seeded(seed)), dim=-1)


def queue(size: int = K, width: int = D) -> MomentumQueue:
    return MomentumQueue(size, width, generator=seeded())


def batch() -> VCLREmbeddings:
    return VCLREmbeddings(
        inter_query=units(B, D).requires_grad_(),
        inter_keys=units(3, B, D, seed=1).requires_grad_(),
        intra_query=units(B, D, seed=2).requires_grad_(),
        intra_keys=units(3, B, D, seed=3).requires_grad_(),
        segment_query=units(B, D, seed=4).requires_grad_(),
        segment_key=units(B, D, seed=5).requires_grad_(),
        order_logits=units(B, 4, seed=6).requires_grad_(),
        order_labels=torch.tensor([3, 0, 1, 2]),
    )


def loop(query: Tensor, positive: Tensor, negatives: Tensor) -> float:
    """InfoNCE of one query at temperature 0.1."""
    logits = torch.stack([query @ positive, *(query @ negative for negative in negatives)]) / 0.1
    return -logits.log_softmax(0)[0].item()


def test_each_term_equals_a_loop() -> None:
    given, frames, clips = batch(), queue().memory, units(11, D, seed=8)
    found = VCLRLoss()(given, frames, clips)
    inter = [loop(given.inter_query[b], given.inter_keys[k, b], frames) for k in range(3) for b in range(B)]
    intra = [
        loop(given.intra_query[b], given.intra_keys[0, b], given.intra_keys[k, b][None])
        for k in (1, 2)
        for b in range(B)
    ]
    segment = [loop(given.segment_query[b], given.segment_key[b], clips) for b in range(B)]
    order = [-given.order_logits[b].log_softmax(0)[given.order_labels[b]].item() for b in range(B)]
    expected = [sum(terms) / len(terms) for terms in (inter, intra, segment, order)]
    parts = [found.inter.item(), found.intra.item(), found.segment.item(), found.order.item()]
    assert parts == pytest.approx(expected, rel=1e-5)
    assert found.total.item() == pytest.approx(sum(expected), rel=1e-5)
    weighed = VCLRLoss(inter_weight=2.0, intra_weight=0.5, segment_weight=0.0, order_weight=3.0)(given, frames, clips)
    assert weighed.total.item() == pytest.approx(2 * parts[0] + 0.5 * parts[1] + 3 * parts[3], rel=1e-5)
    with pytest.raises(ValueError, match="temperature"):
        VCLRLoss(temperature=0.0)


def test_only_the_online_network_gets_a_gradient() -> None:
    given = batch()
    VCLRLoss()(given, queue().memory, queue().memory).total.backward()
    for name in ("inter_query", "intra_query", "segment_query", "order_logits"):
        assert getattr(given, name).grad is not None
    for name in ("inter_keys", "intra_keys", "segment_key"):
        assert getattr(given, name).grad is None


def test_rows_of_the_logits() -> None:
    query, keys, memory = units(B, D), units(3, B, D, seed=1), queue().memory
    inter = inter_logits(query, keys, memory)
    assert torch.allclose(inter[2 * B + 1], queue_logits(query[1:2], keys[2, 1:2], memory)[0], atol=1e-5)
    intra = intra_logits(query, keys)
    expected = torch.stack((query[1] @ keys[0, 1], query[1] @ keys[2, 1])) / 0.1
    assert torch.allclose(intra[B + 1], expected, atol=1e-5)


def test_the_queue_wraps_around_and_keeps_the_newest() -> None:
    ring = MomentumQueue(7, 2, generator=seeded())
    expected = ring.memory.clone()
    written = 0
    for size in (3, 3, 3, 7, 0, 1, 10):
        keys = torch.arange(written, written + size).float()[:, None].repeat(1, 2)
        ring.enqueue(keys)
        for row in keys:
            expected[written % 7] = row
            written += 1
        assert torch.equal(ring.memory, expected)
        assert int(ring.pointer) == written % 7
    with pytest.raises(ValueError, match=r"keys \(3, 5\), expected \(M, 2\)"):
        ring.enqueue(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="size 0"):
        MomentumQueue(0, 2, generator=seeded())


def test_a_restored_queue_goes_on_where_it_was() -> None:
    ring, other = queue(), MomentumQueue(K, D, generator=seeded(1))
    ring.enqueue(units(13, D))
    other.load_state_dict(ring.state_dict())
    for one in (ring, other):
        one.enqueue(units(12, D, seed=1))
    assert torch.equal(ring.memory, other.memory)
    assert int(other.pointer) == 5


def test_first_keys_are_uniform_and_seeded() -> None:
    ring = MomentumQueue(2000, 128, generator=seeded())
    bound = 1 / math.sqrt(128 / 3)
    assert float(ring.memory.abs().max()) <= bound
    assert float(ring.memory.std()) == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert torch.equal(ring.memory, MomentumQueue(2000, 128, generator=seeded()).memory)
    assert not list(ring.parameters())


def test_enqueueing_after_the_backward_pass_is_allowed_and_keys_carry_no_graph() -> None:
    ring, query = queue(), units(B, D).requires_grad_()
    keys = (units(B, D, seed=1) * query).detach().requires_grad_()
    queue_logits(query, keys, ring.memory).sum().backward()
    ring.enqueue(keys)
    assert not ring.memory.requires_grad
    assert torch.equal(ring.memory[:B], keys)


def test_the_order_head_is_normalised_along_either_axis() -> None:
    features = torch.randn(B, 3, D, generator=seeded())
    published, sensible = order_features(features), order_features(features, norm_dim=-1)
    assert published.shape == sensible.shape == (B, 3 * D)
    assert torch.allclose(published.view(B, 3, D).norm(dim=1), torch.ones(B, D), atol=1e-5)
    assert torch.allclose(sensible.view(B, 3, D).norm(dim=2), torch.ones(B, 3), atol=1e-5)
    assert torch.equal(published.view(B, 3, D)[:, 1], F.normalize(features, dim=1)[:, 1])
    with pytest.raises(ValueError, match="norm_dim: got 0"):
        order_features(features, norm_dim=0)


def test_labels_say_which_clip_is_shuffled() -> None:
    drawn = draw_frame_orders(500, seeded())
    forward = torch.arange(3)
    for orders, flags in ((drawn.query, drawn.labels % 2 == 1), (drawn.key, drawn.labels >= 2)):
        assert torch.equal((orders != forward).any(dim=1), flags)
    again = draw_frame_orders(500, seeded())
    assert torch.equal(drawn.query, again.query)
    assert torch.equal(drawn.labels, again.labels)
    assert draw_frame_orders(0, seeded()).query.shape == (0, 3)
    with pytest.raises(ValueError, match="got 2 frames"):
        draw_frame_orders(4, seeded(), num_frames=2)
