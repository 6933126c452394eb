"""Imports go down, each library has one door, and planning is cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = ["ingest", "extract", "import_features", "align", "train", "embed", "realign", "index", "evaluate"]
ROOMS = ["media", "text", "datasets", "retrieval", "training", "evaluation", "serve", "corpus", "doctor"]
ENGINE = ["run", "units", "runs", "events", "progress", "executors"]

DOORS = {
    "ray": ["pipeline/executors/ray.py", "pipeline/executors/ray_train.py"],
    "decord": ["stages/media/"],
    "torchcodec": ["stages/media/"],
    "av": ["stages/media/"],
    "ffmpeg": ["stages/media/", "stages/corpus/"],
    "imageio_ffmpeg": ["stages/media/", "stages/corpus/"],
    "faiss": ["stages/retrieval/vectors.py"],
    "fastapi": ["stages/serve/"],
    "starlette": ["stages/serve/"],
    "uvicorn": ["stages/serve/"],
    "anyio": ["stages/serve/"],
    "webdataset": ["stages/artifacts/shards.py"],
    "tarfile": ["stages/artifacts/shards.py"],
    "pyarrow": ["stages/artifacts/"],
    "transformers": ["models/"],
    "pickle": ["models/backbones/restricted_pickle.py"],
    "tensorboardX": ["stages/training/scalars.py"],
    "spacy": ["stages/text/spacy_tagger.py"],
}


def sources() -> list[Path]:
    return [path for top in ("pipeline", "stages", "models") for path in sorted((ROOT / top).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Every imported module of a file, also those inside functions; type-checking ones count, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level(module: str) -> tuple[int, str] | None:
    """Floor of a module: the higher number may import the lower one."""
    parts = module.split(".")
    if parts[0] == "models":
        return (0, "models")
    if parts[0] == "pipeline":
        return (100, "pipeline")
    if parts[0] != "stages" or len(parts) < 2 or parts[1] == "__init__":
        return None
    if parts[1] in ("contract", "artifacts", "errors"):
        return (1, "base")
    if parts[1] in ROOMS:
        return (10 + ROOMS.index(parts[1]), parts[1])
    if parts[1] in VERBS:
        return (50, f"verb {parts[1]}")
    raise AssertionError(f"{module}: neither verb, room nor base; add it to the house's plan")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = level(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is None:
        return
    for module in imports(path):
        other = level(module) if module.split(".")[0] in ("pipeline", "stages", "models") else None
        if other is None or other == own:
            continue
        assert other[0] <= own[0], f"{path.name} ({own[1]}) imports {module} ({other[1]}): imports go down only"
        assert not (own[0] == other[0] == 50), f"verb {own[1]} imports {module}: verbs never import each other"


def test_the_engine_knows_no_verbs() -> None:
    for name in ENGINE:
        base = ROOT / "pipeline" / name
        for path in [base.with_suffix(".py")] if base.with_suffix(".py").exists() else sorted(base.rglob("*.py")):
            for module in imports(path):
                found = level(module) if module.startswith("stages.") else None
                assert found is None or found[0] <= 1, f"{path} imports {module}: the engine knows only the contract"


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    for path in sources():
        relative = str(path.relative_to(ROOT))
        if any(module.split(".")[0] == library for module in imports(path)):
            assert any(relative.startswith(door) for door in DOORS[library]), f"{relative} imports {library}"


def test_pipeline_knows_no_torch_and_no_video() -> None:
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        used = {module.split(".")[0] for module in imports(path)}
        assert not used & {"torch", "av", "decord", "faiss", "numpy"}, path


def test_planning_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; import pipeline.cli, pipeline.config, pipeline.plan;"
        "print([m for m in ('torch', 'ray', 'faiss', 'av', 'transformers', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_no_module_has_a_name_that_says_nothing() -> None:
    for path in sources():
        assert path.stem not in {"utils", "helpers", "misc", "common", "util", "helper"}, path
