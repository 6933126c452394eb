"""The linear probe's solver against closed forms, another algorithm, and the conditions of a minimum."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.actions import linear_svm
from models.actions.linear_svm import fit_linear_svm, svm_scores


def made(num_rows: int, dim: int, num_classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds, none of them around 0, as features behind a ReLU are."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    rows = rng.standard_normal((num_classes, dim))[labels] + rng.standard_normal((num_rows, dim)) + 0.5
    return torch.from_numpy(np.maximum(rows, 0).astype(np.float32)), torch.from_numpy(labels)


def dual_solution(rows: NDArray[np.float64], signs: NDArray[np.float64], cost: float) -> NDArray[np.float64]:
    """Dual coordinate descent (Hsieh et al., 2008, algorithm 1): nothing in common with the primal Newton method."""
    alpha, weights = np.zeros(len(rows)), np.zeros(rows.shape[1])
    curvature = (rows**2).sum(axis=1) + 0.5 / cost
    for _ in range(3000):
        for i in range(len(rows)):
            slope = signs[i] * (rows[i] @ weights) - 1 + alpha[i] * 0.5 / cost
            updated = max(alpha[i] - slope / curvature[i], 0.0)
            weights += (updated - alpha[i]) * signs[i] * rows[i]
            alpha[i] = updated
    return weights


def test_one_row_has_a_closed_form() -> None:
    row = torch.tensor([[3.0, -4.0]])
    for cost in (0.1, 1.0, 10.0):
        weights = fit_linear_svm(row, torch.tensor([0]), 2, cost=cost, tolerance=1e-10)
        expected = (2 * cost / (1 + 2 * cost * 25)) * row.double()
        assert torch.allclose(weights, torch.cat([expected, -expected]), rtol=1e-8)


@pytest.mark.parametrize("cost", [0.05, 1.0])
def test_another_algorithm_finds_the_same_weights(cost: float) -> None:
    rows, labels = made(24, 5, 3)
    weights = fit_linear_svm(rows, labels, 3, cost=cost, tolerance=1e-9).numpy()
    for index in range(3):
        expected = dual_solution(rows.double().numpy(), np.where(labels == index, 1.0, -1.0), cost)
        np.testing.assert_allclose(weights[index], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("num_rows", "dim", "num_classes"), [(300, 20, 7), (40, 200, 4)], ids=["tall", "wide"])
def test_no_gradient_is_left(num_rows: int, dim: int, num_classes: int) -> None:
    rows, labels = made(num_rows, dim, num_classes)
    weights = fit_linear_svm(rows, labels, num_classes, tolerance=1e-9)
    signs = torch.where(labels[:, None] == torch.arange(num_classes), 1.0, -1.0).double()
    slack = (1 - signs * (rows.double() @ weights.T)).clamp(min=0)
    gradient = weights - 2 * (signs * slack).T @ rows.double()
    assert gradient.norm(dim=1).max() <= 1e-6  # so no weight is farther than that from the solution
    assert weights.norm(dim=1).min() > 0.1


def test_blocks_of_rows_and_classes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = made(90, 10, 9)
    whole = fit_linear_svm(rows, labels, 9, tolerance=1e-8)
    monkeypatch.setattr(linear_svm, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(linear_svm, "_CLASSES_AT_ONCE", 2)
    assert torch.allclose(fit_linear_svm(rows, labels, 9, tolerance=1e-8), whole, atol=1e-7)


def test_separable_classes_are_told_apart_and_an_absent_one_is_never_chosen() -> None:
    rows, labels = made(60, 40, 3, seed=1)
    weights = fit_linear_svm(rows, labels, 4)
    chosen = svm_scores(rows, weights).argmax(dim=1)
    assert torch.equal(chosen, labels)
    assert (svm_scores(rows, weights)[:, 3] < 0).all()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(2, 2), torch.tensor([0, 2])),
        (torch.tensor([[float("nan")]]), torch.tensor([0])),
    ],
)
def test_input_of_another_form_is_refused(rows: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"svm: .*expected"):
        fit_linear_svm(rows, labels, 2)


def test_a_tolerance_out_of_reach_is_an_error_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_svm, "_MOST_NEWTON_STEPS", 3)
    with pytest.raises(ValueError, match="no solution within tolerance"):
        fit_linear_svm(*made(50, 10, 3), 3, tolerance=1e-300)
