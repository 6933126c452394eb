"""What the doctor says of libraries, programs, weights and CUDA."""

import sys
from pathlib import Path
from typing import Any

import pytest

from stages.doctor.machine import Imported, check_cuda, check_faiss, check_machine, check_weights, import_all
from stages.doctor.records import Diagnosis
from stages.errors import ConfigError


def imported(**facts: Any) -> Imported:
    return Imported(version="1", error="", facts=facts)


def test_this_machine() -> None:
    checks = {check.name: check for check in check_machine()}
    for name in ("numpy", "pyarrow", "av", "torch", "ray", "faiss", "ffmpeg"):
        assert checks[name].verdict == "ok", checks[name]
    assert "libavcodec" in checks["av"].found
    assert checks["torch"].found[0].isdigit()
    assert sys.version.split()[0] in checks["python"].found
    program = checks["ffmpeg"].found.split(" at ")[1]
    assert Path(program).is_file()
    diagnosis = Diagnosis(full=False, files=(), checks=tuple(checks.values()))
    assert not diagnosis.has_problem
    assert any(line.startswith("ok      numpy: ") for line in diagnosis.lines())


def test_libraries_that_break_cost_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib_refuses.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    (tmp_path / "lib_dies.py").write_text("import os, signal\nprint('noise')\nos.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = import_all(["lib_refuses", "json", "lib_dies", "csv", "lib_absent"])
    assert "libcudart.so.12" in found["lib_refuses"].error
    assert "exit code -11" in found["lib_dies"].error
    assert "ModuleNotFoundError" in found["lib_absent"].error
    assert found["json"].error == found["csv"].error == ""


@pytest.mark.parametrize(
    ("torch", "faiss", "device", "verdict", "words"),
    [
        ({"cuda": None, "cuda_available": False}, {"gpu_build": False}, "cpu", "ok", ""),
        ({"cuda": None, "cuda_available": False}, {"gpu_build": False}, "cuda", "problem", "built for CPU"),
        ({"cuda": "12.8", "cuda_available": False}, {"gpu_build": False}, "cuda", "problem", "nvidia-smi"),
        (
            {"cuda": "12.8", "cuda_available": True, "devices": ["H200"]},
            {"gpu_build": True, "num_gpus": 1},
            "cuda",
            "ok",
            "",
        ),
        (
            {"cuda": "12.8", "cuda_available": True},
            {"gpu_build": True, "num_gpus": 1},
            "cpu",
            "warning",
            "card is there",
        ),
        ({"cuda": "12.8", "cuda_available": True}, {"gpu_build": False}, "cuda", "warning", "GPU build of faiss"),
        ({"cuda": None, "cuda_available": False}, {"gpu_build": True, "num_gpus": 0}, "cpu", "warning", "ACCEL=cpu"),
    ],
)
def test_cuda_pairs(torch: dict[str, Any], faiss: dict[str, Any], device: str, verdict: str, words: str) -> None:
    (check,) = check_cuda(imported(**torch), imported(**faiss), device)
    assert check.verdict == verdict
    assert words in check.advice


def test_faiss_is_there_once() -> None:
    assert check_faiss({"faiss-cpu": "1.15"}, imported())[0].verdict == "ok"
    both = check_faiss({"faiss-cpu": "1.15", "faiss-gpu": "1.15"}, imported())[0]
    assert (both.verdict, "two builds" in both.found) == ("problem", True)
    assert check_faiss({}, imported())[0].verdict == "problem"
    broken = check_faiss({"faiss-gpu": "1.15"}, Imported(version="", error="no libcuda", facts={}))[0]
    assert "no libcuda" in broken.found


def test_weights() -> None:
    assert check_weights("features.s3d", "random:seed=0", None, 1024).verdict == "warning"
    assert check_weights("features.s3d", "sha256:ab", None, 512).found == "sha256:ab, all shapes fit, 512 components"
    refused = check_weights("features.s3d", "", ConfigError("fc.weight got shape (3,), expected (4,)"), None)
    assert (refused.verdict, "fc.weight" in refused.advice) == ("problem", True)
