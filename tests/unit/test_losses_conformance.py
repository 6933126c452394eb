"""The conformance list of papers.md, section 11, as far as it speaks of losses: points 4, 6, 7, 9 and 10.

The counts of parameters of point 9 belong to the networks and are tested with them.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from models.alignment.soft_dtw import soft_dtw, soft_dtw_reference
from models.alignment.soft_otam import SoftOTAM, soft_otam_reference
from models.losses.taco import SentenceLoss, TokenLoss, hard_negatives, token_weights
from models.losses.tempclr import SequenceContrast, contrast, cosine_similarity, permutation_negatives
from models.losses.vclr import (
    QUEUE_SIZE,
    MomentumQueue,
    draw_frame_orders,
    inter_logits,
    intra_logits,
    key_rows,
    order_features,
    queue_logits,
)
from models.losses.videoclip import VideoCLIPLoss


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_point_4_loss_of_scaled_identities() -> None:
    for scale in (0.5, 1.0, 2.0):
        vectors = torch.eye(512) * scale
        expected = 2 * math.log(1 + 511 * math.exp(-(scale**2)))
        assert VideoCLIPLoss()(vectors, vectors).item() == pytest.approx(expected, rel=1e-5)
    video, text = torch.randn(2, 16, 8, generator=seeded())
    assert VideoCLIPLoss()(video, text).item() == pytest.approx(VideoCLIPLoss()(text, video).item(), rel=1e-6)


def test_point_6_values_of_the_table() -> None:
    matrix = torch.tensor([[0.1, 0.9, 0.8], [0.7, 0.2, 0.6], [0.9, 0.5, 0.3]], dtype=torch.float64)
    assert soft_dtw(matrix[None]).item() == pytest.approx(0.59897436, abs=2e-7)
    assert SoftOTAM()(matrix[None]).item() == pytest.approx(1.16570014, abs=2e-7)


def test_point_6_batch_equals_loop_and_gradients_are_exact() -> None:
    costs = torch.rand(40, 5, 5, generator=seeded(), dtype=torch.float64).requires_grad_()
    both = SoftOTAM()(costs)
    for cost, dtw, otam in zip(costs, soft_dtw(costs), both, strict=True):
        assert dtw.item() == pytest.approx(soft_dtw_reference(cost).item(), abs=1e-12)
        assert otam.item() == pytest.approx((soft_otam_reference(cost) + soft_otam_reference(cost.T)).item(), abs=1e-12)
    few = costs.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(soft_dtw, (few,))
    assert torch.autograd.gradcheck(SoftOTAM(), (few,))


def test_point_7_negatives_are_31_distinct_orders_of_the_rows() -> None:
    drawn = permutation_negatives(5, 31, seeded())
    assert {tuple(row) for row in drawn.tolist()} <= set(itertools.permutations(range(5))) - {(0, 1, 2, 3, 4)}
    assert len({tuple(row) for row in drawn.tolist()}) == 31

    seen: list[torch.Tensor] = []

    def record(cost: torch.Tensor, num_rows: object = None, num_columns: object = None) -> torch.Tensor:
        seen.append(cost)
        return soft_dtw(cost)

    text, video = torch.randn(2, 1, 5, 8, generator=seeded())
    SequenceContrast(record)(text, video, seeded())
    (costs,) = seen
    distance = (1 - cosine_similarity(text, video))[0]
    assert costs.shape == (32, 5, 5)
    assert torch.equal(costs[0], distance)
    rows = {tuple(row) for row in distance.tolist()}
    for cost in costs[1:]:
        assert not torch.equal(cost, distance)
        assert {tuple(row) for row in cost.tolist()} == rows  # whole rows move, columns never


def test_point_7_value_of_the_cross_entropy() -> None:
    identity = 1 - torch.eye(5)
    assert contrast(torch.stack((identity, *[identity.flip(0)] * 31))[None], soft_dtw).item() == pytest.approx(
        0.44967025, abs=1e-5
    )


def test_point_9_labels_and_shuffles() -> None:
    drawn = draw_frame_orders(4000, seeded())
    share = drawn.labels.bincount(minlength=4) / 4000
    assert float((share - 0.25).abs().max()) < 0.03
    for orders, flags in ((drawn.query, drawn.labels % 2 == 1), (drawn.key, drawn.labels >= 2)):
        shuffled = {tuple(row) for row in orders[flags].tolist()}
        assert shuffled == set(itertools.permutations(range(3))) - {(0, 1, 2), (2, 1, 0)}
        counts = [int((orders[flags] == torch.tensor(order)).all(dim=1).sum()) for order in sorted(shuffled)]
        assert min(counts) > 0.2 * int(flags.sum())


def test_point_9_queue_and_shapes_of_the_logits() -> None:
    num = 2
    memory = MomentumQueue(generator=seeded())
    assert memory.memory.shape == (QUEUE_SIZE, 128) == (131_072, 128)
    query, keys = F.normalize(torch.randn(4, num, 128, generator=seeded()), dim=-1).split((1, 3))
    assert inter_logits(query[0], keys, memory.memory).shape == (3 * num, 131_073)
    assert intra_logits(query[0], keys).shape == (2 * num, 2)
    assert queue_logits(query[0], keys[0], memory.memory).shape == (num, 131_073)
    assert torch.nn.Linear(768, 4)(torch.cat([order_features(torch.randn(num, 3, 128))] * 2, dim=1)).shape == (num, 4)
    memory.enqueue(key_rows(keys[None]))
    assert torch.equal(memory.memory[: 3 * num], torch.cat((keys[0], keys[1], keys[2])))
    assert int(memory.pointer) == 3 * num


def test_point_10_candidates_weights_and_one_token() -> None:
    scores = torch.randn(12, 12, generator=seeded())
    negatives = hard_negatives(scores)
    assert negatives.videos.shape == negatives.texts.shape == (12, 9)
    assert len(negatives.pairs()[0]) == 2 * 12 * 9
    idf, interest = torch.rand(12, 6, generator=seeded()) * 9, torch.rand(12, 6, generator=seeded(1)) < 0.7
    sums = token_weights(idf, interest).sum(dim=1)
    assert torch.allclose(sums, interest.any(dim=1).float())
    loss = TokenLoss()
    text, video = torch.randn(12, 1, 8, generator=seeded()), torch.randn(12, 5, 8, generator=seeded(1))
    best = loss.scores(text, video, torch.ones(12, 5, dtype=torch.bool))
    one = loss(best, token_weights(torch.full((12, 1), 3.0), torch.ones(12, 1, dtype=torch.bool)))
    expected = F.cross_entropy(best[:, 0], torch.arange(12), reduction="sum")
    assert one.item() == pytest.approx(expected.item(), rel=1e-5)
    single = loss.scores(text, video[:, :1], torch.ones(12, 1, dtype=torch.bool))
    assert torch.allclose(single[:, 0], SentenceLoss().scores(text[:, 0], video[:, 0]), atol=1e-5)
