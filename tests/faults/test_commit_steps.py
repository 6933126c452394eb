"""A kill at each step of a commit: nothing half-made is visible, and the next attempt ends with the same bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.artifacts.commit import StagedOutput
from stages.artifacts.layout import ArtifactDir
from stages.artifacts.records import read_record

CHILD = """
import os, signal, sys
from pathlib import Path
from stages.artifacts import commit
from stages.artifacts.layout import ArtifactDir

calls = 0
def dying(function, step=int(sys.argv[2])):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("fsync", "link"):
    setattr(os, name, dying(getattr(os, name)))
Path.replace = dying(Path.replace)
out = commit.StagedOutput("00000", {"features": ArtifactDir(Path(sys.argv[1]), "features", "abc")})
for name in ("a.bin", "b.bin"):
    with out.create("features", name) as file:
        file.write(name.encode() * 1000)
out.commit({"features": "f"}, ["x"], [])
print("committed", calls)
"""


def attempt(root: Path, step: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(root), str(step)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("step", range(1, 12))
def test_a_kill_at_each_step(tmp_path: Path, step: int) -> None:
    target = ArtifactDir(tmp_path / "store", "features", "abc")
    whole = ArtifactDir(tmp_path / "whole", "features", "abc")
    attempt(tmp_path / "whole", 0)
    killed = attempt(tmp_path / "store", step)
    assert killed.returncode in (0, -signal.SIGKILL)
    if target.commit_path("00000").exists():  # then all of it is there
        for file in read_record(target.commit_path("00000")).files:
            assert (target.path / file.path).stat().st_size == file.size_bytes
    assert "committed" in attempt(tmp_path / "store", 0).stdout
    assert target.commit_path("00000").read_bytes() == whole.commit_path("00000").read_bytes()
    for file in read_record(target.commit_path("00000")).files:
        assert (target.path / file.path).read_bytes() == (whole.path / file.path).read_bytes()


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    """/dev/full stands for the disk: the write fails, nothing is committed, and staging is swept."""
    target = ArtifactDir(tmp_path, "features", "abc")
    out = StagedOutput("00000", {"features": target})
    file = out.create("features", "a.bin")
    os.dup2(os.open("/dev/full", os.O_WRONLY), file._file.fileno())
    with pytest.raises(OSError, match="No space left"):
        file.write(b"x" * 10_000_000)
    out.discard()
    assert not target.commits_dir.exists()
    assert not list(target.staging_dir.iterdir())
