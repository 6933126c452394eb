import logging
from pathlib import Path

import pytest

from stages.errors import ConfigError
from stages.text.sources import Source, find_sources
from tests.unit.test_text_names import Video


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("WEBVTT\n")


def found(folder: Path, videos: list[Video], captions: Path | None = None, language: str = "en") -> dict[str, str]:
    sources = find_sources(videos, media_dir=folder, captions=captions, language=language)
    return {video_id: f"{source.folder}:{source.path}" for video_id, source in sources.items()}


def test_beside_the_video(tmp_path: Path) -> None:
    write(tmp_path, "a/x.vtt", "y.srt", "z.mp4.srt", "w.en.vtt", "b/x.srt", "a/other.vtt", "c/unrelated.vtt")
    videos = [
        Video("v1", ("a/x.mp4",)),
        Video("v2", ("y.webm",)),
        Video("v3", ("z.mp4",)),
        Video("v4", ("w.mkv",)),
        Video("v5", ("b/none.mp4",)),
    ]
    assert found(tmp_path, videos) == {
        "v1": "media:a/x.vtt",
        "v2": "media:y.srt",
        "v3": "media:z.mp4.srt",
        "v4": "media:w.en.vtt",
    }


def test_accents_as_macos_writes_them(tmp_path: Path) -> None:
    one, two = "caf\u00e9", "cafe\u0301"
    write(tmp_path / "media", f"{one}.vtt")
    write(tmp_path / "captions", f"{two}.vtt")
    assert found(tmp_path / "media", [Video("v", (f"{two}.mp4",))]) == {"v": f"media:{one}.vtt"}
    videos, captions = [Video("v", (f"{one}.mp4",))], tmp_path / "captions"
    assert found(tmp_path / "media", videos, captions) == {"v": f"captions:{two}.vtt"}


@pytest.mark.parametrize(
    ("names", "language", "expected"),
    [
        (["x.srt", "x.vtt"], "en", "x.vtt"),
        (["x.en.vtt", "x.srt"], "en", "x.srt"),
        (["x.en.vtt", "x.de.vtt"], "en", "x.en.vtt"),
        (["x.en-GB.srt", "x.de.vtt"], "en", "x.en-GB.srt"),
        (["x.en.vtt", "x.de.vtt"], "de-AT", "x.de.vtt"),
        (["x.fr.vtt", "x.de.vtt"], "en", "x.de.vtt"),
    ],
)
def test_of_several_files(tmp_path: Path, names: list[str], language: str, expected: str) -> None:
    write(tmp_path, *names)
    assert found(tmp_path, [Video("v", ("x.mp4",))], language=language) == {"v": f"media:{expected}"}


def test_a_stem_with_a_dot_is_no_language(tmp_path: Path) -> None:
    write(tmp_path, "x.en.vtt", "x.2024-05-01.vtt")
    assert found(tmp_path, [Video("v", ("x.mp4",)), Video("w", ("x.en.mp4",))]) == {"w": "media:x.en.vtt"}


def test_the_first_path_wins(tmp_path: Path) -> None:
    write(tmp_path, "b/y.vtt", "a/x.de.srt")
    assert found(tmp_path, [Video("v", ("a/x.mp4", "b/y.mp4"))]) == {"v": "media:a/x.de.srt"}


def test_hidden_files_and_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, ".x.vtt", "deep/x.vtt")
    assert found(tmp_path, [Video("v", ("x.mp4",))]) == {}


def test_a_second_folder_goes_before_what_lies_beside(tmp_path: Path) -> None:
    media, captions = tmp_path / "media", tmp_path / "captions"
    write(media, "a/x.vtt", "a/y.vtt")
    write(captions, "x.srt", "sub/yt7.en.vtt", "b/z.vtt", "w.webm.vtt")
    videos = [
        Video("v1", ("a/x.mp4",)),
        Video("v2", ("a/y.mp4",)),
        Video("v3", ("a/q.mp4",), ("yt7",)),
        Video("v4", ("b/z.mp4",)),
        Video("v5", ("b/w.webm",)),
    ]
    (media / "b").mkdir()
    assert found(media, videos, captions) == {
        "v1": "captions:x.srt",
        "v2": "media:a/y.vtt",
        "v3": "captions:sub/yt7.en.vtt",
        "v4": "captions:b/z.vtt",
        "v5": "captions:w.webm.vtt",
    }


def test_a_mirrored_tree_tells_equal_stems_apart(tmp_path: Path) -> None:
    captions = tmp_path / "captions"
    write(captions, "a/x.vtt", "b/x.vtt")
    videos = [Video("v1", ("a/x.mp4",)), Video("v2", ("b/x.mp4",))]
    sources = find_sources(videos, media_dir=None, captions=captions)
    assert {video_id: source.path for video_id, source in sources.items()} == {"v1": "a/x.vtt", "v2": "b/x.vtt"}
    write(captions, "x.vtt")
    with pytest.raises(ConfigError, match=r"captions/x\.vtt: .*stem of 2 videos: v1 \(a/x\.mp4\) and v2"):
        find_sources(videos, media_dir=None, captions=captions)


def test_the_table_s_rows_and_the_first_path(tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("video,start_s,end_s,text\nb/y.mp4,,,second\na/x.mp4,1,2,one\nv,3,4,two\nnobody,,,x\n")
    sources = find_sources([Video("v", ("a/x.mp4", "b/y.mp4"))], media_dir=None, captions=table)
    assert sources.keys() == {"v"}
    assert (sources["v"].folder, sources["v"].path) == ("", "c.csv")
    assert [row.text for row in sources["v"].rows] == ["one", "two"]


def test_transcripts_of_nobody_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "nobody.vtt")
    with caplog.at_level(logging.WARNING):
        assert find_sources([Video("v", ("x.mp4",))], media_dir=None, captions=tmp_path) == {}
    assert "captions_without_video" in caplog.text
    assert "nobody.vtt" in caplog.text


@pytest.mark.parametrize(("name", "problem"), [("none", "not there"), ("x.vtt", r"a file that is no \.csv table")])
def test_captions_that_are_neither(tmp_path: Path, name: str, problem: str) -> None:
    write(tmp_path, "x.vtt")
    with pytest.raises(ConfigError, match=rf"\[align\] captions = .*{name}: this is {problem}; expected a folder"):
        find_sources([], media_dir=None, captions=tmp_path / name)


def test_a_row_for_no_video_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("video,start_s,end_s,text\n,,,a\n")
    with pytest.raises(ConfigError, match=r"c\.csv:2: column video: got '', expected a name"):
        find_sources([], media_dir=None, captions=table)


def test_an_ambiguous_row_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("video,start_s,end_s,text\nx,,,a\n")
    with pytest.raises(ConfigError, match=r"c\.csv: the name 'x' is the stem of 2 videos"):
        find_sources([Video("v1", ("a/x.mp4",)), Video("v2", ("b/x.mp4",))], media_dir=None, captions=table)


def test_a_media_folder_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone of known videos cannot be read"):
        find_sources([Video("v", ("gone/x.mp4",))], media_dir=tmp_path, captions=None)


def test_a_source_is_a_plain_record() -> None:
    assert Source(folder="media", path="x.vtt").rows == ()
