"""Freed memory is kept: pages of a second round are not mapped anew, in this process and in its children."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = """
import resource
from concurrent.futures import ThreadPoolExecutor

def use(_):
    for _ in range(4):
        b"x" * (48 * 2**20)

with ThreadPoolExecutor(1) as pool:
    list(pool.map(use, range(2)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    list(pool.map(use, range(2)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 8 * 48 * 2**20 // 4096


def faults(code: str, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_pages_are_mapped_once() -> None:
    asked = f"from models.memory import keep_freed_memory\nkeep_freed_memory()\n{ROUNDS}"
    assert faults(ROUNDS) > PAGES / 2  # what it is good for: huge pages would make it needless
    assert faults(asked) < PAGES / 20


def test_children_are_asked_and_settings_of_the_user_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.memory import keep_freed_memory_in_children

    for name in ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    keep_freed_memory_in_children()
    assert os.environ["MALLOC_ARENA_MAX"] == "2"
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    environment = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    assert faults(ROUNDS, **environment) < PAGES / 20
    own = f"from models.memory import keep_freed_memory\nkeep_freed_memory()\n{ROUNDS}"
    assert faults(own, MALLOC_MMAP_THRESHOLD_="131072") > PAGES / 2
