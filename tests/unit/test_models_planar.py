"""Planar convolutions in whole numbers: their operands, and exact sums where sixteen bits would not hold them."""

import math

import pytest
import torch
import torch.nn.functional as F

from models.backbones.planar import Int8Convolutions

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
