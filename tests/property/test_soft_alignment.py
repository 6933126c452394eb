"""Soft DTW and soft OTAM: every path up to 5 x 5, three forms that agree, exact gradients, padding, the hard limit."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.alignment.dtw import dtw_reference
from models.alignment.soft_diagonals import shear, unshear
from models.alignment.soft_dtw import Method, SoftDTW, soft_dtw, soft_dtw_reference
from models.alignment.soft_otam import SoftOTAM, soft_otam, soft_otam_reference

METHODS: tuple[Method, ...] = ("lanes", "diagonals")
FORMS = ((soft_dtw, soft_dtw_reference), (soft_otam, soft_otam_reference))
SHAPES = list(itertools.product(range(1, 6), repeat=2))


def dtw_costs(cost: np.ndarray, i: int, j: int) -> list[float]:
    """The cost of every DTW path to a cell, by enumeration."""
    if i == 0 and j == 0:
        return [cost[0, 0]]
    before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
    return [cost[i, j] + rest for a, b in before if a >= 0 and b >= 0 for rest in dtw_costs(cost, a, b)]


def otam_costs(cost: np.ndarray, i: int, j: int) -> list[float]:
    """The cost of every OTAM path to a cell of the grid with its two zero columns, by enumeration."""
    last = cost.shape[1] + 1
    if j == 0:
        return [0.0]
    own = 0.0 if j == last else cost[i, j - 1]
    if i == 0:
        before = [(0, j - 1)]
    elif j in (1, last):
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
    else:
        before = [(i - 1, j - 1), (i, j - 1)]
    return [own + rest for a, b in before for rest in otam_costs(cost, a, b)]


def soft_minimum(costs: list[float], gamma: float) -> float:
    values = -np.array(costs) / gamma
    return float(-gamma * (values.max() + np.log(np.exp(values - values.max()).sum())))


def random_costs(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_equals_every_path(rows: int, columns: int) -> None:
    cost = random_costs(3, rows, columns, seed=rows * 10 + columns) - 0.5
    for gamma in (0.1, 1.0):
        dtw = [soft_minimum(dtw_costs(one, rows - 1, columns - 1), gamma) for one in cost.numpy()]
        otam = [soft_minimum(otam_costs(one, rows - 1, columns + 1), gamma) for one in cost.numpy()]
        assert [float(soft_dtw_reference(one, gamma)) for one in cost] == pytest.approx(dtw, abs=1e-12)
        assert [float(soft_otam_reference(one, gamma)) for one in cost] == pytest.approx(otam, abs=1e-12)
        for method in METHODS:
            assert soft_dtw(cost, gamma=gamma, method=method).tolist() == pytest.approx(dtw, abs=1e-12)
            assert soft_otam(cost, gamma=gamma, method=method).tolist() == pytest.approx(otam, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("fast", "reference"), FORMS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ragged_batches_equal_the_reference_pair_by_pair(
    fast: Callable[..., Tensor], reference: Callable[..., Tensor], method: Method, data: st.DataObject
) -> None:
    num = data.draw(st.sampled_from((1, 2, 5, 33)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, columns = rng.integers(1, 7, num), rng.integers(1, 8, num)
    gamma = data.draw(st.sampled_from((0.05, 0.1, 1.0)))
    real = torch.from_numpy(
        (np.arange(rows.max())[:, None] < rows[:, None, None]) & (np.arange(columns.max()) < columns[:, None, None])
    )
    values = torch.from_numpy(rng.normal(size=real.shape))
    cost = torch.where(real, values, torch.nan).requires_grad_()
    weights = torch.from_numpy(rng.normal(size=num))
    found = fast(cost, torch.from_numpy(rows), torch.from_numpy(columns), gamma=gamma, method=method)
    (grad,) = torch.autograd.grad((found * weights).sum(), cost)
    assert bool((grad[~real] == 0).all())
    for pair in range(num):
        alone = values[pair, : rows[pair], : columns[pair]].clone().requires_grad_()
        total = reference(alone, gamma)
        (expected,) = torch.autograd.grad(total * weights[pair], alone)
        assert found[pair].item() == pytest.approx(total.item(), abs=1e-11)
        assert torch.allclose(grad[pair, : rows[pair], : columns[pair]], expected, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fast", [soft_dtw, soft_otam])
def test_gradients_in_float64(fast: Callable[..., Tensor], method: Method) -> None:
    for shape in ((2, 3, 4), (2, 1, 3), (2, 4, 1)):
        cost = random_costs(*shape).requires_grad_()
        assert torch.autograd.gradcheck(lambda cost: fast(cost, gamma=0.3, method=method), (cost,), atol=1e-7)
    lengths = torch.tensor([2, 3]), torch.tensor([4, 1])
    cost = random_costs(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda cost: fast(cost, *lengths, gamma=0.3, method=method), (cost,), atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strategy", [SoftDTW, SoftOTAM])
def test_padding_changes_nothing(strategy: type[SoftDTW] | type[SoftOTAM], method: Method) -> None:
    align = strategy(method=method)
    cost = random_costs(40, 5, 6, dtype=torch.float32).requires_grad_()
    lengths = torch.full((40,), 5), torch.full((40,), 6)
    plain = align(cost)
    (grad,) = torch.autograd.grad(plain.sum(), cost)
    for filling in (0.0, -100.0, torch.inf, torch.nan):
        padded = torch.full((40, 9, 11), filling)
        padded[:, :5, :6] = cost.detach()
        padded.requires_grad_()
        found = align(padded, *lengths)
        (padded_grad,) = torch.autograd.grad(found.sum(), padded)
        assert torch.equal(found, plain)
        assert torch.equal(padded_grad[:, :5, :6], grad)
        assert int(padded_grad.count_nonzero()) == int(grad.count_nonzero())


@pytest.mark.parametrize("method", METHODS)
def test_towards_gamma_zero_it_is_the_cheapest_path(method: Method) -> None:
    cost = random_costs(6, 5, 5, seed=4)
    hard_dtw = [dtw_reference(one).total for one in cost.numpy()]
    hard_otam = [min(otam_costs(one, 4, 6)) for one in cost.numpy()]
    gaps = []
    for gamma in (1.0, 0.1, 1e-2, 1e-3, 1e-6):
        dtw = np.array(soft_dtw(cost, gamma=gamma, method=method))
        otam = np.array(soft_otam(cost, gamma=gamma, method=method))
        assert (dtw <= np.array(hard_dtw) + 1e-12).all()
        assert (otam <= np.array(hard_otam) + 1e-12).all()
        gaps.append(max(np.abs(dtw - hard_dtw).max(), np.abs(otam - hard_otam).max()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5


IDENTITY = 1 - np.eye(5)
THREE = np.array([[0.1, 0.9, 0.8], [0.7, 0.2, 0.6], [0.9, 0.5, 0.3]])
WIDE = np.array([[0.1, 0.9, 0.8, 0.4], [0.7, 0.2, 0.6, 0.5]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("cost", "dtw", "one_way", "both"),
    [
        (IDENTITY, -3.63195e-05, -2.27005e-05, -4.54010e-05),
        (IDENTITY[::-1].copy(), 3.99994552, None, 7.09347131),
        (THREE, 0.59897436, 0.58988371, 1.16570014),
        (THREE[[1, 0, 2]], 1.59102923, None, 1.96718214),
        (WIDE, 1.39979290, 1.39924529, 1.62892513),
    ],
)
def test_published_values(cost: np.ndarray, dtw: float, one_way: float | None, both: float, method: Method) -> None:
    batch = torch.from_numpy(cost)[None]  # the table was made in float32
    assert soft_dtw(batch, method=method).item() == pytest.approx(dtw, abs=2e-7)
    assert SoftDTW(method=method)(batch).item() == pytest.approx(dtw, abs=2e-7)
    assert SoftOTAM(method=method)(batch).item() == pytest.approx(both, abs=2e-7)
    if one_way is not None:
        assert soft_otam(batch, method=method).item() == pytest.approx(one_way, abs=2e-7)


@pytest.mark.parametrize("method", METHODS)
def test_steep_costs_and_long_sequences_stay_finite(method: Method) -> None:
    cost = (random_costs(2, 60, 90, dtype=torch.float32) * 60).requires_grad_()
    total = soft_dtw(cost, method=method)
    (grad,) = torch.autograd.grad(total.sum(), cost)
    hard = [dtw_reference(one).total for one in cost.detach().double().numpy()]
    assert total.tolist() == pytest.approx(hard, rel=1e-4)
    assert bool(torch.isfinite(grad).all())
    assert grad[:, 0, 0].tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_raised_and_nan_stays_nan(method: Method) -> None:
    cost = random_costs(3, 4, 5, dtype=torch.float32)
    half = cost.bfloat16()
    assert soft_dtw(half, method=method).dtype == torch.float32
    assert torch.equal(soft_dtw(half, method=method), soft_dtw(half.float(), method=method))
    cost[1, 2, 2] = torch.nan
    assert soft_dtw(cost, method=method).isnan().tolist() == [False, True, False]
    assert soft_otam(cost, method=method).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_does_not_depend_on_its_neighbours(method: Method) -> None:
    cost = random_costs(70, 4, 5, dtype=torch.float32)
    together = soft_dtw(cost, method=method)
    alone = torch.cat([soft_dtw(one[None], method=method) for one in cost])
    assert torch.equal(together, alone) if method == "lanes" else torch.allclose(together, alone, atol=1e-6)
    assert torch.equal(together, soft_dtw(cost, method=method))


def test_the_strided_and_the_empty_batch() -> None:
    cost = random_costs(4, 6, 5)
    assert torch.allclose(soft_dtw(cost.transpose(1, 2)), soft_dtw(cost), atol=1e-12)
    for method in METHODS:
        assert soft_dtw(cost[:0], method=method).shape == (0,)


def test_shearing_is_undone() -> None:
    grid = random_costs(2, 3, 4)
    sheared = shear(grid, -1.0)
    assert sheared.shape == (2, 3, 6)
    assert sheared[0, 2].tolist() == [-1.0, -1.0, *grid[0, 2].tolist()]
    assert torch.equal(unshear(sheared), grid)


@pytest.mark.parametrize("fast", [soft_dtw, soft_otam])
def test_what_is_no_pair_is_refused(fast: Callable[..., Tensor]) -> None:
    cost = random_costs(2, 3, 4)
    with pytest.raises(ValueError, match="cost: got"):
        fast(cost[0])
    with pytest.raises(ValueError, match="cost: got"):
        fast(cost[:, :0])
    with pytest.raises(ValueError, match="cost: got"):
        fast(cost.long())
    with pytest.raises(ValueError, match=r"num_rows: got \[0, 3\], expected 2 lengths in 1..3"):
        fast(cost, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="num_columns"):
        fast(cost, None, torch.tensor([5, 3]))
    with pytest.raises(ValueError, match="gamma: got 0"):
        fast(cost, gamma=0.0)
    with pytest.raises(ValueError, match="method: got 'gpu'"):
        fast(cost, method="gpu")
    with pytest.raises(ValueError, match="method: got 'lanes' on meta"):
        fast(cost.to("meta"), method="lanes")


@pytest.mark.gpu
def test_the_gpu_equals_the_cpu() -> None:
    cost = random_costs(64, 32, 48)
    rows, columns = torch.randint(1, 33, (64,)), torch.randint(1, 49, (64,))
    for strategy in (SoftDTW(), SoftOTAM()):
        results = []
        for device in ("cpu", "cuda"):
            moved = cost.to(device).requires_grad_()
            total = strategy(moved, rows.to(device), columns.to(device))
            (grad,) = torch.autograd.grad(total.sum(), moved)
            results.append((total.cpu(), grad.cpu()))
        assert torch.allclose(results[0][0], results[1][0], atol=1e-10)
        assert torch.allclose(results[0][1], results[1][1], atol=1e-10)
