"""Ctrl-C in a run of the inline executor, as a terminal sends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_run import ROOT

PROGRAM = """
import signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pipeline import cli, commands
from tests.integration.test_upkeep import run
from tests.toy_stages import Count, CountConfig, CountWorker

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the suite in the background has it ignored
root, seconds = Path(sys.argv[1]), float(sys.argv[2])
process = CountWorker.process

def slow(worker, unit, out):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(time.sleep, seconds)
        print("begun", unit.unit_id, flush=True)
        waiting.result()
    return process(worker, unit, out)

CountWorker.process = slow
commands.retry = lambda _: run(root / "store", [Count(CountConfig(words=root))])
sys.argv = ["fabula", "retry", "--config", str(root / "c.toml")]
cli.main()
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    for name in "abcdef":
        (folder / f"{name}.txt").write_text(name)
    (folder / "c.toml").write_text('root = "store"\n[ingest]\nmedia = "videos"\n')
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun 00000\n"
    return process


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, and what is said to it."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "finishing the current unit; Ctrl-C now stops at once" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_after_the_unit_and_a_second_one_at_once(tmp_path: Path, times: int) -> None:
    process = start(tmp_path, seconds=3 if times == 1 else 300)
    try:
        interrupt(process)
        if times == 2:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "fabula: stopped; what is committed stays" in err
    assert out == ""  # no other unit has begun
    assert len(list(tmp_path.glob("store/*/*/commits/*.json"))) == (1 if times == 1 else 0)
