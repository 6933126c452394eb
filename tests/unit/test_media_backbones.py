"""Which precisions a machine is trusted with."""

import pytest
import torch

from stages.errors import ConfigError
from stages.media.backbones import check_precision, load_s3d
from stages.media.presets import CLIP_PRESETS


def test_bfloat16_is_refused_by_a_cpu_that_would_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Old CPU", "avx512_bf16": False})
    with pytest.raises(ConfigError, match=r"bfloat16.*Old CPU has neither avx512_bf16 nor amx_bf16; set precision"):
        load_s3d(CLIP_PRESETS["demo"], None, None, 0, precision="bfloat16", device="cpu")
    check_precision("float32", "cpu")
    check_precision("bfloat16", "cuda")


@pytest.mark.parametrize("extension", ["avx512_bf16", "amx_bf16"])
def test_either_extension_will_do(monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {extension: True})
    check_precision("bfloat16", "cpu")
