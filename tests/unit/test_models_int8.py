"""S3D in whole numbers: operands, gates, and sums that are exact where sixteen bits would not hold them."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from models.backbones.int8 import Int8Convolutions
from models.backbones.maps import max_pool
from models.backbones.planar import Branch

INT8 = Int8Convolutions(torch.float32)


def exact(planes: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    """In float64, which holds all these sums: (N, H, W, C) to (N, H', W', C_out)."""
    result = F.conv2d(planes.permute(0, 3, 1, 2).double(), weight.double(), padding=padding)
    return F.relu(result).permute(0, 2, 3, 1)


def test_an_operand_is_its_map_within_half_a_unit() -> None:
    x = torch.rand((1, 3, 5, 7, 11), generator=torch.Generator().manual_seed(0)) * 40
    values, unit = INT8.operand(x)
    assert values.dtype == torch.uint8
    assert values.max() == 127
    assert unit == pytest.approx(x.max().item() / 127)
    assert (values * unit - x).abs().max() <= 0.5 * unit * (1 + 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_operand_of_zeros_is_zero(dtype: torch.dtype) -> None:
    values, unit = Int8Convolutions(dtype).operand(torch.zeros((1, 1, 2, 2, 4), dtype=dtype))
    assert not values.any()
    assert math.isfinite(unit)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_map_that_is_not_finite_has_no_operand(broken: float) -> None:
    x = torch.ones((1, 1, 2, 2, 4))
    x[0, 0, 1, 1, 2] = broken
    with pytest.raises(ValueError, match=f"largest value of a map: got {broken}, expected it finite"):
        INT8.operand(x)


def gate(means: torch.Tensor) -> torch.Tensor:
    """More for channels of a larger mean than the others."""
    return torch.sigmoid(means - means.mean(dim=1, keepdim=True))


def branches(dtype: torch.dtype) -> list[Branch]:
    """Maps of two clips, of the same places: 16 channels, and 24 of larger values."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand((2, 4, 6, 8, c), generator=generator) * size for c, size in ((16, 3.0), (24, 40.0))]
    return [Branch(x.to(dtype), gate) for x in maps]


def gated(found: list[Branch]) -> torch.Tensor:
    """In float64."""
    return torch.cat([x.double() * gate(x.double().mean(dim=(1, 2, 3)))[:, None, None, None] for x, _ in found], 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_joined_branches_are_the_gated_ones_within_half_a_unit(dtype: torch.dtype) -> None:
    found = branches(dtype)
    expected = gated(found)
    values, unit = Int8Convolutions(dtype).join(iter(found), 40)
    assert values.dtype == torch.uint8
    assert values.max() == 127
    assert (values * unit - expected).abs().max() <= 0.5 * unit * (1 + 1e-4)
    means = Int8Convolutions(dtype).join_means(iter(found), 40)
    assert torch.allclose(means.double(), expected.mean(dim=(1, 2, 3)), rtol=1e-5)


def test_pooled_bytes_are_bytes_of_the_pooled_map() -> None:
    pool = partial(max_pool, kernel=(3, 3, 3), stride=(2, 2, 2))
    x = branches(torch.float32)[0].values
    (values, unit), (whole, whole_unit) = INT8.operand(pool(x)), INT8.operand(x, pool)
    assert whole.equal(values)
    assert whole_unit == unit
    joined, unit = INT8.join(branches(torch.float32), 40, pool)
    assert (joined * unit - pool(gated(branches(torch.float32)).float())).abs().max() <= 0.5 * unit * (1 + 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_means_of_many_places_are_exact(dtype: torch.dtype) -> None:
    """One float32 after the other would lose what is small beside the sum: 300,000 values about 1000."""
    x = (1000 + torch.rand((1, 30, 100, 100, 8), generator=torch.Generator().manual_seed(0))).to(dtype)
    means = INT8.join_means([Branch(x, torch.ones_like)], 8)
    assert torch.allclose(means.double(), x.double().mean(dim=(1, 2, 3)), rtol=2e-7)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_branches_that_are_not_finite_are_not_joined(broken: float) -> None:
    first, second = branches(torch.float32)
    second.values[1, 0, 3, 2, 5] = broken
    with pytest.raises(ValueError, match="expected it finite; are the weights damaged"):
        INT8.join([first, second], 40)
    with pytest.raises(ValueError, match="expected it finite; are the weights damaged"):
        INT8.join([second, first], 40)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 1), (3, 3)])
def test_whole_numbers_are_convolved_exactly(kernel: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (32, 48, *kernel), generator=generator).float()
    weight[:, 0, 0, 0] = 127  # so that each channel's unit is 1
    planes = torch.randint(0, 128, (2, 9, 10, 48), generator=generator, dtype=torch.uint8)
    padding = (kernel[0] // 2, kernel[1] // 2)
    got = INT8.make(weight, torch.zeros(32), padding)(planes, 1.0)
    assert got.double().equal(exact(planes, weight, padding))


@pytest.mark.parametrize(("pixels", "largest", "largest_weight"), [(True, 255, 64), (False, 127, 127)])
def test_the_largest_sums_do_not_saturate(pixels: bool, largest: int, largest_weight: int) -> None:
    """On a CPU without VNNI a pair of products lies in 16 bits; sums behind it in 32."""
    weight = torch.full((16, 48, 4, 4), 1.5)
    planes = torch.full((1, 6, 6, 48), largest, dtype=torch.uint8)
    got = INT8.make(weight, torch.full((16,), 0.25), (0, 0), pixels=pixels)(planes, 2.0)
    assert torch.allclose(got, torch.full_like(got, 48 * 16 * largest * 1.5 * 2.0 + 0.25), rtol=1e-6)
    assert largest * largest_weight * 2 < 2**15


def test_weights_that_are_zero_leave_the_bias() -> None:
    got = INT8.make(torch.zeros((4, 8, 1, 1)), torch.tensor([-1.0, 0.0, 1.0, 2.0]), (0, 0))(
        torch.full((1, 3, 3, 8), 100, dtype=torch.uint8), 0.5
    )
    assert got.equal(torch.tensor([0.0, 0.0, 1.0, 2.0]).expand(1, 3, 3, 4))
