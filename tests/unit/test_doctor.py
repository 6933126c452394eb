"""The doctor on folders of good and broken files: its states against those that ingest and extract come to."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import ExecutorConfig
from pipeline.doctor import DoctorSettings, diagnose
from pipeline.executors.inline import InlineExecutor
from stages.doctor.outcomes import sample_facts
from stages.doctor.records import Diagnosis
from stages.errors import ConfigError
from stages.extract import ExtractConfig
from stages.ingest import IngestConfig
from tests.faults.test_broken_media import make_broken
from tests.media import Numbered, make_sound, make_video
from tests.unit.test_extract import Corpus

NOISY = Numbered(num_frames=150, noise=40, options={"vcodec": "libx264", "g": 25, "bf": 2})
NOISY_MKV = Numbered(suffix=".mkv", num_frames=150, noise=40, options={"vcodec": "libx264", "g": 25, "bf": 2})


class Silent:
    """A view that notes the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def start_stage(self, stage: str, num_units: int, num_todo: int) -> None:
        self.stages.append(stage)

    def update(self, running: Sequence[float], num_finished: int, text: str) -> None: ...

    def hashing(self, done: int, total: int) -> None: ...

    def end_stage(self, line: str) -> None: ...


def damage(path: Path, at: float, size: int = 3000) -> None:
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    data[start : start + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(data)


def cut(source: Path, target: Path, share: float) -> None:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files, and files broken in many ways."""
    folder = tmp_path_factory.mktemp("doctor") / "media"
    (folder / "sub").mkdir(parents=True)
    good = make_video(folder / "good", Numbered(num_frames=60, sound=True))
    shutil.copy(good, folder / "sub" / "twice.mp4")
    make_video(folder / "one", Numbered(num_frames=1))
    noisy, mkv = make_video(folder / "noisy", NOISY), make_video(folder / "whole", NOISY_MKV)
    shutil.copy(noisy, folder / "middle.mp4")
    damage(folder / "middle.mp4", 0.5)
    shutil.copy(mkv, folder / "header.mkv")
    damage(folder / "header.mkv", 0, 300)
    for share in (0.02, 0.4, 0.95):
        cut(mkv, folder / f"cut{share}.mkv", share)
        cut(noisy, folder / f"cut{share}.mp4", share)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "zeros.mp4").write_bytes(bytes(50_000))
    (folder / "words.mp4").write_text("no video at all\n" * 100)
    make_sound(folder / "sound.m4a")
    (folder / "note.txt").write_text("a companion, no candidate")
    Path(os.fsdecode(os.fsencode(folder) + b"/name\xff.mp4")).write_bytes(good.read_bytes())
    return folder


def examine(media: Path, **changes: Any) -> Diagnosis:
    settings: dict[str, Any] = {
        "ingest": IngestConfig(media=media),
        "extract": ExtractConfig(deadline_s=60.0),
        "executor": ExecutorConfig(kind="inline"),
        "calibration_s": 0.0,
        "check_machine": False,
        **changes,
    }
    return diagnose(
        DoctorSettings(**settings),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=settings.pop("view", Silent()),
    )


def extracted(root: Path, media: Path, **config: Any) -> dict[str, tuple[str, str]]:
    """State and cause of every file as ingest and extract with its real network give them."""
    corpus = Corpus(root, media)
    artifact = corpus.extract("store", thumbnails=False, **config)["features.s3d"]
    states = {f.input_id: (f.state, f.cause) for record in corpus.manifest.records for f in record.failures}
    by_video = {f.input_id: (f.state, f.cause) for record in artifact.records for f in record.failures}
    by_video.update({facts["video_id"]: (facts["status"], "") for facts in sample_facts(artifact)})
    from stages.artifacts.manifest import read_videos

    for video in read_videos(corpus.manifest):
        states.update({path: by_video[video.video_id] for path in video.paths})
    return states


def states_of(diagnosis: Diagnosis) -> dict[str, tuple[str, str]]:
    return {f.path: (f.state, f.cause if f.state in ("failed", "quarantined") else "") for f in diagnosis.files}


@pytest.fixture(scope="module")
def truth(media: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return extracted(tmp_path_factory.mktemp("truth"), media)


@pytest.fixture(scope="module")
def plain(media: Path) -> Diagnosis:
    return examine(media)


def test_full_gives_the_states_of_extract(media: Path, truth: dict[str, tuple[str, str]]) -> None:
    full = examine(media, full=True)
    assert states_of(full) == truth
    assert {state for state, _ in truth.values()} == {"ok", "partial", "failed"}
    assert len(truth) == 18
    assert "unchecked" not in full.counts
    assert sum(full.counts.values()) == len(full.files)
    by_path = {file.path: file for file in full.files}
    assert by_path["middle.mp4"].cause == "damaged_clips"
    assert "clips are damaged and masked" in by_path["middle.mp4"].message


@pytest.mark.shared
@pytest.mark.long
def test_full_and_plain_on_real_and_broken_videos(tmp_path: Path, shared_dir: Path) -> None:
    media = tmp_path / "media"
    shutil.copytree(shared_dir / "data" / "videos", media, copy_function=shutil.copyfile)
    for folder in [media, *(path for path in media.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    for number, path in enumerate(sorted(path for path in media.rglob("*") if path.is_file())[::4]):
        target = path.with_name(f"broken-{path.name}")
        shutil.copyfile(path, target)
        if number % 2:
            cut(path, target, 0.2 + 0.03 * number)
        else:
            damage(target, 0.2 + 0.03 * number)
    (media / "made").mkdir()
    make_broken(media / "made")
    truth = extracted(tmp_path, media)
    assert states_of(examine(media, full=True)) == truth
    for file in examine(media).files:
        assert file.usable or truth[file.path][0] == "failed"


def test_plain_calls_nothing_unusable_that_extract_takes(plain: Diagnosis, truth: dict[str, tuple[str, str]]) -> None:
    assert {file.path for file in plain.files} == set(truth)
    for file in plain.files:
        if file.state == "failed":
            assert truth[file.path] == ("failed", file.cause)
        if file.state == "partial":
            assert truth[file.path][0] == "partial"
    assert {"ok"} & set(plain.counts) == set()
    states = states_of(plain)
    assert states["good.mp4"] == states["middle.mp4"] == ("unchecked", "")
    assert states["empty.mp4"] == ("failed", "empty_file")
    assert states["sound.m4a"] == ("failed", "no_video_stream")


def test_facts_and_text(plain: Diagnosis) -> None:
    good = next(file for file in plain.files if file.path == "good.mp4")
    assert (good.video_codec, good.width, good.height, good.num_packets) == ("h264", 128, 96, 60)
    assert good.end_s == pytest.approx(2.4)
    assert good.scan_s > 0
    found = json.loads(json.dumps(plain.to_json()))
    assert found["counts"]["unchecked"] == plain.counts["unchecked"]
    lines = plain.lines()
    assert any(line.startswith("failed (empty_file): empty.mp4: empty") for line in lines)
    assert any(line.startswith("18 files: ") for line in lines)
    assert any("--full" in line for line in lines)


def test_what_no_clip_fits_on_is_known_without_decoding(media: Path, tmp_path: Path) -> None:
    settings = ExtractConfig(tail="drop")
    plain = {file.path: file for file in examine(media, extract=settings).files}
    assert plain["one.mp4"].cause == "empty_timeline"
    assert extracted(tmp_path, media, tail="drop")["one.mp4"] == ("failed", "empty_timeline")
    assert plain["good.mp4"].state == "unchecked"


def test_a_slow_file_is_not_called_unusable(media: Path) -> None:
    (file,) = examine(media, ingest=IngestConfig(media=media / "sub", deadline_s=1e-4)).files
    assert (file.state, file.cause) == ("unchecked", "deadline_exceeded")
    assert "twice.mp4" in file.message


def test_full_leaves_nothing_behind(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(media.rglob("*"))
    view = Silent()
    full = diagnose(
        DoctorSettings(
            ingest=IngestConfig(media=media / "sub"),
            extract=ExtractConfig(),
            executor=ExecutorConfig(kind="inline"),
            full=True,
            calibration_s=0.0,
            check_machine=False,
        ),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=view,
    )
    assert full.counts == {"ok": 1}
    assert view.stages == ["examine", "ingest", "extract"]
    assert list(tmp_path.iterdir()) == []
    assert sorted(media.rglob("*")) == before


def test_folders_without_a_usable_file(tmp_path: Path) -> None:
    empty = examine(tmp_path, full=True)
    assert empty.files == ()
    assert empty.lines()[-1] == "0 files: none"
    (tmp_path / "a.mp4").write_bytes(b"")
    assert examine(tmp_path, full=True).counts == {"failed": 1}
    with pytest.raises(ConfigError, match="not there"):
        examine(tmp_path / "nowhere")


def test_missing_weights_are_a_problem_and_the_files_are_examined(media: Path, tmp_path: Path) -> None:
    settings = ExtractConfig(s3d={"weights": tmp_path / "nowhere.pth"})
    found = examine(media / "sub", extract=settings, calibration_s=1.0, full=True)
    (check,) = found.checks
    assert found.has_problem
    assert check.name == "features.s3d"
    assert "there is no file" in check.advice
    assert found.forecast is None
    assert found.counts == {"ok": 1}


def test_a_forecast_is_made_of_measurements(media: Path) -> None:
    found = examine(media / "sub", calibration_s=2.0).forecast
    assert found is not None
    assert (found.num_videos, found.num_workers, found.num_sampled) == (1, 1, 1)
    assert found.video_s == pytest.approx(2.4)
    assert found.wall_s > found.start_s > 0
    assert 0 < found.decode_cpu_s < 60
    assert found.model_s["features.s3d"] > 0
    assert found.memory_bytes > 100 << 20
    assert set(found.disk_bytes) == {"features.s3d", "thumbnails"}
    assert any("GiB at the peak" in line for line in found.lines())
