"""Files that are not what they should be: the error names the file and the line or key, and nothing in them is run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.datasets import (
    activitynet,
    coin,
    crosstask,
    didemo,
    fewshot,
    hmdb51,
    howto100m,
    kinetics,
    msrvtt,
    ucf101,
    youcook2,
)
from stages.datasets.action_classes import read_class_names
from stages.datasets.action_sets import ActionLists
from stages.errors import ConfigError

Reader = Callable[[Path], Any]


def read_planning(path: Path) -> Any:
    return crosstask.read_planning_list(path, "train")


def read_primary(path: Path) -> Any:
    return crosstask.read_tasks(path, is_primary=True)


def read_moments(path: Path) -> Any:
    return didemo.read_didemo(path, "val")


def read_paragraphs(path: Path) -> Any:
    return activitynet.read_activitynet(path, "val")


def read_spoken(path: Path) -> Any:
    return list(howto100m.iterate_captions(path))


def read_videos(path: Path) -> Any:
    return kinetics.read_action_list(path, "val", layout="videos", class_names=("a", "b"))


def read_unnamed(path: Path) -> Any:
    return kinetics.read_action_list(path, "val", layout="videos")


def read_ucf_classes(path: Path) -> Any:
    return ucf101.read_ucf101(classes=path, train=path, test=path)


YOUCOOK = '{"database": {"v": {"subset": "validation", "duration": 9, "recipe_type": "1", "annotations": [%s]}}}'
COIN = '{"database": {"v": {"subset": "testing", "duration": 9, "class": "T", "annotation": [%s]}}}'
MOMENT = '{"num_segments": 6, "description": "x", "times": [%s], "video": "v.mp4", "annotation_id": 1}'
MSRVTT = '{"videos": [{"video_id": "video0"}], "sentences": [%s]}'
CHOICE = "vid_key\ta1\ta2\ta3\ta4\ta5\tanswer\n"

# (reader, content, what the message holds after the file's name)
CASES: list[tuple[Reader, str, str]] = [
    (youcook2.read_youcook2, "{", ":1: column 2: is no JSON"),
    (youcook2.read_youcook2, '{"a": 1, "a": 2}', ": the key 'a' stands twice"),
    (youcook2.read_youcook2, "[]", ": top level: got [], expected an object"),
    (youcook2.read_youcook2, "{}", ": top level: got the keys (none), expected also 'database'"),
    (youcook2.read_youcook2, '{"database": {"v": {"subset": "x"}}}', ': database.v.subset: got "x"'),
    (
        youcook2.read_youcook2,
        YOUCOOK % '{"segment": [5, 5], "sentence": "x"}',
        ": database.v.annotations[0].segment: got [5, 5]",
    ),
    (
        youcook2.read_youcook2,
        YOUCOOK % '{"segment": [1, 5], "sentence": " "}',
        ": database.v.annotations[0].sentence: got",
    ),
    (youcook2.read_milnce_list, "end,start,task,text,video_id\n1,2,3,x,v\n", ":2: got start '2' and end '1'"),
    (youcook2.read_milnce_list, "end,start,task,text\n1,0,3,x\n", ":1: got the columns"),
    (lambda path: youcook2.read_split_list(path, "val"), "1/a\nb\n", ":2: got 'b', expected recipe_type/video_id"),
    (msrvtt.read_jsfusion_test, "key,vid_key,video_id,sentence\nr,m,v,x\nr,m,v,y\n", ":3: the video 'v' stands at"),
    (msrvtt.read_jsfusion_test, "key,vid_key,video_id,sentence\nr,m,v,\n", ":2: column sentence: got nothing"),
    (msrvtt.read_msrvtt, MSRVTT % '{"video_id": "video1", "sen_id": 1, "caption": "x"}', ": sentences[0].video_id"),
    (msrvtt.read_msrvtt, MSRVTT % '{"video_id": "video0", "sen_id": 1.5, "caption": "x"}', ": sentences[0].sen_id"),
    (msrvtt.read_multiple_choice, CHOICE + "msr1\ta\tb\tc\td\te\t5\n", ":2: got '5', expected an answer from 0 to 4"),
    (msrvtt.read_multiple_choice, CHOICE + "x1\ta\tb\tc\td\te\t1\n", ":2: got 'x1', expected a vid_key"),
    (msrvtt.read_multiple_choice, "a\tb\n", ":1: got"),
    (read_moments, "[" + MOMENT % "[2, 6]" + "]", ": [0].times[0]: got [2, 6]"),
    (read_moments, "[" + MOMENT % "[1, 1]" + "," + MOMENT % "[1, 1]" + "]", ": [1]: the annotation_id '1' stands at"),
    (read_moments, "[" + MOMENT % "" + "]", ": [0].times: got []"),
    (read_moments, "[" + MOMENT.replace("6", "7") % "[1, 6]" + "]", ": [0].num_segments: got 7, expected 1 to 6"),
    (read_moments, "[" + MOMENT.replace('"x"', r'"x \ud800"') % "[1, 1]" + "]", ': [0].description: got "x \\ud800"'),
    (youcook2.read_youcook2, r'{"database": {"\ud800": {}}}', r": the key '\ud800' holds half of a character"),
    (
        read_paragraphs,
        '{"v_a": {"duration": 9, "timestamps": [[0, 1]], "sentences": []}}',
        ": v_a.sentences: got [], expected a list of 1",
    ),
    (
        read_paragraphs,
        '{"v_a": {"duration": 9, "timestamps": [[0, NaN]], "sentences": ["x"]}}',
        ": v_a.timestamps[0][1]: got NaN",
    ),
    (
        read_paragraphs,
        '{"v_a": {"duration": 1' + "0" * 400 + ', "timestamps": [], "sentences": []}}',
        ": v_a.duration: got 1000",
    ),
    (coin.read_coin, COIN % f'{{"id": "{"1" * 5000}"}}', ": database.v.annotation[0].id: got"),
    (read_videos, f"p.mp4 {'1' * 5000}", ":1: got '111"),
    (coin.read_coin, COIN % '{"id": "0", "segment": [1, 2], "label": "x"}', ": database.v.annotation[0].id: got"),
    (
        coin.read_coin,
        COIN % '{"id": "1", "segment": [1, 2], "label": "x"}, {"id": "1", "segment": [3, 4], "label": "y"}',
        ": database.v.annotation[1].label: got",
    ),
    (read_primary, "1\ntitle\n", ":1: got 'a block of 2 lines'"),
    (read_primary, "1\ntitle\nurl\n3\na,b\n", ":5: got '2 steps: a,b', expected 3 steps"),
    (crosstask.read_videos, "1,a,u\n1,b\n", ":2: got '1,b', expected 3 fields"),
    (read_planning, '[{"vid": "a", "task": "1"}]', ": [0]: got the keys"),
    (crosstask.read_one_hot, "no array", ": not a .npy array"),
    (lambda path: fewshot.read_fewshot("x", {"train": path}), "a/v1\nv2\n", ":2: got 'v2', expected class/video"),
    (lambda path: fewshot.read_fewshot("x", {"train": path}), "a/v1\nb/v1\n", ":2: the video 'v1' stands at"),
    (hmdb51.read_hmdb51, "video_id,label,split1\na.avi,x_test,3\n", ":2: got 'a.avi' in '3'"),
    (read_videos, "p.mp4 1\nq.mp4 2\n", ":2: got '2', expected a label from 0 to 1"),
    (read_unnamed, f"p.mp4 {'9' * 15}\n", ":1: got '999999999999999', expected a label from 0 to 99999"),
    (read_videos, "p.mp4\n", ":1: got 'p.mp4', expected a path and 1 numbers"),
    (read_videos, " \n", ": is no list"),
    (read_class_names, "a\n\nb\n", ":2: got '', expected the name of a class"),
    (read_ucf_classes, "1 A\n3 B\n", ":2: got '3 B', expected '2 <class>'"),
    (read_spoken, '{"v": {"start": [1]', ":1: got"),
    (read_spoken, '{"v": {"start": [],\n"end": [], "text": []},\n"w": 5}', ":3: w: got 5, expected an object"),
    (read_spoken, '{"v": {"start": [1], "end": [], "text": ["x"]}}', ":1: v.end: got [], expected a list of 1"),
    (read_spoken, "{}\n{}", ":2: got something after the end of the object"),
    (howto100m.read_task_names, "1\ta\n2 b\n", ":2: got '2 b', expected task_id, a tab"),
]


@pytest.mark.parametrize(("read", "content", "expected"), CASES)
def test_the_place_is_named(tmp_path: Path, read: Reader, content: str, expected: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert f"list.txt{expected}" in str(caught.value)


READERS: list[Reader] = list(dict.fromkeys(read for read, _, _ in CASES))


@pytest.mark.parametrize("read", [*READERS, youcook2.read_clip_list])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xfd\x00\x80"])
def test_missing_empty_and_binary_files_are_refused(tmp_path: Path, read: Reader, content: bytes | None) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"list\.txt"):
        read(path)


def test_ucf101_label_of_another_class(tmp_path: Path) -> None:
    for name, text in {"classes": "1 A\n2 B\n", "train": "A/v1.avi 1\nB/v2.avi 1\n", "test": "A/v3.avi\n"}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"train:2: got '1', expected 2, the number of B"):
        ucf101.read_ucf101(classes=tmp_path / "classes", train=tmp_path / "train", test=tmp_path / "test")


def test_fewshot_class_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a/v1\n")
    (tmp_path / "test.txt").write_text("b/v2\na/v3\n")
    with pytest.raises(ConfigError, match=r"test\.txt:2: the class 'a' is in train already"):
        fewshot.read_fewshot("x", {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"})


def test_crosstask_step_that_the_task_has_not(tmp_path: Path) -> None:
    (tmp_path / "tasks.txt").write_text("1\ntitle\nurl\n1\na\n")
    (tmp_path / "1_v.csv").write_text("1,0,1\n2,1,2\n")
    (tmp_path / "videos.csv").write_text("1,v,u\n")
    videos, tasks = crosstask.read_videos(tmp_path / "videos.csv"), read_primary(tmp_path / "tasks.txt")
    with pytest.raises(ConfigError, match=r"1_v\.csv:2: got '2', expected a step from 1 to 1"):
        crosstask.read_crosstask(videos=videos, tasks=tasks, annotations_dir=tmp_path)
    with pytest.raises(ConfigError, match="the task '1'"):
        crosstask.read_crosstask(videos=videos, tasks=(), annotations_dir=tmp_path)


def test_a_video_in_two_lists_of_one_name(tmp_path: Path) -> None:
    named = {}
    for split in ("train", "val"):
        named[split] = tmp_path / split / "list.txt"
        named[split].parent.mkdir()
        named[split].write_text("a/p.mp4 0\n")
    with pytest.raises(ConfigError, match="the video 'p' is in list and in list, expected in one"):
        ActionLists(name="kinetics", **named).read()


def test_msrvtt_list_of_other_data(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("video_id\nvideo7\n")
    (tmp_path / "data.json").write_text(MSRVTT % "")
    listed = msrvtt.read_video_list(tmp_path / "list.csv", "train")
    with pytest.raises(ConfigError, match=r"1 of 1 videos have no captions.*video7"):
        msrvtt.with_captions(listed, msrvtt.read_msrvtt(tmp_path / "data.json"))


def test_hmdb51_folder_without_lists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \*_test_split1\.txt"):
        hmdb51.read_hmdb51_folder(tmp_path)


class Call:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("read", [youcook2.read_clip_list, lambda path: list(howto100m.read_pickled_captions(path))])
def test_a_pickle_that_calls_is_refused_and_not_run(tmp_path: Path, read: Reader) -> None:
    path, trace = tmp_path / "list.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps([Call(trace)]))
    with pytest.raises(ConfigError, match=r"list\.pkl: cannot be read as a pickled list"):
        read(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("read", "content", "expected"),
    [
        (youcook2.read_clip_list, {}, r"got a dict, expected a list"),
        (youcook2.read_clip_list, [{"id": "a_1", "caption": "x"}, {"id": "b"}], r"\[1\]: got id 'b'"),
        (youcook2.read_clip_list, [np.zeros(2)], r"\[0\]: got id None"),
        (lambda path: list(howto100m.read_pickled_captions(path)), [], r"got a list, expected a dict"),
        (lambda path: list(howto100m.read_pickled_captions(path)), {"v": "{"}, r"v: is no JSON"),
        (lambda path: list(howto100m.read_pickled_captions(path)), {"v": 1}, r"'v': got a int"),
        (lambda path: list(howto100m.read_pickled_captions(path)), {"v": "[" * 100_000}, r"v: is no JSON"),
        (youcook2.read_clip_list, [{"id": "a_" + "1" * 5000, "caption": "x"}], r"\[0\]: got id 'a_111"),
    ],
)
def test_pickled_list_of_another_form(tmp_path: Path, read: Reader, content: object, expected: str) -> None:
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ConfigError, match=rf"list\.pkl: {expected}"):
        read(path)
