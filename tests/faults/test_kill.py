"""SIGKILL at random moments, of the driver alone and of all its processes: the rerun ends with the same bytes."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.small_run import FABULA, ROOT, SmallRun

SETTINGS = {"executor__kind": "ray", "executor__workers": 2}


MAX_DELAY_S = 3.0  # between the commit that a kill waits for and the kill: inside a unit, not only at its seams


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    run = SmallRun(tmp_path_factory.mktemp("kill")).write(**SETTINGS)
    run.fabula("corpus")
    run.fabula("run")
    return run


def start(run: SmallRun) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FABULA_TEST_MARK": str(run.folder)}
    command = [*FABULA, "run", "--config", str(run.config)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def marked(run: SmallRun) -> list[psutil.Process]:
    """Every process that carries the run's mark in its environment: the driver, Ray's, workers, decoders."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FABULA_TEST_MARK") == str(run.folder) and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill(run: SmallRun, driver: subprocess.Popen[bytes], *, everything: bool) -> None:
    victims = marked(run) if everything else []
    driver.send_signal(signal.SIGKILL)
    for process in victims:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    driver.wait()


def num_commits(run: SmallRun) -> int:
    return len(list(run.store.glob("*/*/commits/*.json")))


def reaches(run: SmallRun, driver: subprocess.Popen[bytes], commits: int, delay_s: float) -> bool:
    """Waits for so many commits and the delay behind them; False where the run ends before."""
    while num_commits(run) < commits:
        if driver.poll() is not None:
            return False
        time.sleep(0.05)
    try:
        driver.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        return True
    return False


def check_kills(whole: SmallRun, folder: Path, *, everything: bool, kills: int, seed: int) -> None:
    run = SmallRun(folder).write(
        **SETTINGS,
        ingest__media=str(whole.videos),
        train__splits=str(whole.folder / "corpus" / "splits.csv"),
        evaluate__splits=str(whole.folder / "corpus" / "splits.csv"),
    )
    rng = random.Random(seed)
    # By progress, not by the clock: a machine that is slower or faster than a minute ago kills at the same places.
    num_killed = 0
    for commits in sorted(rng.sample(range(num_commits(whole)), kills)):
        driver = start(run)
        if reaches(run, driver, commits, rng.uniform(0, MAX_DELAY_S)):
            kill(run, driver, everything=everything)
            num_killed += 1
    run.fabula("run")
    assert num_killed > 0
    assert run.committed().keys() == whole.committed().keys()
    assert run.committed() == whole.committed()
    told = Counter((event["artifact"], event["unit"]) for event in run.events("unit_committed"))
    assert set(told.values()) == {1}
    assert len(told) == num_commits(run)
    deadline = time.monotonic() + 60
    while (left := marked(run)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left, left


@pytest.mark.parametrize("everything", [False, True], ids=["driver", "all"])
def test_kill_and_rerun(undisturbed: SmallRun, tmp_path: Path, everything: bool) -> None:
    check_kills(undisturbed, tmp_path, everything=everything, kills=3, seed=int(everything))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("everything", [False, True], ids=["driver", "all"])
def test_ten_kills(undisturbed: SmallRun, tmp_path: Path, everything: bool) -> None:
    check_kills(undisturbed, tmp_path, everything=everything, kills=10, seed=10 + int(everything))
