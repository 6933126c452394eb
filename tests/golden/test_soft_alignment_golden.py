"""Soft DTW, soft OTAM and the cosine with epsilon against what TempCLR trains with (provenance: golden/README.md)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.alignment.soft_dtw import Method, soft_dtw, soft_dtw_reference
from models.alignment.soft_otam import soft_otam, soft_otam_reference
from models.losses.tempclr import cosine_similarity

pytestmark = pytest.mark.shared
FORMS = {"soft_dtw": (soft_dtw, soft_dtw_reference), "soft_otam": (soft_otam, soft_otam_reference)}


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, Tensor]:
    with np.load(shared_dir / "golden" / "alignment_golden.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if file[name].dtype.kind == "f"}


def differences(
    golden: dict[str, Tensor], name: str, case: int, run: Callable[[Tensor], Tensor]
) -> tuple[float, float]:
    cost = golden[f"cost_{case}"].flatten(0, 1).clone().requires_grad_()
    total = run(cost)
    (grad,) = torch.autograd.grad(total.sum(), cost)
    value_gap = (total.detach() - golden[f"{name}_{case}"].flatten()).abs().max()
    return float(value_gap), float((grad - golden[f"{name}_grad_{case}"].flatten(0, 1)).abs().max())


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("method", ["lanes", "diagonals"])
def test_values_and_gradients(golden: dict[str, Tensor], name: str, case: int, method: Method) -> None:
    value, grad = differences(golden, name, case, lambda cost: FORMS[name][0](cost, gamma=0.1, method=method))
    assert value <= 1e-5
    assert grad <= 1e-4


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("name", FORMS)
def test_reference(golden: dict[str, Tensor], name: str, case: int) -> None:
    run = FORMS[name][1]
    value, grad = differences(golden, name, case, lambda cost: torch.stack([run(one, 0.1) for one in cost]))
    assert value <= 1e-5
    assert grad <= 1e-4


def test_cosine_with_epsilon(golden: dict[str, Tensor]) -> None:
    found = cosine_similarity(golden["cos_x"], golden["cos_y"], epsilon=0.01)
    assert float((found - golden["cos_sim"]).abs().max()) <= 1e-6
