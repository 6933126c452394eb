"""Which precisions and which arithmetic a machine is trusted with."""

import pytest
import torch

from stages.errors import ConfigError
from stages.media.backbones import check_arithmetic, check_precision, load_s3d
from stages.media.settings import OutputsConfig, S3DConfig


def test_bfloat16_is_refused_by_a_cpu_that_would_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Old CPU", "avx512_bf16": False})
    with pytest.raises(ConfigError, match=r"bfloat16.*Old CPU has neither avx512_bf16 nor amx_bf16; set precision"):
        load_s3d(S3DConfig(), precision="bfloat16", device="cpu")
    check_precision("float32", "cpu")
    check_precision("bfloat16", "cuda")


@pytest.mark.parametrize("extension", ["avx512_bf16", "amx_bf16"])
def test_either_extension_will_do(monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {extension: True})
    check_precision("bfloat16", "cpu")


def test_whole_numbers_are_refused_by_a_cpu_that_would_emulate_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Old CPU", "avx2": False})
    with pytest.raises(ConfigError, match=r"'int8': Old CPU has no AVX2; set arithmetic = 'float'"):
        load_s3d(S3DConfig(arithmetic="int8"), precision="float32", device="cpu")
    check_arithmetic("float")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    check_arithmetic("int8")


def test_whole_numbers_are_for_a_cpu() -> None:
    with pytest.raises(ValueError, match="'int8' is for a CPU"):
        OutputsConfig(s3d=S3DConfig(arithmetic="int8"), device="cuda")


def test_float_arithmetic_is_not_named_in_a_recipe() -> None:
    plain = S3DConfig().recipe()
    assert "arithmetic" not in plain
    assert S3DConfig(arithmetic="int8").recipe() == {**plain, "arithmetic": "int8.2"}
