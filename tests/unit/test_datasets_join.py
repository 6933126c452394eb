"""Joining a data set with a manifest: what is present, absent, and without features."""

from dataclasses import dataclass

import pytest

from stages.datasets.join import join
from stages.datasets.records import Annotations, Caption, DatasetVideo
from stages.errors import ConfigError


@dataclass(frozen=True)
class Row:
    video_id: str
    paths: tuple[str, ...]
    source_ids: tuple[str, ...] = ()


MANIFEST = [
    Row("m1", ("a.mp4",), ("yt-a",)),
    Row("m2", ("sub/b.mkv",)),
    Row("m3", ("c.mp4", "copies/c2.mp4")),
]


def videos(*source_ids: str) -> list[DatasetVideo]:
    return [DatasetVideo(source_id=source_id) for source_id in source_ids]


def test_counts_add_up() -> None:
    found = join(videos("yt-a", "gone", "b", "c"), MANIFEST, with_features={"m1", "m3"})
    assert dict(found.video_ids) == {"yt-a": "m1", "c": "m3"}
    counts = {"videos": 4, "present": 2, "absent": 1, "without_features": 1, "damaged": 0, "copies": 0}
    assert found.counts() == counts
    assert found.sentence() == "2 of 4 videos are scored; 1 are absent (gone); 1 have no features (b)"


def test_a_video_that_is_all_damaged_is_not_scored() -> None:
    found = join(videos("yt-a", "c", "c2"), MANIFEST).without_damaged({"c2"})
    assert dict(found.video_ids) == {"yt-a": "m1", "c": "m3"}
    assert (found.damaged, found.copies, found.num_videos) == (("c2",), (), 3)
    assert found.sentence() == "2 of 3 videos are scored; 1 are damaged from end to end (c2)"


def test_features_are_not_asked_for() -> None:
    assert join(videos("yt-a", "b"), MANIFEST).counts()["without_features"] == 0


def test_a_video_in_two_groups_counts_once_and_names_are_tried_in_order() -> None:
    dataset = [DatasetVideo(source_id="v", group=group, names=("gone.avi", "sub/b.mkv")) for group in "xy"]
    assert join(dataset, MANIFEST).counts()["videos"] == 1
    assert dict(join(dataset, MANIFEST).video_ids) == {"v": "m2"}


def test_files_with_the_same_bytes_are_reported_as_copies() -> None:
    assert join(videos("c", "c2"), MANIFEST).copies == (("c2", "c"),)


def test_select_leaves_what_can_be_used() -> None:
    captions = tuple(Caption(source_id=name, index=0, text=name) for name in ("b", "gone"))
    annotations = Annotations(name="set", videos=tuple(videos("b", "gone")), captions=captions)
    selected = join(annotations.videos, MANIFEST).select(annotations)
    assert [video.source_id for video in selected.videos] == [item.source_id for item in selected.captions] == ["b"]


def test_a_name_of_two_videos_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"the data set's video 'b'.*2 videos"):
        join(videos("b"), [*MANIFEST, Row("m4", ("other/b.mp4",))])
