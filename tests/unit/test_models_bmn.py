"""BMN against the paper's own order of operations, written as loops, and its losses against theirs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.actions.bmn import Bmn, BmnOutput, BmnSize, random_bmn, sampling_matrix, valid_pairs
from models.losses.bmn import BmnLoss, BmnTargets, balanced_logistic, overlap_regression

SMALL = BmnSize(
    feature_dim=6, num_steps=9, hidden=8, pair_hidden=5, map_hidden=4, num_samples=4, points_per_sample=3, groups=2
)


def value_at(sequence: NDArray[np.float64], point: float) -> NDArray[np.float64]:
    """Linear interpolation of (C, T) between steps; nothing lies outside."""
    low = math.floor(point)
    padded = {low: 1 - (point - low), low + 1: point - low}
    return sum(
        (share * sequence[:, step] for step, share in padded.items() if 0 <= step < sequence.shape[1]),
        start=np.zeros(len(sequence)),
    )


def samples_of(sequence: NDArray[np.float64], start: int, length: int, size: BmnSize) -> NDArray[np.float64]:
    """The (C, N) samples of one pair: points evenly over the widened region, means of three."""
    margin = size.widening * (length + 1)
    points = np.linspace(start - margin, start + length + margin, size.num_samples * size.points_per_sample)
    values = np.stack([value_at(sequence, point) for point in points.tolist()], axis=1)
    return values.reshape(len(sequence), size.num_samples, size.points_per_sample).mean(axis=2)


def features(count: int, size: BmnSize = SMALL) -> torch.Tensor:
    return torch.randn((count, size.feature_dim, size.num_steps), generator=torch.Generator().manual_seed(0))


def test_gathering_first_gives_the_same_map() -> None:
    model = random_bmn(SMALL, 0).double()
    with torch.no_grad():
        model.join_bias.copy_(torch.linspace(-0.5, 0.5, SMALL.pair_hidden))
    sequence = model.narrow(model.base(features(1).double()))
    kernel = model.join.weight.detach().view(SMALL.num_samples, SMALL.pair_hidden, SMALL.hidden).numpy()
    model.sampling = sampling_matrix(SMALL, model.pairs).double()
    joined = model._joined(sequence).detach().numpy()[0]
    for length in range(1, SMALL.num_steps + 1):
        for start in range(SMALL.num_steps):
            expected = model.join_bias.detach().numpy().copy()
            if start + length <= SMALL.num_steps:
                sampled = samples_of(sequence.detach().numpy()[0], start, length, SMALL)
                expected += np.einsum("noc,cn->o", kernel, sampled)
            np.testing.assert_allclose(joined[:, length - 1, start], expected, rtol=1e-6, atol=1e-7)


def test_pairs_are_those_inside_of_the_video() -> None:
    assert valid_pairs(3).tolist() == [0, 1, 2, 3, 4, 6]  # lengths 1, 2, 3 from their starts
    assert len(valid_pairs(100)) == 5050


def test_published_size() -> None:
    model = Bmn(BmnSize(feature_dim=400))
    assert model.sampling.shape == (3200, 5050)
    # Base, boundaries and their outputs, the narrowing, 32 samples of 256 channels joined, the map.
    expected = (100 * 3 + 1) * 256 + 3 * (64 * 3 + 1) * 256 + 2 * 257 + (256 * 3 + 1) * 256 + (32 * 256 + 1) * 512
    expected += 513 * 128 + 2 * (128 * 9 + 1) * 128 + 129 * 2
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_shapes_and_a_video_does_not_depend_on_its_batch() -> None:
    model = random_bmn(SMALL, 0)
    with torch.no_grad():
        output = model(features(3))
        alone = model(features(3)[1:2])
    assert [tuple(part.shape) for part in output] == [(3, 9), (3, 9), (3, 9, 9), (3, 9, 9)]
    for part, one in zip(output, alone, strict=True):
        torch.testing.assert_close(part[1:2], one, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"got shape \(3, 6, 8\), expected \(B, 6, 9\)"):
        model(features(3)[:, :, :8])


def test_balanced_logistic_weighs_both_kinds_alike() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    positive = torch.tensor([True, False, False, False])
    per_entry = F.softplus(torch.where(positive, -logits, logits))
    expected = 0.5 * per_entry[0] + 0.5 * per_entry[1:].mean()
    assert float(balanced_logistic(logits, positive)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("kind", [True, False])
def test_balanced_logistic_with_one_kind_alone_is_finite(kind: bool) -> None:
    logits = torch.tensor([0.3, -0.2], requires_grad=True)
    loss = balanced_logistic(logits, torch.full((2,), kind))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_balanced_logistic_bounds_the_weight_of_a_rare_kind() -> None:
    positive = torch.arange(1000) == 0
    loss = balanced_logistic(torch.zeros(1000), positive)
    assert float(loss) == pytest.approx(math.log(2) * (10.5 + 999 * 10.5 / 20) / 1000, rel=1e-6)


def test_overlap_regression_draws_as_many_of_each_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    overlaps = torch.cat([torch.full((50,), 0.9), torch.full((400,), 0.5), torch.full((4000,), 0.1), torch.zeros(9000)])
    draws = torch.rand(overlaps.shape, generator=generator)
    sizes = []
    for value in (0.9, 0.5, 0.1):  # an overlap of nothing at all takes no part
        # An error of 1 at one kind only: the loss is half of that kind's share.
        logits = torch.logit(overlaps.clone()).where(overlaps != value, torch.full_like(overlaps, -1e9))
        sizes.append(float(overlap_regression(logits, overlaps, draws)) / (0.5 * value**2))
    assert sum(sizes) == pytest.approx(1, abs=1e-5)
    assert sizes == pytest.approx([1 / 3] * 3, abs=0.06)


def test_overlap_regression_is_zero_without_a_high_overlap() -> None:
    overlaps = torch.tensor([0.2, 0.5])
    assert float(overlap_regression(torch.zeros(2), overlaps, torch.zeros(2))) == 0.0


def test_the_total_adds_the_parts_and_leaves_out_invalid_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        output = random_bmn(SMALL, 0)(features(2))
    starts, ends = (torch.rand((2, 9), generator=generator) for _ in range(2))
    targets = BmnTargets(starts, ends, torch.rand((2, 9, 9), generator=generator))
    draws = torch.rand((2, 9, 9), generator=generator)
    terms = BmnLoss()(output, targets, draws)
    torch.testing.assert_close(terms.total, terms.boundaries + terms.confidence + 10 * terms.overlap)
    wild = torch.ones(81).index_fill(0, valid_pairs(9), 0).view(9, 9) * 1e6
    changed = BmnOutput(output.starts, output.ends, output.confidence + wild, output.overlap - wild)
    other = BmnTargets(starts, ends, (targets.overlaps + wild).clamp(max=1))
    assert torch.equal(BmnLoss()(changed, other, draws).total, terms.total)


def test_gradients_reach_every_parameter() -> None:
    model = random_bmn(SMALL, 0)
    overlaps = torch.rand((2, 9, 9), generator=torch.Generator().manual_seed(1))
    targets = BmnTargets(overlaps[:, 0], overlaps[:, 1], overlaps)
    BmnLoss()(model(features(2)), targets, torch.zeros_like(overlaps)).total.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
