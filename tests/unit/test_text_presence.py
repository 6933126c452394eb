"""Which videos are narrated, before anything is known of them but their names."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.errors import ConfigError
from stages.text.presence import find_narrated

SPOKEN = "1\n00:00:01,000 --> 00:00:02,000\nstir it\n"


@dataclass(frozen=True)
class File:
    video_id: str
    paths: tuple[str, ...]
    source_ids: tuple[str, ...] = ()


def narrated(media: Path, *paths: str, captions: Path | None = None) -> list[str]:
    for path in paths:
        (media / path).parent.mkdir(parents=True, exist_ok=True)
    return list(find_narrated([File(path, (path,)) for path in paths], media_dir=media, captions=captions))


@pytest.mark.parametrize(("row", "expected"), [("a,0,2,stir it", True), ("a,,,stir it", True), ("a,5,2,x", False)])
def test_a_table_counts_if_a_row_of_it_can_be_used(tmp_path: Path, row: str, expected: bool) -> None:
    (tmp_path / "captions.csv").write_text(f"video,start_s,end_s,text\n{row}\nnobody,,,stir it\n")
    assert narrated(tmp_path, "a.mp4", captions=tmp_path / "captions.csv") == ["a.mp4"] * expected


def test_transcripts_beside_videos_and_in_a_second_folder(tmp_path: Path) -> None:
    media, captions = tmp_path / "media", tmp_path / "captions"
    for folder in (media / "deep", captions):
        folder.mkdir(parents=True)
    (media / "deep" / "a.vtt").write_text("no transcript")
    assert narrated(media, "deep/a.mp4") == []
    (captions / "a.de.srt").write_text(SPOKEN)
    assert narrated(media, "deep/a.mp4", captions=captions) == ["deep/a.mp4"]


def test_what_align_would_not_match_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "subs").mkdir()
    (tmp_path / "subs" / "a.srt").write_text(SPOKEN)
    assert narrated(tmp_path, "videos/a.mp4", "b.mp4") == []
    assert narrated(tmp_path, "videos/a.mp4", captions=tmp_path / "subs") == ["videos/a.mp4"]


def test_a_name_of_two_files_counts_for_both_as_they_may_be_one_video(tmp_path: Path) -> None:
    captions = tmp_path / "captions"
    captions.mkdir()
    (captions / "x.srt").write_text(SPOKEN)
    assert narrated(tmp_path, "a/x.mp4", "b/x.mp4", captions=captions) == ["a/x.mp4", "b/x.mp4"]


def test_transcripts_are_read_until_enough_are_found(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.srt").write_text(SPOKEN)
    found = find_narrated([File(name, (f"{name}.mp4",)) for name in "abc"], media_dir=tmp_path, captions=None)
    assert next(found) == "a"
    for name in "bc":
        (tmp_path / f"{name}.srt").write_text("no transcript")
    assert list(found) == []


def test_captions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[align\] captions = .*gone: this is not there"):
        narrated(tmp_path, "a.mp4", captions=tmp_path / "gone")
