"""Markers that skip loudly, and the folders that tests share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.small_run import SmallRun

SHARED_DIR = Path(os.environ.get("FABULA_SHARED", Path(__file__).parents[2] / "shared"))


def _missing(marker: str) -> str | None:
    """Why tests with `marker` cannot run here, or None."""
    if marker == "shared" and not (SHARED_DIR / "golden").is_dir():
        return f"the shared folder is not at {SHARED_DIR} (set FABULA_SHARED)"
    if marker == "gpu":
        import torch

        if not torch.cuda.is_available():
            return "no NVIDIA GPU is visible to torch"
    if marker == "torchcodec":
        try:
            import torchcodec  # noqa: F401
        except (ImportError, RuntimeError, OSError) as error:
            return f"torchcodec does not import ({str(error).strip().splitlines()[0]})"
    if marker == "browser":
        import shutil

        if not (os.environ.get("FABULA_CHROMIUM") or shutil.which("chromium")):
            return "no chromium (set FABULA_CHROMIUM)"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    required = {name for name in os.environ.get("FABULA_REQUIRE", "").split(",") if name}
    markers = ("shared", "gpu", "browser", "torchcodec")
    used = [name for name in markers if any(item.get_closest_marker(name) for item in items)]
    reasons = {marker: _missing(marker) for marker in used}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                if marker in required:
                    pytest.exit(f"FABULA_REQUIRE names {marker!r}, but {reason}", returncode=1)
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {reason}"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data; use only in tests marked `shared`."""
    return SHARED_DIR


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> "SmallRun":
    """A small corpus through every stage, inline; tests that change something work on a copy."""
    from tests.small_run import SmallRun

    run = SmallRun(tmp_path_factory.mktemp("small")).write()
    run.fabula("corpus")
    run.fabula("run")
    return run


@pytest.fixture(scope="session")
def step_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder that has learnt what six steps look like, trained by the stage."""
    from tests.benchmark_samples import train_encoder

    return train_encoder(tmp_path_factory.mktemp("steps"))
