"""Every reader on the file that it is for, as distributed: counts against the publication or the file's own."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.datasets import activitynet, coin, crosstask, didemo, fewshot, hmdb51, msrvtt, ucf101, youcook2
from stages.datasets.records import Annotations, by_class, paragraphs
from stages.errors import ConfigError

pytestmark = pytest.mark.shared

# papers.md 9.8: list, suffix, videos a split, classes a split. The test list of SSv2 CMN is not distributed with it.
FEWSHOT = [
    ("ssv2_OTAM", "txt", {"train": 67_013, "val": 1_926, "test": 2_857}, {"train": 64, "val": 12, "test": 24}),
    ("ssv2_CMN", "list", {"train": 6_400, "val": 1_200}, {"train": 64, "val": 12}),
    ("kinetics100_CMN", "list", {"train": 6_400, "val": 1_200, "test": 2_400}, {"train": 64, "val": 12, "test": 24}),
    ("hmdb_ARN", "txt", {"train": 4_280, "val": 1_194, "test": 1_292}, {"train": 31, "val": 10, "test": 10}),
    ("ucf_ARN", "txt", {"train": 9_154, "val": 1_421, "test": 2_745}, {"train": 70, "val": 10, "test": 21}),
]


@pytest.fixture
def folder(shared_dir: Path) -> Path:
    return shared_dir / "data" / "annotations"


def raw(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def split_sizes(annotations: Annotations) -> dict[str, int]:
    return dict(Counter(video.split for video in annotations.videos))


def test_youcook2(folder: Path) -> None:
    path = folder / "youcook2" / "youcookii_annotations_trainval.json"
    found, database = youcook2.read_youcook2(path), raw(path)["database"]
    assert split_sizes(found) == {"train": 1333, "val": 457}
    assert len(found.captions) == sum(len(video["annotations"]) for video in database.values()) == 13_829
    assert len(found.of_split("val").captions) == 3_492
    assert len({video.group for video in found.videos}) == 89
    first = next(iter(database))
    assert [(item.start_s, item.end_s) for item in found.only([first]).captions] == [
        tuple(entry["segment"]) for entry in database[first]["annotations"]
    ]


def test_msrvtt_lists_are_disjoint(folder: Path) -> None:
    test = msrvtt.read_jsfusion_test(folder / "msrvtt" / "milnce_msrvtt_test.csv")
    train = msrvtt.read_video_list(folder / "msrvtt" / "MSRVTT_train.9k.csv", "train")
    assert (len(test.videos), len(test.captions), len(train.videos)) == (1000, 1000, 9000)
    assert not {video.source_id for video in test.videos} & {video.source_id for video in train.videos}
    assert test.captions[0].text == "a person is connecting something to system"


def test_activitynet(folder: Path) -> None:
    path = folder / "activitynet" / "val_1.json"
    found, source = activitynet.read_activitynet(path, "val"), raw(path)
    assert len(found.videos) == len(paragraphs(found.captions)) == 4_917
    assert len(found.captions) == sum(len(video["sentences"]) for video in source.values()) == 17_505
    untimed = sum(start >= end for video in source.values() for start, end in video["timestamps"])
    assert len(found.remarks) == untimed == sum(caption.start_s is None for caption in found.captions)
    assert found.videos[0].names == ("v_uqiMw7tQ1Cc", "uqiMw7tQ1Cc")


def test_didemo(folder: Path) -> None:
    path = folder / "didemo" / "val_data.json"
    found, source = didemo.read_didemo(path, "val"), raw(path)
    assert len(found.moments) == len(source) == 4_180
    assert Counter(moment.num_chunks for moment in found.moments) == Counter(item["num_segments"] for item in source)
    assert [moment.spans for moment in found.moments] == [tuple(map(tuple, item["times"])) for item in source]
    # 1,094 file names, of which 29 are a second suffix of the same video: as many videos as there are links.
    assert len(found.videos) == len({item["dl_link"] for item in source}) == 1_065
    assert {name for video in found.videos for name in video.names} >= {item["video"] for item in source}


def test_coin(folder: Path) -> None:
    path = folder / "coin" / "coin_test_30.json"
    found, source = coin.read_coin(path), raw(path)
    videos = {name: video for element in source for name, video in element.items()}
    assert split_sizes(found) == {"test": len(videos)} == {"test": 3_006}
    assert len(found.segments) == sum(len(video["annotation"]) for video in videos.values()) == 11_583
    assert (len(found.classes), len(found.steps)) == (178, 764)
    assert found.steps[0].index >= 1
    assert found.steps[-1].index <= 778


def test_crosstask_planning_lists_are_disjoint(folder: Path) -> None:
    train, test = (
        crosstask.read_planning_list(folder / "crosstask" / f"{split}_list.json", split) for split in ("train", "test")
    )
    assert (len(train.videos), len(test.videos)) == (1_943, 805)
    assert len({video.group for video in train.videos}) == len({video.group for video in test.videos}) == 18
    assert not {video.source_id for video in train.videos} & {video.source_id for video in test.videos}


def test_crosstask_one_hot_is_a_pickle_and_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"actions_one_hot\.npy.*Python objects"):
        crosstask.read_one_hot(folder / "crosstask" / "actions_one_hot.npy")


def test_ucf101(folder: Path) -> None:
    files = {"classes": "classInd", "train": "trainlist01", "test": "testlist01"}
    found = ucf101.read_ucf101(**{key: folder / "ucf101" / f"{name}.txt" for key, name in files.items()})
    assert split_sizes(found) == {"train": 9_537, "test": 3_783}
    assert len(found.classes) == 101
    assert all(by_class(found).values())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_hmdb51(folder: Path, number: int) -> None:
    found = hmdb51.read_hmdb51(folder / "hmdb51" / "milnce_hmdb51.csv", number)
    sizes = split_sizes(found)
    assert (sizes["train"], sizes["test"], sum(sizes.values())) == (3_570, 1_530, 6_766)
    assert len(found.classes) == 51
    per_class = Counter((video.group, video.split) for video in found.videos if video.split)
    assert set(per_class.values()) == {70, 30}


@pytest.mark.parametrize(("name", "suffix", "videos", "classes"), FEWSHOT)
def test_fewshot(folder: Path, name: str, suffix: str, videos: dict[str, int], classes: dict[str, int]) -> None:
    lists = {split: folder / "fewshot" / f"{name}_{split}.{suffix}" for split in videos}
    found = fewshot.read_fewshot(name, lists)
    assert split_sizes(found) == videos
    assert {split: len({video.group for video in found.videos if video.split == split}) for split in videos} == classes
    assert len(found.classes) == sum(classes.values())
    if "CMN" in name:
        assert {len(source_ids) for source_ids in by_class(found).values()} == {100}
