"""ingest: positions and ids for ever, files = videos + duplicates + failures, and every bad file named."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.artifacts.commit import StagedOutput
from stages.artifacts.layout import Store
from stages.artifacts.manifest import Member, Video, read_members, read_videos
from stages.artifacts.sealed import Artifact, Description, PlannedUnit
from stages.artifacts.stat_cache import FoundFile
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.ingest import Ingest, IngestConfig, assign_members, make_video_id
from stages.media.candidates import find_candidates
from tests.media import make_pictures, make_video


def found(path: str, size: int = 1) -> FoundFile:
    return FoundFile(path, size, 0, 0)


def assign(contents: dict[str, str], earlier: Sequence[Member] = ()) -> list[Member]:
    files = [found(path) for path in sorted(contents)]
    return assign_members(files, contents, {}, earlier)


def test_ids_are_stems_where_they_can_be() -> None:
    members = assign({"a/tea.mp4": "1" * 32, "b/tea.mp4": "2" * 32, "c/über tee!.mp4": "3" * 32, "d/x.y.mp4": "4" * 32})
    assert [member.video_id for member in members] == [
        "tea", "tea-222222222222", "uber-tee--333333333333", "x-y-444444444444",
    ]  # fmt: skip
    assert len(make_video_id("ä" * 500, "5" * 32, set())) <= 64


def test_files_with_the_same_bytes_are_one_video() -> None:
    (member,) = assign({"b.mp4": "1" * 32, "a.mp4": "1" * 32})
    assert member.paths == ("a.mp4", "b.mp4")
    assert member.video_id == "a"


def test_positions_and_ids_stay_when_the_corpus_changes() -> None:
    before = assign({"b.mp4": "b" * 32, "c.mp4": "c" * 32, "d.mp4": "d" * 32})
    # c is gone, b was renamed, a and another d are new
    after = assign({"a.mp4": "a" * 32, "renamed.mp4": "b" * 32, "d.mp4": "d" * 32, "z/d.mp4": "e" * 32}, before)
    assert [(member.position, member.video_id, member.paths[0]) for member in after] == [
        (0, "b", "renamed.mp4"),
        (2, "d", "d.mp4"),
        (3, "a", "a.mp4"),
        (4, "d-eeeeeeeeeeee", "z/d.mp4"),
    ]


def test_companions_are_no_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.vtt", "a.en.srt", "b", "c.weird", ".hidden.mp4", "sub/d.MKV", "splits.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.path for file in find_candidates(tmp_path).files] == ["a.mp4", "b", "c.weird", "sub/d.MKV"]


def test_a_file_that_is_called_like_the_id_of_another_gets_one_of_its_own() -> None:
    members = assign({"clip-bbbbbbbbbbbb.mp4": "c" * 32, "d1/clip.mp4": "a" * 32, "d2/clip.mp4": "b" * 32})
    assert [member.video_id for member in members] == ["clip-bbbbbbbbbbbb", "clip", "clip-bbbbbbbbbbbbb"]
    assert len(make_video_id("s" * 70, "5" * 32, {"s" * 51 + "-" + "5" * 12})) == 64


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("videos.csv", b"path\ncaf\xe9.mp4\n", r"videos\.csv: byte 8 is not UTF-8"),
        ("list.txt", b"caf\xe9 10 1\n", r"list\.txt: byte 3 is not UTF-8"),
        ("videos.csv", b"path\na\0b.mp4\n", r"videos\.csv, line 2: "),
        ("videos.csv", b"path\nround.mp4\n", r"videos\.csv, line 2: "),
        ("videos.csv", b"path\n" + b"x" * 200_000, r"videos\.csv, line 2: this row is no CSV"),
    ],
)
def test_a_table_that_is_none_is_one_clear_message(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        find_candidates(tmp_path / name, 25.0)


@pytest.mark.parametrize("path", ["../x.mp4", "/etc/passwd", "", "missing.mp4"])
def test_a_table_may_not_leave_its_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "x.mp4").touch()
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "videos.csv").write_text(f'path,source_id\n"{path}",one\n')
    with pytest.raises(ConfigError, match=r"videos\.csv, line 2"):
        find_candidates(folder / "videos.csv")


@pytest.mark.parametrize(("name", "message"), [("nothing", "not there"), ("file.dat", r"no \.csv table")])
def test_a_missing_folder_is_one_clear_message(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file.dat").touch()
    with pytest.raises(ConfigError, match=message):
        Ingest(IngestConfig(media=tmp_path / name)).units(Inputs(store=Store(tmp_path / "s"), artifacts={}))


def test_an_empty_folder_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    with pytest.raises(ConfigError, match="no file in it that could be a video"):
        Ingest(IngestConfig(media=tmp_path / "media")).units(Inputs(store=Store(tmp_path / "s"), artifacts={}))


def ingest(store: Path, media: Path, frame_rate: float | None = None) -> tuple[Artifact, list[Video]]:
    """Run the stage by plain calls."""
    stage = Ingest(IngestConfig(media=media, frame_rate=frame_rate))
    inputs = Inputs(store=Store(store), artifacts={})
    units = stage.units(inputs)
    target = Store(store).artifact("manifest", "0" * 12)
    worker = stage.open(inputs)
    for unit in units:
        out = StagedOutput(unit.unit_id, {"manifest": target})
        out.commit({"manifest": "f"}, unit.inputs, list(worker.process(unit, out)))
    worker.close()
    planned = {u.unit_id: PlannedUnit(fingerprint="f", parts={}, num_inputs=len(u.inputs)) for u in units}
    description = Description(
        label="manifest", stage="ingest", version=1, schema=1, fingerprint="0" * 32, about={}, units=planned
    )
    target.description_path.write_bytes(description.to_bytes())
    artifact = Artifact(target)
    return artifact, read_videos(artifact)


def test_every_file_ends_as_video_duplicate_or_named_failure(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    make_video(media / "good.mp4")
    shutil.copy(media / "good.mp4", media / "same.mp4")
    (media / "text.mp4").write_text("this is no video\n" * 100)
    (media / "zero.mp4").touch()
    content = (media / "good.mp4").read_bytes()
    (media / "cut.mp4").write_bytes(content[: len(content) // 3])
    artifact, videos = ingest(tmp_path / "store", media)
    assert [video.video_id for video in videos] == ["good"]
    assert videos[0].paths == ("good.mp4", "same.mp4")
    assert videos[0].duration_s > 0
    assert videos[0].video_codec == "h264"
    totals = artifact.totals()
    assert (totals["inputs"], totals["successes"], totals["failures"]) == (5, 2, 3)
    (record,) = artifact.records
    assert record.info == {"videos": 1, "duplicates": 1}
    assert {failure.input_id for failure in record.failures} == {"cut.mp4", "text.mp4", "zero.mp4"}
    assert all(str(tmp_path) not in failure.message for failure in record.failures)
    assert len(read_members(artifact)) == 4


def test_frame_folders_are_videos_at_their_rate(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    make_video(media / "file.mp4")
    make_pictures(media / "kick" / "one", 30)
    make_pictures(media / "kick" / "two", 12, name="img_{:05d}.jpg", first=1)
    make_pictures(media / "kick" / "same", 30)
    (media / "kick" / "two" / "flow_x_00001.jpg").write_bytes(b"optical flow")
    _, plain = ingest(tmp_path / "plain", media)
    assert [video.video_id for video in plain] == ["file"]
    artifact, videos = ingest(tmp_path / "store", media, frame_rate=15.0)
    assert [(v.video_id, v.paths, round(v.duration_s, 9), v.frame_rate, v.container) for v in videos[1:]] == [
        ("one", ("kick/one", "kick/same"), 2.0, 15.0, "frame_folder"),
        ("two", ("kick/two",), 0.8, 15.0, "frame_folder"),
    ]
    assert artifact.totals()["inputs"] == 4
    _, slower = ingest(tmp_path / "slower", media, frame_rate=5.0)
    assert slower[1].content_hash != videos[1].content_hash
    assert slower[0].content_hash == videos[0].content_hash


def test_a_list_of_frame_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path / "kick" / "one", 30)
    make_pictures(tmp_path / "kick" / "two", 12)
    (tmp_path / "empty").mkdir()
    listing = tmp_path / "train.txt"
    listing.write_text("kick/one.mp4 20 0\nkick/two 14 3 extra\n\ngone/three 9 1\nempty 9 1\n")
    artifact, videos = ingest(tmp_path / "store", listing, frame_rate=10.0)
    assert [(v.video_id, round(v.duration_s, 9), v.source_ids) for v in videos] == [
        ("one", 2.0, ("kick/one.mp4",)), ("two", 1.2, ("kick/two",)),
    ]  # fmt: skip
    assert "frame_folder_is_short path=kick/two listed=14 found=12" in caplog.text
    failures = {f.input_id: f.cause for f in artifact.records[0].failures}
    assert failures == {"gone/three": "unreadable", "empty": "unreadable"}
    with pytest.raises(ConfigError, match=r"set \[ingest\] frame_rate"):
        find_candidates(listing)
    listing.write_text("kick/one 20 0\nkick/two many 0\n")
    with pytest.raises(ConfigError, match=r"train\.txt, line 2: got 'kick/two many 0'"):
        find_candidates(listing, 10.0)


def test_changed_pictures_are_seen_and_unchanged_ones_not_read_again(tmp_path: Path) -> None:
    make_pictures(tmp_path / "media" / "one", 5)
    read: list[int] = []
    inputs = Inputs(store=Store(tmp_path / "s"), artifacts={}, on_planning=lambda done, total: read.append(total))
    stage = Ingest(IngestConfig(media=tmp_path / "media", frame_rate=10.0))
    first = stage.units(inputs)
    assert stage.units(inputs) == first
    assert len(read) == 1
    (tmp_path / "media" / "one" / "frame_00002.png").write_bytes(b"another")
    assert stage.units(inputs) != first
    assert len(read) == 2


def test_a_file_without_permission_or_with_a_bad_name_is_named(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    make_video(media / "good.mp4")
    (media / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"x")
    artifact, _ = ingest(tmp_path / "store", media)
    (failure,) = artifact.records[0].failures
    assert failure.cause == "unreadable"
    assert "no UTF-8" in failure.message


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.mp4").write_bytes(b"one")
    read: list[int] = []
    inputs = Inputs(store=Store(tmp_path / "s"), artifacts={}, on_planning=lambda done, total: read.append(total))
    stage = Ingest(IngestConfig(media=media))
    first = stage.units(inputs)
    assert read == [3]
    assert stage.units(inputs) == first
    assert read == [3]
    stat = (media / "a.mp4").stat()
    (media / "a.mp4").write_bytes(b"two")
    os.utime(media / "a.mp4", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stage.units(inputs) == first, "same size, mtime and inode count as unchanged"
    assert Ingest(IngestConfig(media=media), rehash=True).units(inputs) != first
