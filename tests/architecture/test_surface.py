"""What users see is frozen or executed: options, configurations, README, Makefile."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from pipeline.cli import app
from pipeline.config import load_config
from stages.evaluate import EvaluateConfig
from stages.evaluation.expected import read_tables
from stages.evaluation.protocols.registry import PROTOCOLS
from tests.small_run import SmallRun

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPTIONS = {
    "plan": ["--config", "--json", "--set"],
    "run": ["--config", "--executor", "--json", "--only", "--rehash", "--set", "--until"],
    "status": ["--config", "--json", "--set"],
    "doctor": ["--config", "--full", "--json", "--seconds", "--set"],
    "import captions": ["--json", "--to"],
    "import checkpoint": ["--json", "--to", "--tokenizer"],
    "import features": ["--backbone", "--config", "--json", "--rate", "--set", "--suffix"],
    "verify": ["--compare", "--config", "--json", "--set"],
    "retry": ["--config", "--json", "--set"],
    "prune": ["--config", "--json", "--set", "--yes"],
    "query": [
        "--bundle", "--config", "--encoder", "--hits", "--json", "--like", "--paragraph", "--rerank", "--set",
        "--tokenizer", "-k",
    ],
    "serve": ["--bundle", "--config", "--encoder", "--host", "--media", "--port", "--set", "--tokenizer"],
    "pool": ["--config", "--json", "--name"],
    "compare": ["--json"],
    "table": ["--json", "--to"],
    "export": ["--config", "--json", "--label", "--set", "--to"],
    "corpus": ["--config", "--json", "--set"],
}  # fmt: skip
SMALLER = {
    "demo": {
        "[corpus]\n": "[corpus]\nnum_train = 40\nnum_val = 2\nnum_test = 20\nnum_train_pairs = 8\nnum_pairs = 8\n",
        "\nsteps = 150\n": "\nsteps = 50\n",
    },
    "corpus": {"\nsteps = 300\n": "\nsteps = 30\n"},
}
NOT_RUN = ("make test", "make test-long", "make reproduce", "make bench", "make install ACCEL=cuda", "make demo-seeds")


def _options(name: str, command: Any) -> Iterator[tuple[str, list[str]]]:
    """The options of a command, or of the commands below it."""
    if hasattr(command, "commands"):
        for below, sub in command.commands.items():
            yield from _options(f"{name} {below}".strip(), sub)
    else:
        yield name, sorted(o for parameter in command.params for o in parameter.opts if o.startswith("-"))


def test_the_option_list_is_frozen() -> None:
    found = dict(_options("", typer.main.get_command(app)))
    assert found == {name: sorted(options) for name, options in OPTIONS.items()}


CONFIGS = [path for path in sorted((ROOT / "configs").rglob("*.toml")) if path.stem not in ("expected", "tables")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_loads_and_writes_itself(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    written = tmp_path / "again.toml"
    written.write_bytes(config.to_toml())
    assert load_config(written) == config


def test_readme_is_short_and_names_no_machine() -> None:
    assert len(README.splitlines()) <= 250
    for path in [*ROOT.glob("*.md"), *ROOT.glob("configs/**/*.toml"), ROOT / "Makefile"]:
        assert not re.search(r"\.\./shared|/work/|/root/", path.read_text()), path


def test_benchmarks_of_the_readme_can_be_configured() -> None:
    """The example is valid, its published rows exist, and the table leaves no protocol out."""
    example = tomllib.loads(re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)[0])
    config = EvaluateConfig.model_validate(example["evaluate"])
    assert config.expected is not None
    tables = read_tables(ROOT / config.expected)
    for row in config.benchmarks[0].published:
        assert row.method in tables[row.table].methods
    names = [get_args(settings.model_fields["name"].annotation)[0] for settings in PROTOCOLS]
    assert not [name for name in names if f"`{name}`" not in README]


def shell_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", README, flags=re.MULTILINE)
    for target in sorted({inline or block for inline, block in targets}):
        media = ["MEDIA=x"] if target == "run" else []
        subprocess.run(["make", "-n", target, *media], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which the README's commands run, against the environment under test.

    Its demo has a fifth of the videos, and training a part of the steps, which changes numbers and no command: whole
    ones were a quarter of this suite.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pipeline", "stages", "models", "configs", "Makefile", "README.md", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    for name, changes in SMALLER.items():
        config = folder / "configs" / f"{name}.toml"
        whole = config.read_text()
        for mark, instead in changes.items():
            assert whole.count(mark) == 1
            whole = whole.replace(mark, instead)
        config.write_text(whole)
    return folder


def sh(command: str, checkout: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "INSTALL": "", "MAKEFLAGS": ""}
    if command.startswith("make "):
        command += " INSTALL="
    done = subprocess.run(
        ["sh", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def start_and_stop(command: str, checkout: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        shlex.split(f"{command} --port 0"), cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert (process.wait(timeout=30), line[:15]) == (0, "serving http://"), line
    return line


@pytest.mark.timeout(1200)
def test_the_readme_s_commands_run(checkout: Path) -> None:
    commands = [command for command in shell_commands() if not command.startswith(NOT_RUN)]
    assert commands[0] == "make demo"
    out = sh(commands[0], checkout)
    assert "R@1" in out
    assert "chance" in out
    for command in commands[1:]:
        (start_and_stop if " serve " in command else sh)(command, checkout)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    *hits, shape = python(snippet, checkout).splitlines()
    assert [len(hit.split()) for hit in hits] == [4] * 3
    assert shape == "torch.Size([1, 128])"


def python(snippet: str, checkout: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", snippet]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True).stdout


PRETENDED_PYTHON = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip show faiss-"*) test -e "{folder}/$4" ;;
  "-m pip uninstall "*) echo uninstall >> {folder}/log && rm -f {folder}/faiss-cpu {folder}/faiss-gpu ;;
  *"[cpu,dev]") echo cpu >> {folder}/log && touch {folder}/faiss-cpu ;;
  *"[cuda,dev]") echo cuda >> {folder}/log && touch {folder}/faiss-gpu ;;
esac
"""
"""Pretends to make an environment and to install; notes what pip did, and which of the two is there."""


def test_one_faiss_takes_the_place_of_the_other(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PRETENDED_PYTHON.format(folder=tmp_path))
    python.chmod(0o755)
    expected: list[str] = []
    for accel, did in (
        ("cpu", ["cpu"]),
        ("cpu", []),
        ("cuda", ["uninstall", "cuda"]),
        ("cuda", []),
        ("cpu", ["uninstall", "cpu"]),
    ):
        command = ["make", "install", f"ACCEL={accel}", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        expected += did
        assert (tmp_path / "log").read_text().split() == expected
        assert [path.name for path in tmp_path.glob("faiss-*")] == ["faiss-gpu" if accel == "cuda" else "faiss-cpu"]


def test_a_run_needs_a_folder() -> None:
    done = subprocess.run(["make", "run", "INSTALL="], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "say which folder" in done.stdout


def test_small_settings_are_a_configuration(tmp_path: Path) -> None:
    assert load_config(SmallRun(tmp_path).write().config).name == "small"
