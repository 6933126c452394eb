"""TempCLR's sequence contrast: windows that qualify, orders, values by the paper's rules, layer-norm tuning."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.alignment.soft_dtw import SoftDTW, soft_dtw_reference
from models.alignment.soft_otam import SoftOTAM, soft_otam_reference
from models.encoders.config import DualConfig
from models.encoders.dual import DualEncoder
from models.losses.tempclr import (
    SequenceContrast,
    TempCLRLoss,
    contrast,
    cosine_similarity,
    layer_norm_names,
    permutation_negatives,
    qualifying_sequences,
    separated_windows,
    spread,
    tune_layer_norms_only,
)
from models.losses.videoclip import VideoCLIPLoss
from tests.generators import seeded


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def test_cosine_by_hand_and_at_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = cosine_similarity(x, torch.tensor([[0.0, 2.0]]))
    assert found.tolist() == [[pytest.approx(8 / 10.01)], [0.0]]
    found.sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def test_windows_that_touch_are_not_separated() -> None:
    spans = torch.tensor([[0, 1, 0, 4], [1, 2, 5, 9], [2, 3, 4, 9], [2, 3, 5, 9], [4, 5, 10, 12]])
    assert separated_windows(spans).tolist() == [0, 3, 4]  # 1: its text touches; 2: its video touches
    assert separated_windows(spans.flip(0)).tolist() == [4, 1, 0]
    assert separated_windows(spans, text_gap=1).tolist() == [0, 4]
    assert separated_windows(spans, video_gap=1.5).tolist() == [0, 4]


def test_windows_at_zero_are_kept_and_ties_follow_the_tuple() -> None:
    spans = torch.tensor([[0, 3, 0, 2], [0, 2, 1, 2], [0, 2, 0, 9], [3, 4, 3, 4]])
    assert separated_windows(spans).tolist() == [2]  # of equal starts the smaller text end comes first
    assert separated_windows(spans[:2]).tolist() == [0]


def staircase(num: int) -> Tensor:
    start = torch.arange(num) * 2
    return torch.stack((start, start + 1, start, start + 1), dim=1)


def test_a_video_qualifies_with_five_windows_and_more_are_thinned() -> None:
    crowded = torch.zeros(12, 4)
    crowded[:, 1::2] = 1
    spans = torch.stack((staircase(12), crowded, staircase(4).repeat(3, 1)))
    found = qualifying_sequences(spans.flip(1))
    expected = [11 - index for index in np.linspace(0, 11, 5).astype(int)]
    assert found.indices.tolist() == [expected]
    assert found.rate == pytest.approx(1 / 3)
    assert found.num_videos == 3
    assert qualifying_sequences(spans, 4).indices.shape == (2, 4)
    assert qualifying_sequences(spans[1:2]).indices.shape == (0, 5)
    assert qualifying_sequences(spans[:1], 3, text_gap=20).rate == 0.0


def test_chosen_rows_point_into_the_flattened_batch() -> None:
    spans = torch.stack((torch.zeros(6, 4), staircase(6)))
    assert qualifying_sequences(spans).indices.tolist() == [[6, 7, 8, 9, 11]]


def test_widths_that_make_no_sequence_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        qualifying_sequences(torch.zeros(1, 6, 4), 1)
    with pytest.raises(ValueError, match=r"\(V, W, 4\)"):
        qualifying_sequences(torch.zeros(6, 4))


def test_spread_is_numpys_rounding() -> None:
    for length, num in itertools.product(range(2, 40), range(2, 12)):
        if num <= length:
            assert spread(length, num).tolist() == [int(x) for x in np.linspace(0, length - 1, num)]


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6])
def test_all_permutations_but_the_identity_are_drawn(length: int) -> None:
    available = math.factorial(length) - 1
    drawn = {tuple(row) for row in permutation_negatives(length, available, seeded()).tolist()}
    assert drawn == set(itertools.permutations(range(length))) - {tuple(range(length))}


@pytest.mark.parametrize("length", [5, 8, 12])
def test_negatives_are_distinct_and_seeded(length: int) -> None:
    drawn = permutation_negatives(length, 31, seeded(3))
    assert drawn.shape == (31, length)
    assert len({tuple(row) for row in drawn.tolist()}) == 31
    assert bool((drawn.sort(dim=1).values == torch.arange(length)).all())
    assert not bool((drawn == torch.arange(length)).all(dim=1).any())
    assert torch.equal(drawn, permutation_negatives(length, 31, seeded(3)))
    assert not torch.equal(drawn, permutation_negatives(length, 31, seeded(4)))


def test_each_permutation_is_as_likely() -> None:
    generator = seeded()
    counts = torch.zeros(4, 4)
    for _ in range(1500):
        for row in permutation_negatives(4, 1, generator):
            counts[torch.arange(4), row] += 1
    expected = torch.full((4, 4), 6 / 23) - torch.eye(4) / 23  # of 23 orders; the identity is not among them
    assert float((counts / 1500 - expected).abs().max()) < 0.05


def test_more_negatives_than_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="got 6, but 3 items have 5"):
        permutation_negatives(3, 6, seeded())


def test_the_table_value_of_the_cross_entropy() -> None:
    identity = 1 - torch.eye(5, dtype=torch.float64)
    costs = torch.stack((identity, *[identity.flip(0)] * 31))[None]
    assert contrast(costs, SoftDTW()).item() == pytest.approx(0.44967025, abs=1e-7)


@pytest.mark.parametrize(("strategy", "both_ways"), [(SoftDTW(), False), (SoftOTAM(), True)])
def test_equals_a_loop_over_videos_and_orders(strategy: SoftDTW | SoftOTAM, both_ways: bool) -> None:
    text, video = vectors(3, 5, 8), vectors(3, 5, 8, seed=1)
    generator = seeded(7)
    losses = []
    for index in range(3):
        distance = 1 - cosine_similarity(text[index], video[index])
        orders = [torch.arange(5), *permutation_negatives(5, 31, generator)]
        costs = []
        for order in orders:
            cost = distance[order]
            turned = soft_otam_reference(cost) + soft_otam_reference(cost.T)
            costs.append(turned if both_ways else soft_dtw_reference(cost))
        losses.append(F.cross_entropy(-torch.stack(costs)[None], torch.tensor([0])))
    found = SequenceContrast(strategy)(text, video, seeded(7))
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)


def test_the_video_may_be_shuffled_instead_or_too() -> None:
    text, video = vectors(2, 5, 8), vectors(2, 5, 8, seed=1)
    swapped = SequenceContrast(shuffled="video")(text, video, seeded())
    assert swapped.item() == pytest.approx(SequenceContrast()(video, text, seeded()).item(), abs=1e-12)
    generator = seeded()
    parts = SequenceContrast()(text, video, generator) + SequenceContrast(shuffled="video")(text, video, generator)
    assert SequenceContrast(shuffled="both")(text, video, seeded()).item() == pytest.approx(parts.item(), abs=1e-12)
    with pytest.raises(ValueError, match="shuffled: got 'frames'"):
        SequenceContrast(shuffled="frames")  # type: ignore[arg-type]


def test_both_sides_get_a_gradient_and_order_lowers_the_loss() -> None:
    text = vectors(4, 5, 16).requires_grad_()
    video = (text.detach() + 0.1 * vectors(4, 5, 16, seed=1)).requires_grad_()
    loss = SequenceContrast()(text, video, seeded())
    loss.backward()
    assert text.grad is not None
    assert video.grad is not None
    assert float(text.grad.abs().min()) > 0
    assert loss < SequenceContrast()(text, video.flip(1), seeded())


def test_the_total_weighs_both_terms() -> None:
    video, text = vectors(12, 8).float(), vectors(12, 8, seed=1).float()
    rows = torch.tensor([[0, 2, 4, 5, 1], [6, 7, 8, 9, 11]])
    terms = TempCLRLoss()(video, text, rows, seeded())
    assert terms.clip.item() == pytest.approx(VideoCLIPLoss()(video, text).item())
    assert terms.sequence.item() == pytest.approx(SequenceContrast()(text[rows], video[rows], seeded()).item())
    assert terms.total.item() == pytest.approx(0.3 * terms.clip.item() + 0.7 * terms.sequence.item(), rel=1e-6)
    with pytest.raises(ValueError, match="weight: got 7"):
        TempCLRLoss(weight=7.0)


def test_without_a_qualifying_video_the_clips_still_train() -> None:
    video = vectors(4, 8).float().requires_grad_()
    terms = TempCLRLoss()(video, vectors(4, 8, seed=1).float(), torch.zeros(0, 5, dtype=torch.int64), seeded())
    assert terms.sequence.item() == 0.0
    assert not terms.sequence.requires_grad
    terms.total.backward()
    assert video.grad is not None


def test_layer_norms_are_chosen_by_name() -> None:
    with torch.device("meta"):
        encoder = DualEncoder(DualConfig())
    assert tune_layer_norms_only(encoder) == 59_904
    names = layer_norm_names(encoder)
    assert len(names) == 2 * 39
    assert {name for name, parameter in encoder.named_parameters() if parameter.requires_grad} == set(names)


def test_other_names_do_not_count() -> None:
    model = nn.ModuleDict({"LayerNorm": nn.LayerNorm(4), "layer_norm": nn.LayerNorm(4), "MyLayerNorm": nn.LayerNorm(4)})
    assert layer_norm_names(model) == ["LayerNorm.weight", "LayerNorm.bias"]
    with pytest.raises(ValueError, match="nothing would be trained"):
        tune_layer_norms_only(nn.Linear(2, 2))
