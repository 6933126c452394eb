"""Nothing brings extraction down: every broken file ends in a named state, and the healthy ones do not notice."""

import io
import shutil
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from stages.artifacts.layout import Store
from stages.artifacts.manifest import read_videos
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Worker
from stages.extract import Extract, ExtractConfig, ExtractWorker
from stages.media.process import IsolationSettings
from tests.media import Numbered, make_sound, make_video, remux
from tests.mutations import noise_in_the_middle
from tests.unit.test_extract import Corpus, run_stage, samples

X264 = {"vcodec": "libx264", "g": 25, "bf": 2}
HEALTHY = ("good_mp4", "good_mkv", "good_webm")
DEADLINE_S = 3.0


class ByNameWorker(ExtractWorker):
    """The stage's own worker; its decode processes have a decoder that misbehaves for files of certain names."""

    def _isolation(self) -> IsolationSettings:
        return replace(super()._isolation(), preload=("tests.broken_pyav",))


class ByNameExtract(Extract):
    def open(self, inputs: Inputs) -> Worker:
        return ByNameWorker(self.config, self.media)


def cut(source: Path, target: Path, share: float) -> None:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])


def patch(source: Path, target: Path, place: int, new: bytes) -> None:
    data = bytearray(source.read_bytes())
    data[place : place + len(new)] = new
    target.write_bytes(data)


def lie_about_duration(source: Path, target: Path) -> None:
    """Headers of an MP4 promise a thousand times as much (mvhd, tkhd, mdhd of version 0)."""
    data = bytearray(source.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        place = data.index(box) + offset
        (duration,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, min(duration * 1000, 2**32 - 1))
    target.write_bytes(data)


def no_frame_rate(source: Path, target: Path) -> None:
    """An AVI whose headers give 0 microseconds a frame and a rate of 0."""
    data = bytearray(source.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8, 0)
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, 1, 0)
    target.write_bytes(data)


def huge_header(source: Path, target: Path) -> None:
    """Every JPEG of a Motion-JPEG file says that it has 16,384 x 16,384 pixels."""
    data = bytearray(source.read_bytes())
    place = data.find(b"\xff\xc0")
    while place >= 0:
        struct.pack_into(">HH", data, place + 5, 16384, 16384)
        place = data.find(b"\xff\xc0", place + 2)
    target.write_bytes(data)


def make_broken(folder: Path) -> None:
    """Some thirty files that are broken, each in another way."""
    mp4 = make_video(folder / "source", Numbered(num_frames=150, noise=40, options=X264))
    mkv = make_video(folder / "source", Numbered(suffix=".mkv", num_frames=150, noise=40, options=X264))
    webm = make_video(
        folder / "source",
        Numbered(suffix=".webm", num_frames=100, options={"vcodec": "libvpx", "deadline": "realtime"}),
    )
    avi = make_video(folder / "source", Numbered(suffix=".avi", num_frames=50, options={"vcodec": "mpeg4"}))
    jpegs = make_video(
        folder / "jpegs", Numbered(suffix=".avi", num_frames=5, options={"vcodec": "mjpeg", "pix_fmt": "yuvj420p"})
    )
    fast = remux(mp4, folder / "fast.mp4", movflags="faststart")
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        cut(mp4, folder / f"cut_{share}.mp4", share)
        cut(fast, folder / f"fast_cut_{share}.mp4", share)
        cut(mkv, folder / f"cut_{share}.mkv", share)
    cut(webm, folder / "cut.webm", 0.5)
    cut(avi, folder / "cut.avi", 0.5)
    for number, source in enumerate((mp4, mkv, webm, avi)):
        (folder / f"noise{source.suffix}").write_bytes(noise_in_the_middle(source.read_bytes(), number))
    patch(mp4, folder / "zeroed.mp4", mp4.stat().st_size // 2, bytes(3000))
    patch(mkv, folder / "garbage_header.mkv", 0, np.random.default_rng(1).bytes(300))
    patch(mp4, folder / "hollow.mp4", mp4.read_bytes().index(b"mdat") + 4, bytes(mp4.stat().st_size // 3))
    shutil.copy(mkv, folder / "wrong_extension.mp4")
    lie_about_duration(mp4, folder / "lying_duration.mp4")
    no_frame_rate(avi, folder / "no_frame_rate.avi")
    huge_header(jpegs, folder / "huge.avi")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "one_byte.mp4").write_bytes(b"x")
    (folder / "zeros.mp4").write_bytes(bytes(100_000))
    (folder / "garbage.mkv").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "words.mp4").write_text("no video at all\n" * 500)
    picture = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(picture, "JPEG")
    (folder / "picture.mp4").write_bytes(picture.getvalue())
    make_sound(folder / "sound.m4a")
    (folder / "to_nothing.mp4").symlink_to(folder / "nowhere")
    for source in (mp4, mkv, webm, avi, jpegs, fast):
        source.unlink()


def make_healthy(folder: Path) -> None:
    make_video(folder / "good_mp4", Numbered(num_frames=120, options=X264))
    make_video(folder / "good_mkv", Numbered(suffix=".mkv", num_frames=80, options=X264))
    make_video(folder / "good_webm", Numbered(suffix=".webm", num_frames=60, options={"vcodec": "libvpx"}))


EXPECTED = {
    "empty.mp4": ("failed", "empty_file"),
    "one_byte.mp4": ("failed", "not_media"),
    "zeros.mp4": ("failed", "not_media"),
    "garbage.mkv": ("failed", "not_media"),
    "words.mp4": ("failed", "not_media"),
    "sound.m4a": ("failed", "no_video_stream"),
    "to_nothing.mp4": ("failed", "unreadable"),
    "cut_0.6.mp4": ("failed", "not_media"),
    "hangs.mp4": ("quarantined", "deadline_exceeded"),
    "dies.mp4": ("quarantined", "decoder_crashed"),
    "leaves.mp4": ("quarantined", "decoder_crashed"),
    "eats.mp4": ("failed", "out_of_memory"),
    "noise.mp4": ("partial", ""),
    "noise.mkv": ("partial", ""),
    "zeroed.mp4": ("partial", ""),
    "cut_0.6.mkv": ("partial", ""),
    "fast_cut_0.6.mp4": ("partial", ""),
    "lying_duration.mp4": ("ok", ""),
    "wrong_extension.mp4": ("ok", ""),
    "no_frame_rate.avi": ("ok", ""),
}


def states(corpus: Corpus, features: Artifact) -> dict[str, tuple[str, str]]:
    """State and cause of every file."""
    found = {f.input_id: (f.state, f.cause) for record in corpus.manifest.records for f in record.failures}
    by_video = {f.input_id: (f.state, f.cause) for record in features.records for f in record.failures}
    by_video |= {video_id: (parts["json"]["status"], "") for video_id, parts in samples(features).items()}
    for video in read_videos(corpus.manifest):
        found.update({path: by_video[video.video_id] for path in video.paths})
    return found


def test_every_broken_file_ends_in_a_named_state_and_the_healthy_ones_do_not_notice(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone" / "media", tmp_path / "together" / "media"
    for folder in (alone, together):
        folder.mkdir(parents=True)
        make_healthy(folder)
    make_broken(together)
    for number, name in enumerate(("hangs", "dies", "leaves", "eats")):
        make_video(together / name, Numbered(num_frames=20 + number))
    config = ExtractConfig(threads=2, thumbnails=False, deadline_s=DEADLINE_S, memory_mib=1536)
    started = time.monotonic()
    corpus = Corpus(together.parent, together)
    inputs = Inputs(store=Store(tmp_path / "store"), artifacts={"manifest": corpus.manifest})
    features = run_stage(ByNameExtract(config, together), inputs)["features.s3d"]
    found = states(corpus, features)
    files = {path.name for path in together.iterdir()}
    assert len(files) >= 40
    assert set(found) == files
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert all(state in ("ok", "partial", "failed", "quarantined") for state, _ in found.values())
    assert all(cause for state, cause in found.values() if state in ("failed", "quarantined"))
    assert time.monotonic() - started < len(files) * DEADLINE_S
    assert not [child for child in psutil.Process().children() if "stages.media.worker" in child.cmdline()]
    healthy = samples(Corpus(alone.parent, alone).extract("store", thumbnails=False)["features.s3d"])
    broken = samples(features)
    for name in HEALTHY:
        for part in ("s3d.npy", "spans.npy", "damaged.npy"):
            assert broken[name][part].tobytes() == healthy[name][part].tobytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_what_is_not_masked_is_what_the_undamaged_file_holds(tmp_path: Path, suffix: str) -> None:
    """Rows of intact clips, byte for byte, though the network saw a damaged file."""
    options = {"vcodec": "mpeg4", "g": 25} if suffix == ".avi" else X264
    media = tmp_path / "media"
    media.mkdir()
    whole = make_video(media / "whole", Numbered(suffix=suffix, num_frames=400, noise=30, options=options))
    for seed in range(4):
        (media / f"noise{seed}{suffix}").write_bytes(noise_in_the_middle(whole.read_bytes(), seed))
    found = samples(Corpus(tmp_path, media).extract("store", thumbnails=False)["features.s3d"])
    expected = found.pop("whole")["s3d.npy"]
    for parts in found.values():
        damaged = parts["damaged.npy"]
        assert 1 <= damaged.sum() <= 4
        rows = min(len(expected), len(damaged))
        assert np.array_equal(parts["s3d.npy"][:rows][~damaged[:rows]], expected[:rows][~damaged[:rows]])
