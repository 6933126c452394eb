"""Readers of action data sets whose files are not distributed with us, on small files made in their layouts."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.datasets.activitynet import read_activitynet_actions
from stages.datasets.kinetics import read_kinetics
from stages.datasets.records import Annotations, by_class
from stages.datasets.something import read_something
from stages.errors import ConfigError


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def actions_file(folder: Path, **videos: Any) -> Path:
    plain = {"duration": 82.7, "resolution": "640x360", "url": "u", "annotations": []}
    database = {name: {**plain, **video} for name, video in videos.items()}
    taxonomy = [{"parentName": "Root", "nodeName": "Surfing", "nodeId": 5, "parentId": 0}]
    content = {"taxonomy": taxonomy, "version": "VERSION 1.3", "database": database}
    return write(folder / "activity_net.v1-3.min.json", content)


def test_activitynet_actions(tmp_path: Path) -> None:
    surf, swim = {"segment": [6.5, 20.0], "label": "Surfing"}, {"segment": [1, 2.5], "label": "Diving"}
    broken = {"segment": [9.0, 9.0], "label": "Surfing"}
    path = actions_file(
        tmp_path,
        a={"subset": "training", "annotations": [surf, broken, swim]},
        b={"subset": "validation", "annotations": [surf]},
        c={"subset": "testing"},
    )
    found = read_activitynet_actions(path)
    assert [(video.source_id, video.split, video.names) for video in found.videos] == [
        ("a", "train", ("a", "v_a")),
        ("b", "val", ("b", "v_b")),
        ("c", "test", ("c", "v_c")),
    ]
    assert [(step.index, step.name) for step in found.steps] == [(0, "Diving"), (1, "Surfing")]
    assert [(s.source_id, s.index, s.label_index, s.start_s, s.end_s) for s in found.segments] == [
        ("a", 0, 1, 6.5, 20.0),
        ("a", 1, 0, 1.0, 2.5),
        ("b", 0, 1, 6.5, 20.0),
    ]
    (remark,) = found.remarks
    assert "min.json: database.a.annotations[1]: end is not after start ([9.0, 9.0])" in remark


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ({"subset": "train"}, 'database.a.subset: got "train", expected training or validation or testing'),
        ({"subset": "training", "annotations": [{"segment": [1, 2]}]}, "annotations[0]: got the keys segment"),
        ({"subset": "training", "annotations": [{"segment": [1], "label": "x"}]}, "segment: got [1], expected a list"),
    ],
)
def test_activitynet_of_another_form_names_the_key(tmp_path: Path, video: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_activitynet_actions(actions_file(tmp_path, a=video))
    assert expected in str(caught.value)


LABELS = {"Holding something": "1", "Approaching something with your camera": "0"}


def something(folder: Path, entries: list[dict[str, Any]], labels: object = LABELS) -> Annotations:
    files = {"train": write(folder / "train.json", entries), "test": write(folder / "test.json", [{"id": "9"}])}
    return read_something(labels=write(folder / "labels.json", labels), lists=files)


def test_something_something(tmp_path: Path) -> None:
    entries = [
        {"id": "78687", "label": "holding a cup", "template": "Holding [something]", "placeholders": ["a cup"]},
        {"id": "4", "label": "x", "template": "Approaching [something] with your camera", "placeholders": ["y"]},
    ]
    found = something(tmp_path, entries)
    assert by_class(found) == {0: ("4",), 1: ("78687",)}
    assert [(video.source_id, video.split, video.group) for video in found.videos] == [
        ("78687", "train", "Holding something"),
        ("4", "train", "Approaching something with your camera"),
        ("9", "test", ""),
    ]
    assert [label.name for label in found.classes] == ["Approaching something with your camera", "Holding something"]


@pytest.mark.parametrize(
    ("entries", "labels", "expected"),
    [
        ([{"id": "1", "template": "Eating [something]"}], LABELS, "train.json: [0].template: got"),
        ([{"id": "9"}], LABELS, "test.json: [0]: the video '9' stands at"),
        ([], {"A": "0", "B": "2"}, "labels.json: top level: got"),
        ([], {}, "labels.json: top level: got {}"),
    ],
)
def test_something_something_of_another_form_names_the_key(
    tmp_path: Path, entries: list[dict[str, Any]], labels: object, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        something(tmp_path, entries, labels)
    assert expected in str(caught.value)


def test_kinetics_tables(tmp_path: Path) -> None:
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    train = write(tmp_path / "train.csv", header + "zumba,-ab_c,3,13,train,0\nabseiling,xyz,100,110,train,0\n")
    val = write(tmp_path / "validate.csv", header + "zumba,xyz,5,15,validate,0\n")
    found = read_kinetics([train, val])
    assert by_class(found) == {0: ("xyz_000100_000110",), 1: ("-ab_c_000003_000013", "xyz_000005_000015")}
    assert [(video.split, video.names[1], video.duration_s) for video in found.videos] == [
        ("train", "-ab_c", 10.0),
        ("train", "xyz", 10.0),
        ("val", "xyz", 10.0),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("zumba,a,3,13,holdout,0", "train.csv:2: column split: got 'holdout'"),
        ("zumba,a,13,3,train,0", "train.csv:2: got start '13' and end '3'"),
        ("zumba,a,3,13,train,0\nzumba,a,3,13,train,0", "train.csv:3: the video 'a_000003_000013' stands at"),
    ],
)
def test_kinetics_tables_of_another_form_name_the_line(tmp_path: Path, row: str, expected: str) -> None:
    path = write(tmp_path / "train.csv", f"label,youtube_id,time_start,time_end,split,is_cc\n{row}\n")
    with pytest.raises(ConfigError) as caught:
        read_kinetics([path])
    assert expected in str(caught.value)
