import csv
import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from stages.corpus.encode import encode_mp4, find_ffmpeg
from stages.corpus.record import RECORD_NAME
from stages.corpus.render import CorpusSummary, render_corpus
from stages.corpus.settings import CorpusSettings
from stages.datasets.kinetics import read_action_list
from stages.errors import ConfigError, FabulaError

TINY = CorpusSettings(
    num_train=2, num_train_pairs=1, num_val=1, num_test=3, num_pairs=1, width=48, height=32, max_scene_s=4.0
)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    root = tmp_path_factory.mktemp("rendered") / "corpus"
    return root, render_corpus(root, TINY, workers=1)


@pytest.fixture
def copy(rendered: tuple[Path, CorpusSummary], tmp_path: Path) -> Path:
    for name, content in contents(rendered[0]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_folder_holds_what_the_summary_says(rendered: tuple[Path, CorpusSummary]) -> None:
    root, summary = rendered
    files = contents(root)
    assert sorted(path.suffix for path in summary.videos_dir.iterdir()) == [".mp4"] * 6 + [".vtt"] * 6
    assert {name for name in files if "/" not in name} == {
        "corpus.json",
        "example_paragraph.txt",
        "example_sentence.txt",
        "splits.csv",
        "steps.csv",
    }
    assert (summary.num_videos, summary.num_rendered, summary.num_pairs) == (6, 6, 2)
    assert summary.size_bytes == sum(len(content) for name, content in files.items() if name != RECORD_NAME)


def test_videos_are_h264_with_sound_as_long_as_their_scenes(rendered: tuple[Path, CorpusSummary]) -> None:
    root, summary = rendered
    ends_s = {row["video"]: float(row["end_s"]) for row in csv.DictReader((root / "steps.csv").open())}
    for name, end_s in ends_s.items():
        with av.open(str(root / "videos" / name)) as container:
            picture, sound = container.streams.video[0], container.streams.audio[0]
            assert (picture.codec_context.name, picture.width, picture.height) == ("h264", 48, 32)
            assert picture.average_rate == TINY.fps
            assert sum(1 for _ in container.decode(picture)) == end_s * TINY.fps
            assert sound.codec_context.name == "aac"
            assert sound.duration is not None
            assert float(sound.duration * sound.time_base) == pytest.approx(end_s, abs=0.15)
    assert summary.duration_s == sum(ends_s.values())


def test_tables_name_all_videos_and_pairs_twice(rendered: tuple[Path, CorpusSummary]) -> None:
    rows = list(csv.DictReader((rendered[0] / "splits.csv").open()))
    assert sorted(row["split"] for row in rows) == ["test"] * 3 + ["train"] * 2 + ["val"]
    assert sorted(row["pair"] for row in rows) == ["", ""] + ["test-pair-000"] * 2 + ["train-pair-000"] * 2
    told = (rendered[0] / "example_paragraph.txt").read_text().splitlines()
    assert len(told) >= TINY.min_scenes


def test_lists_of_places_are_read_as_lists_of_actions(tmp_path: Path) -> None:
    render_corpus(tmp_path / "corpus", TINY.model_copy(update={"num_places": 4}), workers=2)
    names = (tmp_path / "corpus" / "places.txt").read_text().split()
    assert len(names) == 4
    split_of = {row["video"]: row["split"] for row in csv.DictReader((tmp_path / "corpus" / "splits.csv").open())}
    found = {}
    for split in ("train", "val", "test"):
        read = read_action_list(tmp_path / "corpus" / f"places_{split}.txt", split, layout="videos", class_names=names)
        found |= {f"{item.source_id}.mp4": split for item in read.labelled}
    assert found == split_of


def test_same_bytes_with_another_number_of_workers(rendered: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    render_corpus(tmp_path / "again", TINY, workers=3)
    assert contents(tmp_path / "again") == contents(rendered[0])


def test_another_seed_gives_other_videos(rendered: tuple[Path, CorpusSummary], copy: Path) -> None:
    render_corpus(copy, TINY.model_copy(update={"seed": 1}), workers=2)
    before, after = contents(rendered[0]), contents(copy)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if name.endswith((".mp4", ".vtt")))


def test_a_whole_corpus_is_left_alone_and_needs_nothing_heavy(copy: Path) -> None:
    stats = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    code = (
        "import sys; from pathlib import Path\n"
        "from stages.corpus.render import render_corpus\n"
        "from stages.corpus.settings import CorpusSettings\n"
        f"settings = CorpusSettings.model_validate_json({TINY.model_dump_json()!r})\n"
        f"summary = render_corpus(Path({str(copy)!r}), settings, workers=1)\n"
        "assert summary.num_rendered == 0, summary\n"
        "heavy = {'numpy', 'torch', 'ffmpeg', 'imageio_ffmpeg', 'av', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == stats


def test_lost_and_damaged_files_are_rendered_again_and_no_other(
    rendered: tuple[Path, CorpusSummary], copy: Path
) -> None:
    (copy / "videos/demo-0001.mp4").unlink()
    (copy / "videos/demo-0004.vtt").write_text("damaged")
    (copy / "splits.csv").write_text("damaged")
    calls: list[tuple[int, int]] = []
    summary = render_corpus(copy, TINY, workers=2, on_video=lambda done, total: calls.append((done, total)))
    assert summary.num_rendered == 2
    assert calls == [(1, 2), (2, 2)]
    assert contents(copy) == contents(rendered[0])


def test_an_interrupted_call_is_resumed(rendered: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        render_corpus(tmp_path, TINY, workers=1, on_video=stop)
    assert not json.loads((tmp_path / RECORD_NAME).read_text())["complete"]
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").glob("*.mp4")}
    assert 0 < len(left) < 6
    (tmp_path / ".demo-0099.mp4.part").write_bytes(b"half a video of a killed call")
    summary = render_corpus(tmp_path, TINY, workers=1)
    assert summary.num_rendered == 6 - len(left)
    assert all(path.stat().st_mtime_ns == time for path, time in left.items())
    assert contents(tmp_path) == contents(rendered[0])


def test_a_smaller_corpus_replaces_a_larger_one_and_spares_foreign_files(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    render_corpus(copy, TINY.model_copy(update={"num_val": 0, "seed": 5}), workers=1)
    assert len(list((copy / "videos").iterdir())) == 10
    assert (copy / "notes.txt").read_text() == "mine"


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="empty folder"):
        render_corpus(tmp_path, TINY, workers=1)
    with pytest.raises(ConfigError, match="expected a folder"):
        render_corpus(tmp_path / "holiday.mp4", TINY, workers=1)
    assert contents(tmp_path) == {"holiday.mp4": b"mine"}


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 9}',
        '{"schema": 1, "settings": {}, "duration_s": 1.0, "complete": true, "files": {"../notes.txt": ""}}',
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / RECORD_NAME).write_text(record)
    with pytest.raises(ConfigError, match=RECORD_NAME):
        render_corpus(tmp_path, TINY, workers=1)


def test_no_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers"):
        render_corpus(tmp_path / "new", TINY, workers=0)


def test_what_ffmpeg_said_is_in_the_error(tmp_path: Path) -> None:
    import numpy as np

    frames = np.zeros((4, 32, 32, 3), np.uint8)
    with pytest.raises(FabulaError, match="No such file or directory"):
        encode_mp4(frames, 8, [(220.0, 0.5)], tmp_path / "missing" / "a.mp4", find_ffmpeg())
