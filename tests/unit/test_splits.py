from pathlib import Path

import pytest

from stages.datasets.splits import holdout_split, read_splits
from stages.errors import ConfigError
from tests.unit.test_text_names import Video

VIDEOS = [Video("v1", ("a/x.mp4",)), Video("v2", ("a/y.mp4",)), Video("v3", ("b/x.mp4",)), Video("v4", ("z.mp4",))]


def write(folder: Path, *rows: str) -> Path:
    path = folder / "splits.csv"
    path.write_text("\n".join(("video,split,pair", *rows)) + "\n")
    return path


def test_names_are_resolved_and_both_sides_counted(tmp_path: Path) -> None:
    splits = read_splits(write(tmp_path, "y,test,p1", "a/x.mp4,test,p1", "v3,train,", "gone.mp4,val,"), VIDEOS)
    assert splits.split_of == {"v2": "test", "v1": "test", "v3": "train"}
    assert splits.pairs == {"p1": ("v2", "v1")}
    assert (splits.absent, splits.without_split) == (("gone.mp4",), ("v4",))
    assert (splits.video_ids("test"), splits.video_ids("val")) == (("v2", "v1"), ())


def test_a_pair_that_lacks_a_video_is_no_pair(tmp_path: Path) -> None:
    splits = read_splits(write(tmp_path, "y,test,p1", "gone,test,p1"), VIDEOS)
    assert (splits.pairs, splits.absent) == ({}, ("gone",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["y,dev,"], r"splits\.csv:2: column split: got 'dev', expected train, val, test"),
        ([",test,"], r"splits\.csv:2: column video: got nothing"),
        (["y,test"], r"splits\.csv:2: got 2 fields, expected 3"),
        (["x,test,"], r"splits\.csv:2: column video: the name 'x' is the stem of 2 videos: v1 .* and v3"),
        (["y,test,", "v2,train,"], r"splits\.csv:3: column video: 'v2' is the video v2 of line 2 again"),
        (["y,test,p", "z,test,p", "v3,test,p"], r"column pair: 'p' stands on 3 rows \(lines 2, 3, 4\)"),
        (["y,test,p"], r"column pair: 'p' stands on 1 rows"),
        (["y,test,p", "z,train,p"], r"column pair: 'p' .*expected exactly two rows of one split"),
    ],
)
def test_what_is_no_splits_file(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_splits(write(tmp_path, *rows), VIDEOS)


def test_holdout_is_a_function_of_id_and_seed() -> None:
    ids = [f"video{number}" for number in range(4000)]
    drawn = [holdout_split(video_id, 0.25, 7) for video_id in ids]
    assert drawn == [holdout_split(video_id, 0.25, 7) for video_id in ids]
    assert drawn != [holdout_split(video_id, 0.25, 8) for video_id in ids]
    assert 0.22 < drawn.count("test") / len(ids) < 0.28
    assert set(drawn) == {"train", "test"}


def test_holdout_grows_with_its_fraction() -> None:
    ids = [f"video{number}" for number in range(500)]
    small, large = ({i for i in ids if holdout_split(i, fraction, 0) == "test"} for fraction in (0.1, 0.4))
    assert small < large
    assert {holdout_split(i, 0.0, 0) for i in ids} == {"train"}
    assert {holdout_split(i, 1.0, 0) for i in ids} == {"test"}
    with pytest.raises(ValueError, match=r"fraction is 1\.5"):
        holdout_split("a", 1.5, 0)


def test_holdout_does_not_change_between_versions() -> None:
    drawn = " ".join(holdout_split(video_id, 0.5, 0) for video_id in "abcdefgh")
    assert drawn == "train test test test train test train train"
