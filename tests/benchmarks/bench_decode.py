"""How fast is decoding, against ffmpeg, and with keyframes alone? One run, same files, interleaved.

(c) decode-only (in its processes, with all its checks) against `ffmpeg -vf fps,scale,format=rgb24 -f null`, on as many
    cores each, over all real videos and ten minutes of 720p. Ours has a process a core, each with two decoders where
    the file allows; ffmpeg is told so many threads, and adds its own for reading, scaling and writing.
(d) keyframes alone against all frames, one picture a second, with a keyframe every 2 s.
(f) decoders by codec: seconds of CPU a 1,000 frames, and the share of a file's frames that each gives after 4,000 bytes
    of noise in its middle. The default (`pyav`) follows from this table and from `test_media_decoders`.

See `bench_extract`.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest

from stages.errors import ConfigError, DecodeError
from stages.extract import ExtractConfig
from stages.media.container import scan_timeline
from stages.media.frames import FrameRequest, PassFacts, sample_frames
from stages.media.geometry import Geometry
from stages.media.presets import CLIP_PRESETS
from stages.media.probe import probe_video
from tests.benchmarks.extract_runs import decode, real_videos, stage_config
from tests.benchmarks.measuring import THREADS, alternate, measure, say
from tests.benchmarks.straightforward import filters
from tests.media import remux, run_ffmpeg
from tests.mutations import noise_in_the_middle

pytestmark = pytest.mark.timeout(3600)

DECODERS = ("pyav", "decord", "ffmpeg", "torchcodec")
SECONDS, LOOPS = 30, 20


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """720p at 30 frames a second, a keyframe every 2 s: half a minute, twenty times."""
    folder = tmp_path_factory.mktemp("long")
    source = ffmpeg.input(f"testsrc2=size=1280x720:rate=30:duration={SECONDS}", format="lavfi")
    noisy = source.filter("noise", alls=12, allf="t")
    options = {"vcodec": "libx264", "preset": "veryfast", "g": 60, "sc_threshold": 0, "pix_fmt": "yuv420p"}
    run_ffmpeg(ffmpeg.output(noisy, str(folder / "part.mp4"), **options))
    return remux(folder / "part.mp4", folder / "ten_minutes.mp4", {"stream_loop": LOOPS - 1})


def ffmpeg_decode(paths: list[Path], threads: int) -> None:
    """What ffmpeg needs for the same pictures, thrown away."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-nostdin"]
    command += ["-threads", str(threads), "-filter_threads", str(threads)]
    for path in paths:
        shown = ["-i", str(path), "-an", "-vf", filters(CLIP_PRESETS["videoclip"]), "-f", "null", "-"]
        subprocess.run([*command, *shown], check=False)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keep this process, and those that it starts, on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("cores", sorted({1, THREADS}))
def test_c_decode_against_ffmpeg(ten_minutes: Path, tmp_path: Path, cores: int) -> None:
    paths = [ten_minutes, *real_videos(tmp_path)]
    config = stage_config(s3d={"preset": "videoclip"})
    with on_cores(cores):
        costs = alternate(
            {
                "ours": lambda: decode(paths, config, tmp_path / "attempts", processes=cores),
                "ffmpeg": lambda: ffmpeg_decode(paths, cores),
            }
        )
    ours, theirs = costs["ours"], costs["ffmpeg"]
    say(f"(c) decode-only of {len(paths)} videos, {cores} cores: ours {ours.wall:.2f} s ({ours.cpu:.2f} CPU s), "
        f"ffmpeg {theirs.wall:.2f} s ({theirs.cpu:.2f}): {ours.wall / theirs.wall:.2f} times by wall, "
        f"{ours.cpu / theirs.cpu:.2f} by CPU; asked 1.2\n")  # fmt: skip


def test_d_keyframes_alone(ten_minutes: Path, tmp_path: Path) -> None:
    frames = {"num_frames": 600, "fps": 1.0, "width": 340, "height": 256}
    configs: dict[str, ExtractConfig] = {
        mode: stage_config(backbones=(), frames=frames, decode=mode) for mode in ("all", "keyframes")
    }
    costs = alternate(
        {
            mode: lambda config=config: decode([ten_minutes], config, tmp_path / "attempts", processes=1)
            for mode, config in configs.items()
        }
    )
    everything, keyframes = costs["all"], costs["keyframes"]
    say(f"(d) a picture a second of ten minutes: all frames {everything.wall:.2f} s, keyframes {keyframes.wall:.2f} s: "
        f"{everything.wall / keyframes.wall:.1f} times faster by wall, {everything.cpu / keyframes.cpu:.1f} by CPU; "
        f"asked 5\n")  # fmt: skip


def test_f_decoders_by_codec(tmp_path: Path) -> None:
    by_codec: dict[str, list[Path]] = {}
    for path in real_videos(tmp_path):
        info = probe_video(path)
        if info.duration_s <= 20:
            by_codec.setdefault(info.video_codec, []).append(path)
    say("(f) CPU s a 1,000 frames, and frames kept behind noise:")
    for codec, paths in sorted(by_codec.items()):
        cells = []
        for decoder in DECODERS:
            cells.append(f"{decoder} {_speed(paths[:4], decoder)} / {_recovery(paths[0], decoder, tmp_path)}")
        say(f"    {codec:>6}: {', '.join(cells)}")
    say("")


def _speed(paths: list[Path], decoder: str) -> str:
    """Over those files that the decoder takes."""
    num_frames, cpu_s, num_taken = 0, 0.0, 0
    for path in paths:
        try:
            cpu_s += measure(lambda path=path: _pass(path, decoder)).cpu
        except (DecodeError, ConfigError):
            continue
        num_frames, num_taken = num_frames + _pass(path, "pyav"), num_taken + 1
    if not num_taken:
        return "cannot"
    refused = f" (without {len(paths) - num_taken} of {len(paths)})" if num_taken < len(paths) else ""
    return f"{1000 * cpu_s / num_frames:.2f}{refused}"


def _recovery(path: Path, decoder: str, folder: Path) -> str:
    broken = folder / f"noise{path.suffix}"
    broken.write_bytes(noise_in_the_middle(path.read_bytes(), 0))
    try:
        return f"{_pass(broken, decoder) / _pass(path, 'pyav'):.0%}"
    except (DecodeError, ConfigError):
        return "none"


def _pass(path: Path, decoder: str) -> int:
    """Frames that a pass at the `videoclip` preset's rate and size gives."""
    times = np.arange(0.0, scan_timeline(path).end_s, 1 / 30)
    request = FrameRequest(times_s=times, geometry=Geometry(short_side=224, crop=224))
    facts = PassFacts()
    for _ in sample_frames(path, [request], decoder=decoder, facts=facts):
        pass
    return facts.num_frames
