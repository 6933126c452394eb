"""The linear probe's classifier: L2-regularised, squared-hinge, one against the rest, solved in the primal.

For each class, with y = +1 on its rows and -1 elsewhere: min_w |w|^2 / 2 + C sum_i max(0, 1 - y_i w.x_i)^2, no bias.
That is liblinear's solver 2 (`-s 2`), which VCLR's protocol names. The function is smooth and 1-strongly convex, so a
weight whose gradient has norm g is at most g away from the one solution, and any solver will do. Ours takes Newton
steps by conjugate gradients as liblinear does (Lin, Weng and Keerthi, 2008), but for all classes at once, so that the
work is matrix products; a dependency on scikit-learn and SciPy for this one function would be slower.

Letters: N rows, D their width, K classes.
"""

import torch
from torch import Tensor

_CLASSES_AT_ONCE = 64
_ROWS_AT_ONCE = 16_384
"""Rows are kept as they come and widened to float64 a block at a time."""
_MOST_NEWTON_STEPS = 200
_MOST_GRADIENT_STEPS = 200
_INNER_TOLERANCE = 0.1
"""A Newton step is solved to this share of the gradient; a better one would cost more than it saves."""
_LEAST_DECREASE = 1e-4
_MOST_HALVINGS = 40


def fit_linear_svm(
    features: Tensor, labels: Tensor, num_classes: int, *, cost: float = 1.0, tolerance: float = 1e-3
) -> Tensor:
    """Fit one weight vector a class.

    Args:
        features: (N, D) float, as they are: nothing is normalised or centred.
        labels: (N,) int64 in [0, K).
        num_classes: K; a class without a row gets a vector that says no to all rows.
        cost: C.
        tolerance: a class is done when the norm of its gradient is this share of that at w = 0, times the smaller
            share of its two signs (liblinear's rule, whose default is 0.01).

    Returns:
        (K, D) float64.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or the tolerance is out of reach.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"svm: got features {tuple(features.shape)} and labels {tuple(labels.shape)}, expected (N, D)")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes or not bool(torch.isfinite(features).all()):
        raise ValueError(f"svm: expected finite features and labels from 0 to {num_classes - 1}")
    weights = []
    for classes in torch.arange(num_classes, device=features.device).split(_CLASSES_AT_ONCE):
        signs = torch.where(labels[:, None] == classes, 1.0, -1.0).double()
        weights.append(_Problem(features, signs, cost).solve(tolerance))
    return torch.cat(weights, dim=1).T.contiguous()


def svm_scores(features: Tensor, weights: Tensor) -> Tensor:
    """Decision values: (N, D) float and (K, D) float64 to (N, K) float64, greater is better."""
    return _times(features, weights.T)


class _Problem:
    """K problems on the same rows; everything that belongs to a problem is a column."""

    def __init__(self, rows: Tensor, signs: Tensor, cost: float) -> None:
        self.rows, self.signs, self.cost = rows, signs, cost

    def solve(self, tolerance: float) -> Tensor:
        """Return (D, K) float64 weights."""
        weights = self.rows.new_zeros((self.rows.shape[1], self.signs.shape[1]), dtype=torch.float64)
        values = self.rows.new_zeros(self.signs.shape, dtype=torch.float64)
        share = (self.signs > 0).double().mean(dim=0)
        limits: Tensor | None = None
        for _ in range(_MOST_NEWTON_STEPS):
            slack = (1 - self.signs * values).clamp_(min=0)
            gradient = weights - 2 * self.cost * _transposed_times(self.rows, self.signs * slack)
            norms = gradient.norm(dim=0)
            if limits is None:
                limits = tolerance * norms * torch.minimum(share, 1 - share).clamp(min=1 / len(self.rows))
            unsolved = torch.nonzero(norms > limits)[:, 0]
            if not len(unsolved):
                return weights
            part = _Problem(self.rows, self.signs[:, unsolved], self.cost)
            step = part._newton_step(gradient[:, unsolved], slack[:, unsolved] > 0)
            change = _times(self.rows, step)
            size = part._step_size(weights[:, unsolved], values[:, unsolved], gradient[:, unsolved], step, change)
            weights[:, unsolved] += size * step
            values[:, unsolved] += size * change
        raise ValueError(f"svm: no solution within tolerance {tolerance:g} after {_MOST_NEWTON_STEPS} Newton steps")

    def _newton_step(self, gradient: Tensor, active: Tensor) -> Tensor:
        """Solve H step = -gradient by conjugate gradients, H = 1 + 2 C X^T A X with the rows that are active."""
        step, residual = torch.zeros_like(gradient), -gradient
        direction, squares = residual.clone(), residual.square().sum(dim=0)
        goal = _INNER_TOLERANCE**2 * squares
        for _ in range(_MOST_GRADIENT_STEPS):
            going = squares > goal
            if not bool(going.any()):
                break
            curved = direction + 2 * self.cost * _transposed_times(self.rows, active * _times(self.rows, direction))
            size = torch.where(going, squares / (direction * curved).sum(dim=0).clamp(min=1e-300), 0.0)
            step += size * direction
            residual -= size * curved
            before, squares = squares, torch.where(going, residual.square().sum(dim=0), squares)
            direction = torch.where(going, residual + squares / before.clamp(min=1e-300) * direction, direction)
        return step

    def _step_size(self, weights: Tensor, values: Tensor, gradient: Tensor, step: Tensor, change: Tensor) -> Tensor:
        """Halve 1 until a column's value falls enough (Armijo): (K,) float64."""
        slope = (gradient * step).sum(dim=0)
        before = self._objective(weights, values)
        size = torch.ones_like(slope)
        for _ in range(_MOST_HALVINGS):
            after = self._objective(weights + size * step, values + size * change)
            too_far = after > before + _LEAST_DECREASE * size * slope
            if not bool(too_far.any()):
                break
            size = torch.where(too_far, size / 2, size)
        return size

    def _objective(self, weights: Tensor, values: Tensor) -> Tensor:
        slack = (1 - self.signs * values).clamp_(min=0)
        return weights.square().sum(dim=0) / 2 + self.cost * slack.square().sum(dim=0)


def _times(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.cat([block.double() @ columns for block in rows.split(_ROWS_AT_ONCE)])


def _transposed_times(rows: Tensor, columns: Tensor) -> Tensor:
    total = columns.new_zeros((rows.shape[1], columns.shape[1]))
    for block, part in zip(rows.split(_ROWS_AT_ONCE), columns.split(_ROWS_AT_ONCE), strict=True):
        total += block.double().T @ part
    return total
