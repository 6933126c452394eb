"""Decode processes survive nothing, their supervisor everything."""

import json
import os
import resource
import signal
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
from tests.media import Numbered, decode_processes, make_video, read_number

ROOT = str(Path(__file__).parents[2])
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


def test_many_open_files_are_no_matter(bad):
    """A descriptor of 1,024 and more is too large for select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        with IsolatedPool(IsolationSettings(preload=BROKEN)) as pool, pytest.raises(DecodeError, match="exit code 7"):
            sample(pool, bad, "leaving")
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
        assert _children() == set(), "what it has taken may not come back"
        assert sample(pool, video, "eating")[-1][0]["kind"] == "done"


def test_what_earlier_files_left_behind_is_not_the_next_one_s_hunger(video):
    with IsolatedPool(IsolationSettings(preload=BROKEN)) as pool:
        sample(pool, video, "hoarding")
        before = _children()
        kinds = [header["kind"] for header, _ in sample(pool, video, "hoarding")]
        assert (kinds.count("plan"), kinds[-1]) == (2, "done")
        assert not _children() & before


def test_a_process_has_its_libraries_before_memory_can_be_short():
    with IsolatedPool(IsolationSettings()) as pool:
        pool.start()
        (pid,) = _children()
        assert any("PIL/_imaging" in region.path for region in psutil.Process(pid).memory_maps())


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
    done = subprocess.run(
        [sys.executable, "-c", code, str(video)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert _is_gone(int(done.stdout))


def test_ctrl_c_in_the_terminal_is_not_the_decode_processes_affair(tmp_path):
    """The supervisor's group is interrupted while it holds messages back, so that the job cannot have ended."""
    code = (
        "import signal, sys\nfrom stages.media.isolation import *\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "pool = IsolatedPool(IsolationSettings())\nmessages = pool.stream('sample', json.loads(sys.argv[1]))\n"
        "next(messages)\nprint('begun', flush=True)\ninput()\n"
        "for message in messages:\n    message.let_go()\nprint(message.header['kind'])\n"
    )
    wide = GridConsumer(clip_s=1, stride_s=1, fps=25, frames_per_clip=25, tail="keep", geometry=Geometry(width=400))
    path = make_video(tmp_path / "long", Numbered(num_frames=500))
    arguments = {"path": str(path), "decoder": "pyav", "consumers": [wide.to_json()], "required": {}}
    driver = subprocess.Popen(
        [sys.executable, "-c", f"import json\n{code}", json.dumps(arguments)], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert driver.stdout.readline() == "begun\n"
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.communicate("\n", timeout=60)[0] == "done\n"


def test_time_in_which_the_supervisor_is_stopped_is_not_the_decoder_s_silence(video):
    """As by Ctrl-Z; the decoder, which is stopped first, goes on half a second after its supervisor does."""
    code = (
        "import sys\nfrom stages.media.isolation import *\n"
        "pool = IsolatedPool(IsolationSettings(deadline_s=4.0))\npool.start()\nprint('begun', flush=True)\ninput()\n"
        "print(pool.call('probe', {'path': sys.argv[1]})['video_codec'])\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(video)], text=True, env={**os.environ, "PYTHONPATH": ROOT},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout.readline() == "begun\n"
    supervisor = psutil.Process(driver.pid)
    (decoder,) = supervisor.children()
    decoder.suspend()
    driver.stdin.write("\n")
    driver.stdin.flush()
    time.sleep(0.5)
    supervisor.suspend()
    time.sleep(4.5)
    supervisor.resume()
    time.sleep(0.5)
    decoder.resume()
    assert driver.communicate(timeout=60)[0] == "h264\n"


def test_a_program_that_hangs_is_killed_with_its_decode_process(video, sleeping_ffmpeg):
    with IsolatedPool(IsolationSettings(deadline_s=1.0)) as pool, pytest.raises(DeadlineExceeded):
        sample(pool, video, "ffmpeg")
    assert _is_gone(int(sleeping_ffmpeg.read_text()))


def test_a_program_that_hangs_dies_with_the_supervisor(video, sleeping_ffmpeg):
    code = (
        "import json, sys\nfrom stages.media.isolation import *\n"
        "list(IsolatedPool(IsolationSettings()).stream('sample', json.loads(sys.argv[1])))\n"
    )
    arguments = {"path": str(video), "decoder": "ffmpeg", "consumers": [CONSUMER.to_json()], "required": {}}
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ROOT}) as driver:
        while not (sleeping_ffmpeg.exists() and sleeping_ffmpeg.read_text()):
            assert driver.poll() is None
            time.sleep(0.05)
        driver.kill()
    assert _is_gone(int(sleeping_ffmpeg.read_text()))


@pytest.fixture
def sleeping_ffmpeg(tmp_path, monkeypatch):
    """Where a program that does nothing, and is taken for ffmpeg, writes its process number."""
    program, number = tmp_path / "ffmpeg", tmp_path / "number"
    program.write_text(f"#!/bin/sh\necho $$ > {number}\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    return number


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


def _is_gone(pid: int) -> bool:
    """Whether a process ends within 5 s."""
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def _children() -> set[int]:
    return {process.pid for process in decode_processes()}
