"""TempCLR on CrossTask's step sequences and in few-shot episodes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.alignment.soft_dtw import SoftDTW, soft_dtw_reference
from models.alignment.soft_otam import SoftOTAM, soft_otam_reference
from models.losses.tempclr import SequenceContrast, cosine_similarity
from models.losses.tempclr_steps import (
    EpisodeLoss,
    StepSequenceLoss,
    episode_logits,
    shuffled_steps,
    shuffled_within_runs,
)
from tests.generators import seeded


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def test_drawn_steps_never_read_as_the_original() -> None:
    steps = torch.tensor([4, 2, 4])
    drawn = shuffled_steps(steps, 50, seeded())
    assert bool((drawn.sort(dim=1).values == torch.arange(3)).all())
    assert not bool((steps[drawn] == steps).all(dim=1).any())
    assert {tuple(steps[row].tolist()) for row in drawn} == {(2, 4, 4), (4, 4, 2)}
    with pytest.raises(ValueError, match="two different ids"):
        shuffled_steps(torch.tensor([3, 3]), 1, seeded())


def test_inner_shuffling_stays_inside_a_run() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 0, 2])
    drawn = shuffled_within_runs(labels, 40, seeded())
    assert bool((labels[drawn] == labels).all())
    runs = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
    assert bool((runs[drawn] == runs).all())
    assert len({tuple(row) for row in drawn[:, :3].tolist()}) == 6


def video() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """60 frames of which 54 are labelled, 4 steps, the order 2 2 0 3 after collapsing 2 0 3."""
    targets = torch.zeros(60, 4)
    targets[3:20, 2] = 1
    targets[20:40, 0] = 1
    targets[22, 3] = 1
    targets[40:57, 3] = 1
    return vectors(60, 8), vectors(4, 8, seed=1), targets, torch.tensor([2, 2, 0, 3])


@pytest.mark.parametrize("inner", [True, False])
def test_equals_the_rules_step_by_step(inner: bool) -> None:
    frames, steps, targets, order = video()
    loss = StepSequenceLoss(inner_shuffling=inner, frames_per_step=4)
    found = loss(frames, steps, targets, order, seeded(5)).total
    labelled = [index for index in range(60) if targets[index].any()]
    kept = [labelled[int(i * (len(labelled) - 1) / 11)] for i in range(12)]
    labels = torch.tensor([int(targets[index].nonzero()[0]) for index in kept])
    sequence = torch.tensor([2, 0, 3])
    distance = 1 - cosine_similarity(steps[sequence], frames[kept])
    generator = seeded(5)
    rows = shuffled_steps(sequence, 31, generator)
    columns = shuffled_within_runs(labels, 31, generator) if inner else torch.arange(12).expand(31, -1)
    costs = [soft_dtw_reference(distance)]
    costs += [soft_dtw_reference(distance[row][:, column]) for row, column in zip(rows, columns, strict=True)]
    contrast = F.cross_entropy(-torch.stack(costs)[None], torch.tensor([0]))
    per_frame = F.binary_cross_entropy_with_logits(frames @ steps.T, targets)
    assert found.item() == pytest.approx((0.88 * per_frame + 0.12 * contrast).item(), rel=1e-5)


def test_the_sequence_term_is_left_out_where_there_is_no_sequence() -> None:
    frames, steps, targets, order = video()
    loss = StepSequenceLoss()
    per_frame = 0.88 * F.binary_cross_entropy_with_logits(frames @ steps.T, targets).item()
    assert loss(frames, steps, targets, torch.tensor([2, 2]), seeded()).total.item() == pytest.approx(
        per_frame, rel=1e-6
    )
    assert float(loss.sequence(frames, steps, torch.zeros(60, 4), order, seeded())) == 0.0
    assert loss.eval()(frames, steps, targets, order, seeded()).total.item() == pytest.approx(per_frame, rel=1e-6)
    with pytest.raises(ValueError, match="targets: got"):
        loss(frames, steps, targets.T, order, seeded())


def test_frames_and_steps_get_a_gradient() -> None:
    frames, steps, targets, order = video()
    frames.requires_grad_()
    steps.requires_grad_()
    StepSequenceLoss(SoftOTAM(), weight=1.0)(frames, steps, targets, order, seeded()).total.backward()
    assert frames.grad is not None
    assert steps.grad is not None
    assert bool((steps.grad[[0, 2, 3]] != 0).any(dim=1).all())
    assert bool((steps.grad[1] == 0).all())


def test_episode_logits_are_mean_costs_over_shots() -> None:
    queries, support = vectors(2, 4, 8), vectors(3, 2, 4, 8, seed=1)
    found = episode_logits(queries, support, SoftOTAM())
    for query, shots in ((q, c) for q in range(2) for c in range(3)):
        costs = [1 - cosine_similarity(queries[query], support[shots, shot]) for shot in range(2)]
        mean = sum(soft_otam_reference(cost) + soft_otam_reference(cost.T) for cost in costs) / 2
        assert found[query, shots].item() == pytest.approx(-float(mean), abs=1e-5)


def test_an_episode_weighs_classes_and_orders() -> None:
    queries, support, classes = vectors(3, 5, 8), vectors(3, 2, 5, 8, seed=1), torch.tensor([2, 0, 1])
    logits = episode_logits(queries, support, SoftDTW())
    plain = F.cross_entropy(logits, classes)
    alone = EpisodeLoss(SoftDTW(), weight=0.0)(queries, support, classes, seeded())
    assert alone.total.item() == pytest.approx(plain.item())
    own = support[classes].flatten(0, 1)
    orders = SequenceContrast(SoftDTW())(own, queries.repeat_interleave(2, dim=0), seeded())
    found = EpisodeLoss(SoftDTW(), weight=0.25)(queries, support, classes, seeded()).total
    assert found.item() == pytest.approx((0.75 * plain + 0.25 * orders).item(), rel=1e-6)


def test_an_episode_of_the_right_class_costs_less() -> None:
    support = vectors(5, 1, 8, 16)
    queries = support[:, 0] + 0.1 * vectors(5, 8, 16, seed=1)
    right = EpisodeLoss()(queries, support, torch.arange(5), seeded()).total
    assert right < EpisodeLoss()(queries, support, torch.arange(5).roll(1), seeded()).total
