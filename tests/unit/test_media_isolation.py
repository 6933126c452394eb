"""Decode processes survive nothing, their supervisor everything."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from stages.errors import ConfigError, DeadlineExceeded, DecodeError, EmptyTimeline
from stages.media.batches import BATCH_BYTES, read_batch
from stages.media.consumers import Clock, GridConsumer
from stages.media.geometry import Geometry
from stages.media.isolation import IsolatedPool, IsolatedProber, IsolationSettings
from stages.media.ring import RING_BYTES
from tests.media import Numbered, make_video, read_number

BROKEN = ("tests.broken_decoders",)
CONSUMER = GridConsumer(
    clip_s=0.5, stride_s=0.5, fps=8, frames_per_clip=4, tail="keep", geometry=Geometry(short_side=96)
)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("isolation") / "fine", Numbered())


@pytest.fixture(scope="module")
def bad(video):
    path = video.with_name("bad.mp4")
    path.write_bytes(video.read_bytes())
    return path


def sample(pool, path, decoder="pyav", consumers=(CONSUMER,)):
    """The messages with copies of their pictures."""
    arguments = {"path": str(path), "decoder": decoder, "consumers": [c.to_json() for c in consumers], "required": {}}
    found = []
    for message in pool.stream("sample", arguments):
        pictures = [picture.copy() for picture in read_batch(message)] if "shapes" in message.header else []
        found.append((message.header, pictures))
        message.let_go()
    return found


def test_frames_come_through_in_order(video):
    with IsolatedPool(IsolationSettings()) as pool:
        plan, *batches, done = sample(pool, video)
    wanted = CONSUMER.plan(Clock.from_json(plan[0]))
    assert wanted.table.shape == (4, 4)
    numbers = [read_number(rgb) for _, pictures in batches for rgb in pictures]
    assert numbers == np.floor(wanted.times * 25 + 1e-6).astype(int).tolist()
    assert [time for header, _ in batches for time in header["times"]] == pytest.approx([n / 25 for n in numbers])
    facts = {"num_frames": 50, "num_errors": 0, "end_s": 2.0, "missing_before": [0], "missing_after": [0]}
    assert done[0]["result"] == {**facts, "truncated": False}


def test_batches_are_bounded_and_gapless(video):
    large = GridConsumer(
        clip_s=2, stride_s=2, fps=25, frames_per_clip=50, tail="keep", geometry=Geometry(short_side=480)
    )
    with IsolatedPool(IsolationSettings()) as pool:
        messages = sample(pool, video, consumers=(CONSUMER, large))
    batches = [(header, pictures) for header, pictures in messages if header["kind"] == "batch"]
    assert max(sum(picture.nbytes for picture in pictures) for _, pictures in batches) <= BATCH_BYTES + 480 * 640 * 3
    for request, count in ((0, 16), (1, 50)):
        mine = [header for header, _ in batches if header["request"] == request]
        indices = [header["first"] + k for header in mine for k in range(len(header["shapes"]))]
        assert indices == list(range(count))


def test_pictures_too_large_for_the_ring_come_through_the_pipe(video):
    huge = GridConsumer(clip_s=1, stride_s=1, fps=1, frames_per_clip=1, tail="keep", geometry=Geometry(width=3000))
    with IsolatedPool(IsolationSettings()) as pool:
        messages = sample(pool, video, consumers=(huge,))
    batches = [(header, pictures) for header, pictures in messages if header["kind"] == "batch"]
    assert all("at" not in header and pictures[0].nbytes > RING_BYTES // 2 for header, pictures in batches)
    assert [read_number(picture) for _, pictures in batches for picture in pictures] == [12, 37]


def test_a_hang_costs_one_file(video, bad):
    with IsolatedPool(IsolationSettings(deadline_s=1.0, preload=BROKEN)) as pool:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"bad.mp4: .* nothing for 1 s"):
            sample(pool, bad, "hanging")
        assert time.monotonic() - started < 8
        assert sample(pool, video, "hanging")[-1][0]["kind"] == "done"


def test_a_signal_costs_one_file_and_the_last_words_are_kept(video, bad):
    with IsolatedPool(IsolationSettings(preload=BROKEN)) as pool:
        with pytest.raises(DecodeError) as caught:
            sample(pool, bad, "dying")
        assert sample(pool, video, "dying")[-1][0]["kind"] == "done"
    assert caught.value.cause == "decoder_crashed"
    assert "signal 11 (SIGSEGV)" in str(caught.value)
    assert "last words: [h264] about to fall over in <path>" in str(caught.value)


def test_an_exit_is_named_by_its_code(bad):
    with IsolatedPool(IsolationSettings(preload=BROKEN)) as pool, pytest.raises(DecodeError, match="exit code 7"):
        sample(pool, bad, "leaving")


def test_a_bug_of_ours_is_no_damaged_file(bad):
    with (
        IsolatedPool(IsolationSettings(preload=BROKEN)) as pool,
        pytest.raises(RuntimeError, match=r"(?s)bug at bad.mp4.*no_such_name"),
    ):
        sample(pool, bad, "mistaken")


def test_a_library_that_does_not_import_is_the_settings_fault(bad):
    with (
        IsolatedPool(IsolationSettings(preload=BROKEN)) as pool,
        pytest.raises(ConfigError, match="its library does not import here"),
    ):
        sample(pool, bad, "absent")


def test_hunger_for_memory_costs_one_file(video, bad):
    with IsolatedPool(IsolationSettings(memory_mib=1024, preload=BROKEN)) as pool:
        with pytest.raises(DecodeError, match="1024 MiB") as caught:
            sample(pool, bad, "eating")
        assert caught.value.cause == "out_of_memory"
        assert sample(pool, video, "eating")[-1][0]["kind"] == "done"


def test_errors_keep_class_cause_and_message(tmp_path):
    path = tmp_path / "empty.mp4"
    path.write_bytes(b"")
    with IsolatedPool(IsolationSettings()) as pool, pytest.raises(DecodeError, match=r"^empty.mp4: empty") as caught:
        sample(pool, path)
    assert caught.value.cause == "empty_file"
    assert issubclass(EmptyTimeline, Exception)


def test_a_process_is_used_again_and_recycled(video):
    with IsolatedPool(IsolationSettings(recycle_after=2)) as pool:
        pids = []
        for _ in range(4):
            pool.call("probe", {"path": str(video)})
            pids.append(_children())
    assert pids[0] == pids[2 - 2]
    assert len(pids[0]) == 1
    assert pids[1] == set()
    assert pids[2] != pids[0]
    assert _children() == set()


def test_a_reader_that_stops_early_leaves_no_process_behind(video):
    with IsolatedPool(IsolationSettings()) as pool:
        arguments = {"path": str(video), "decoder": "pyav", "consumers": [CONSUMER.to_json()], "required": {}}
        messages = pool.stream("sample", arguments)
        next(messages)
        messages.close()
        assert _children() == set()


def test_a_process_imports_neither_torch_nor_ray_and_starts_quickly():
    code = "import sys, stages.media.worker; print(sorted({'torch', 'ray', 'pyarrow', 'faiss'} & set(sys.modules)))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 5


def test_processes_die_with_their_supervisor(video):
    code = (
        "import os, sys\nfrom stages.media.isolation import *\n"
        "pool = IsolatedPool(IsolationSettings())\npool.call('probe', {'path': sys.argv[1]})\n"
        "import psutil\nprint(*[p.pid for p in psutil.Process().children()], flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, str(video)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    child = int(done.stdout)
    for _ in range(50):
        if not psutil.pid_exists(child):
            break
        time.sleep(0.1)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_decode_process_that_cannot_start_is_a_bug():
    with (
        IsolatedPool(IsolationSettings(preload=("no_such_module",))) as pool,
        pytest.raises(RuntimeError, match=r"(?s)did not start.*no_such_module"),
    ):
        pool.call("probe", {"path": "x"})


def test_the_prober_gives_records(video, bad):
    prober = IsolatedProber(deadline_s=30)
    try:
        assert prober.probe(video).video_codec == "h264"
    finally:
        prober.close()
    assert _children() == set()


def _children() -> set[int]:
    return {p.pid for p in psutil.Process().children() if "stages.media.worker" in p.cmdline()}
