"""Numbered pictures in a folder."""

from pathlib import Path

import pytest

from stages.media.sources import FrameFolder, Numbering, find_numbering, source_from_json, source_to_json


@pytest.mark.parametrize(
    ("names", "pattern", "first", "count"),
    [
        (["frame_00001.jpg", "frame_00002.jpg", "frame_00003.jpg"], "frame_%05d.jpg", 1, 3),
        (["img_0000.PNG", "img_0001.PNG"], "img_%04d.PNG", 0, 2),
        ([f"{k}.jpg" for k in range(1, 120)], "%d.jpg", 1, 119),
        (["a1.jpg", "a2.jpg", "a4.jpg"], "a%d.jpg", 1, 2),
        ([*(f"flow_x_{k}.jpg" for k in range(9)), "img_1.jpg"], "img_%d.jpg", 1, 1),
        ([f"v2_%d_{k:02d}.webp" for k in range(5)], "v2_%%d_%02d.webp", 0, 5),
    ],
)
def test_the_longest_run_from_0_or_1(names: list[str], pattern: str, first: int, count: int) -> None:
    found = find_numbering(reversed(names))
    assert isinstance(found, Numbering)
    assert (found.pattern, found.first, found.count) == (pattern, first, count)


@pytest.mark.parametrize("names", [[], ["notes.txt", "cover.jpg"], ["frame_0100.jpg", "frame_0101.jpg"], ["1.mp4"]])
def test_what_is_no_run(names: list[str]) -> None:
    assert find_numbering(names) is None


@pytest.mark.parametrize("source", [Path("a/b.mp4"), FrameFolder(path=Path("a/b"), frame_rate=29.97, num_frames=300)])
def test_a_source_survives_the_way_to_a_decode_process(source: Path | FrameFolder) -> None:
    assert source_from_json({"decoder": "pyav", **source_to_json(source)}) == source
