"""100,000 small real files: a rerun of ingest takes at most 20 times a bare stat of the tree."""

import os
import time
from pathlib import Path

import pytest

from tests.media import Numbered, make_video
from tests.small_run import SmallRun

NUM_FILES = 100_000


def tagged_copies(folder: Path, count: int) -> None:
    """Real files that differ in a metadata tag only: a `free` box with a number of its own at the end."""
    seed = make_video(folder / "seed", Numbered(num_frames=2, size=(32, 32))).read_bytes()
    (folder / "seed.mp4").unlink()
    for number in range(count):
        name = folder / f"{number // 1000:03d}" / f"v{number:06d}.mp4"
        name.parent.mkdir(exist_ok=True)
        name.write_bytes(seed + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))


def stat_tree(folder: Path) -> int:
    count = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - the bare calls are what is measured
            count += 1
    return count


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_rerun_over_many_files_costs_little_more_than_stat(tmp_path: Path) -> None:
    run = SmallRun(tmp_path).write(ingest__videos_per_unit=1000, executor={"kind": "ray", "workers": 2})
    run.videos.mkdir(parents=True)
    tagged_copies(run.videos, NUM_FILES)
    started = time.monotonic()
    run.fabula("run", "--until", "ingest")
    first_s = time.monotonic() - started
    stat_s = min(_seconds(lambda: stat_tree(run.videos)) for _ in range(3))
    rerun_s = min(_seconds(lambda: run.fabula("run", "--until", "ingest")) for _ in range(3))
    manifest = run.json("status")["artifacts"][0]
    print(f"first {first_s:.1f} s, stat {stat_s:.2f} s, rerun {rerun_s:.2f} s = {rerun_s / stat_s:.1f} times")  # noqa: T201
    assert (manifest["inputs"], manifest["successes"]) == (NUM_FILES, NUM_FILES)
    assert rerun_s <= 20 * stat_s


def _seconds(action: object) -> float:
    started = time.monotonic()
    action()  # type: ignore[operator]
    return time.monotonic() - started
