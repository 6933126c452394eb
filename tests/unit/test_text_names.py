from dataclasses import dataclass

import pytest

from stages.errors import ConfigError
from stages.text.names import NameIndex


@dataclass(frozen=True)
class Video:
    video_id: str
    paths: tuple[str, ...]
    source_ids: tuple[str, ...] = ()


VIDEOS = [
    Video("v1", ("a/x.mp4", "b/copy.mp4"), ("yt1",)),
    Video("v2", ("b/x.mp4",)),
    Video("v3", ("z.webm",), ("a/x.mp4 of another set", "copy")),
    Video("v4", ("deep/v2.mkv",)),
]


@pytest.mark.parametrize(
    ("name", "video_id", "path_index"),
    [
        ("yt1", "v1", 0),
        ("a/x.mp4", "v1", 0),
        ("./a/x.mp4", "v1", 0),
        ("a/x", "v1", 0),
        ("b/copy.mp4", "v1", 1),
        ("copy.mp4", "v1", 1),
        ("copy", "v3", 0),  # a source id goes before v1's stem
        ("z.webm", "v3", 0),
        ("z", "v3", 0),
        ("v2", "v4", 0),  # a stem goes before v2's id
        ("v3", "v3", 0),
    ],
)
def test_the_first_kind_decides(name: str, video_id: str, path_index: int) -> None:
    match = NameIndex(VIDEOS).find(name)
    assert match is not None
    assert (match.video_id, match.path_index) == (video_id, path_index)


def test_a_path_as_it_is_goes_before_one_that_has_lost_its_suffix() -> None:
    videos = [Video("outer", ("x/clip.mp4.mkv",)), Video("inner", ("x/clip.mp4",)), Video("twin", ("x/clip.webm",))]
    for order in (videos, videos[::-1]):
        index = NameIndex(order)
        for video in videos:
            match = index.find(video.paths[0])
            assert match is not None
            assert match.video_id == video.video_id
        with pytest.raises(ConfigError, match="relative path without its suffix of 2 videos"):
            index.find("x/clip")
    both = NameIndex([Video("one", ("x/clip.mp4.mkv", "x/clip.mp4"))]).find("x/clip.mp4")
    assert both is not None
    assert both.path_index == 1


def test_a_name_of_nobody() -> None:
    assert NameIndex(VIDEOS).find("nobody") is None
    assert NameIndex([]).find("") is None


@pytest.mark.parametrize(("name", "kind"), [("x.mp4", "file name"), ("x", "stem")])
def test_two_matches_name_both(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"{kind} of 2 videos: v1 \(a/x\.mp4\) and v2 \(b/x\.mp4\)"):
        NameIndex(VIDEOS).find(name)
