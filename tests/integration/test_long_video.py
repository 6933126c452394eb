"""Memory does not grow with a video's length: three hours against one minute, by the sum of all processes' PSS."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import tomli_w

from tests.media import Numbered, make_video, remux
from tests.small_run import FABULA, ROOT

MOST_MORE_BYTES = int(1.5 * 2**30)
MINUTES = 180


def peak_bytes(media: Path, folder: Path) -> int:
    """Run ingest and extract, all outputs of the demo preset; the most that its processes held in any second."""
    settings = {
        "name": "long", "root": str(folder / "store"), "encoder": "s3d-text", "executor": {"kind": "inline"},
        "ingest": {"media": str(media)},
        "extract": {"threads": 2, "frames": {"num_frames": 300}},
    }  # fmt: skip
    config = folder / "long.toml"
    config.write_text(tomli_w.dumps(settings))
    command = [*FABULA, "run", "--until", "extract", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    peak = 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        root = psutil.Process(process.pid)
        while True:
            peak = max(peak, sum(map(pss, [root, *root.children(recursive=True)])))
            try:
                _, words = process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == 0, words.decode()
    return peak


def pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux's")
def test_three_hours_take_little_more_memory_than_a_minute(tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    for folder in (short, long):
        (folder / "media").mkdir(parents=True)
    options = {"vcodec": "libx264", "g": 50, "preset": "veryfast"}
    minute = make_video(short / "media" / "minute", Numbered(num_frames=1500, size=(320, 240), options=options))
    remux(minute, long / "media" / "hours.mp4", {"stream_loop": MINUTES - 1})
    minute_bytes, hours_bytes = (peak_bytes(folder / "media", folder) for folder in (short, long))
    sys.stdout.write(f"\na minute {minute_bytes / 2**30:.2f} GiB, three hours {hours_bytes / 2**30:.2f} GiB\n")
    assert hours_bytes - minute_bytes <= MOST_MORE_BYTES
