"""Layouts that are distributed, but not with us: each on a small file made in that layout."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands import import_captions
from stages.datasets import activitynet, coin, crosstask, hmdb51, howto100m, json_stream, kinetics, msrvtt, youcook2
from stages.datasets.action_classes import read_class_names
from stages.datasets.records import Annotations, DatasetVideo, Task, by_class
from stages.errors import ConfigError
from stages.text.readers import parse_transcript


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def ids(annotations: Annotations) -> list[str]:
    return [video.source_id for video in annotations.videos]


def test_youcook2_milnce_list_brings_rows_of_a_video_together(tmp_path: Path) -> None:
    rows = 'end,start,task,text,video_id\n9,2.5,113,"cut, then fry",b\n4,1,226,pour,a\n20,10,113,serve,b\n'
    found = youcook2.read_milnce_list(write(tmp_path / "validation_youcook.csv", rows))
    assert [(video.source_id, video.split, video.group) for video in found.videos] == [
        ("b", "val", "113"),
        ("a", "val", "226"),
    ]
    assert [(item.source_id, item.index, item.text, item.start_s, item.end_s) for item in found.captions] == [
        ("b", 0, "cut, then fry", 2.5, 9.0),
        ("b", 1, "serve", 10.0, 20.0),
        ("a", 0, "pour", 1.0, 4.0),
    ]


def test_youcook2_split_list(tmp_path: Path) -> None:
    found = youcook2.read_split_list(write(tmp_path / "val_list.txt", "101/abc\n106/-d_e\n"), "val")
    assert [(video.group, video.source_id) for video in found] == [("101", "abc"), ("106", "-d_e")]


def test_youcook2_pickled_list_is_cut_at_the_last_underscore(tmp_path: Path) -> None:
    entry = {"id": "a_b_12", "caption": "stir", "2d": np.zeros(4, np.float32), "3d": np.ones(4, np.float32)}
    path = tmp_path / "youcook_val.pkl"
    path.write_bytes(pickle.dumps([entry]))
    assert youcook2.read_clip_list(path) == (youcook2.ClipName(source_id="a_b", index=12, text="stir"),)


def made_msrvtt(folder: Path) -> Path:
    video = {"video_id": "video0", "split": "train", "start time": 1.5, "end time": 11.5, "category": 9}
    sentences = [
        {"video_id": "video1", "caption": "a dog", "sen_id": 7},
        {"video_id": "video0", "caption": "second", "sen_id": 5},
        {"video_id": "video0", "caption": " first ", "sen_id": 2},
    ]
    return write(
        folder / "MSRVTT_data.json",
        {"videos": [video, {**video, "video_id": "video1", "split": "validate"}], "sentences": sentences},
    )


def test_msrvtt_data_and_list(tmp_path: Path) -> None:
    data = msrvtt.read_msrvtt(made_msrvtt(tmp_path))
    assert [(video.source_id, video.split, video.duration_s) for video in data.videos] == [
        ("video0", "train", 10.0),
        ("video1", "val", 10.0),
    ]
    listed = msrvtt.read_video_list(write(tmp_path / "MSRVTT_FULL_test.csv", "video_id\nvideo0\n"), "test")
    joined = msrvtt.with_captions(listed, data)
    assert [(video.source_id, video.split, video.duration_s) for video in joined.videos] == [("video0", "test", 10.0)]
    assert [(item.index, item.text) for item in joined.captions] == [(0, "first"), (1, "second")]


def test_msrvtt_multiple_choice(tmp_path: Path) -> None:
    header = "vid_key\ta1\ta2\ta3\ta4\ta5\tanswer\n"
    found = msrvtt.read_multiple_choice(
        write(tmp_path / "MSR_MC_test.csv", header + "msr9770\ta\tb, c\td\te\tf\t1\nmsr9770\ta\tb\tc\td\te\t4\n")
    )
    assert ids(found) == ["video9770"]
    assert [(item.question_id, item.options[item.answer]) for item in found.questions] == [("q0", "b, c"), ("q1", "e")]


def test_activitynet_keeps_a_sentence_without_times(tmp_path: Path) -> None:
    video = {"duration": 10, "timestamps": [[0, 4], [5, 5]], "sentences": ["One.", " Two."]}
    found = activitynet.read_activitynet(write(tmp_path / "val_2.json", {"v_x": video}), "val")
    assert [(item.text, item.start_s, item.end_s) for item in found.captions] == [
        ("One.", 0.0, 4.0),
        ("Two.", None, None),
    ]
    assert len(found.remarks) == 1
    assert "val_2.json: v_x.timestamps[1]" in found.remarks[0]


def test_coin_official_file(tmp_path: Path) -> None:
    def video(subset: str, step: str, label: str) -> dict[str, object]:
        annotation = [{"id": step, "segment": [1.0, 3.5], "label": label}]
        return {"duration": 9.5, "class": "Task", "subset": subset, "recipe_type": 3, "annotation": annotation}

    database = {"a": video("training", "778", "tie"), "b": video("testing", "1", "cut")}
    found = coin.read_coin(write(tmp_path / "COIN.json", {"database": database}))
    assert [(item.index, item.name) for item in found.steps] == [(1, "cut"), (778, "tie")]
    test = found.of_split("test")
    assert [(item.source_id, item.label_index, item.start_s, item.end_s) for item in test.segments] == [
        ("b", 1, 1.0, 3.5)
    ]


def test_crosstask_release(tmp_path: Path) -> None:
    primary = write(tmp_path / "tasks_primary.txt", "16815\nMake Jam\nhttp://x\n2\ncut fruit,boil\n\n")
    related = write(tmp_path / "tasks_related.txt", "9\nMake Tea\nhttp://y\n1\nboil water\n")
    tasks = crosstask.read_tasks(primary, is_primary=True) + crosstask.read_tasks(related, is_primary=False)
    assert tasks[0] == Task(
        task_id="16815", title="Make Jam", url="http://x", steps=("cut fruit", "boil"), is_primary=True
    )
    videos = crosstask.read_videos(write(tmp_path / "videos.csv", "16815,a,u\n16815,b,u\n9,c,u\n"))
    val = crosstask.read_videos(write(tmp_path / "videos_val.csv", "16815,b,u\n"))
    write(tmp_path / "annotations" / "16815_a.csv", "2,1.5,3.0\n1,4,6\n")
    found = crosstask.read_crosstask(videos=videos, tasks=tasks, annotations_dir=tmp_path / "annotations", val=val)
    assert [video.split for video in found.videos] == ["", "val", ""]
    assert [(item.label_index, item.label, item.start_s, item.group) for item in found.segments] == [
        (1, "boil", 1.5, "16815"),
        (0, "cut fruit", 4.0, "16815"),
    ]


def test_crosstask_split_is_the_published_draw() -> None:
    tasks = tuple(
        Task(task_id=name, title=name, url="", steps=("x",), is_primary=name != "r") for name in ("p", "q", "r")
    )
    sizes = {"p": 40, "q": 5, "r": 50}
    videos = tuple(
        DatasetVideo(source_id=f"{task}{at}", group=task) for task, count in sizes.items() for at in range(count)
    )
    found = crosstask.choose_split(
        Annotations(name="CrossTask", videos=videos, tasks=tasks),
        usable={video.source_id for video in videos} - {"p0"},
    )
    # As DmZhukov/CrossTask does: one global seed, then a draw a primary task in the order of the file.
    drawn = np.random.RandomState(0).choice([f"p{at}" for at in range(1, 40)], 30, replace=False)
    assert {video.source_id for video in found.videos if video.group == "p" and video.split == "train"} == set(drawn)
    assert sum(video.split == "test" for video in found.videos) == 9
    assert found.videos[0].split == ""
    assert {video.split for video in found.videos if video.group != "p"} == {"train"}


def test_one_hot_array_of_numbers_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.eye(3))
    assert (crosstask.read_one_hot(tmp_path / "labels.npy") == np.eye(3)).all()


def test_kinetics_layouts(tmp_path: Path) -> None:
    names = read_class_names(write(tmp_path / "label_map_k400.txt", "abseiling\nair drumming\n"))
    videos = write(tmp_path / "val_videos.txt", "air drumming/x y_000001_000011.mp4 1\nabseiling/z.mp4 0\n")
    found = kinetics.read_action_list(videos, "val", layout="videos", class_names=names)
    assert by_class(found) == {0: ("z",), 1: ("x y_000001_000011",)}
    frames = kinetics.read_action_list(write(tmp_path / "frames.txt", "v_a 120 1\n"), "val", layout="frames")
    assert [(item.num_frames, item.first_frame, item.label_index) for item in frames.labelled] == [(120, None, 1)]
    clips = kinetics.read_action_list(write(tmp_path / "clips.txt", "v_a 0 9 1\nv_a 9 3 0\n"), "val", layout="clips")
    assert ids(clips) == ["v_a"]
    assert [(item.first_frame, item.num_frames, item.label_index) for item in clips.labelled] == [(0, 9, 1), (9, 3, 0)]


def test_hmdb51_official_folder(tmp_path: Path) -> None:
    write(tmp_path / "wave_test_split1.txt", "a(b).avi 1 \nc.avi 2 \nd.avi 0 \n")
    write(tmp_path / "chew_test_split1.txt", "e.avi 2 \n")
    write(tmp_path / "chew_test_split2.txt", "e.avi 1 \n")
    found = hmdb51.read_hmdb51_folder(tmp_path, 1)
    assert {video.source_id: video.split for video in found.videos} == {
        "e": "test", "a(b)": "train", "c": "test", "d": "",
    }  # fmt: skip
    assert [item.name for item in found.classes] == ["chew", "wave"]


SPOKEN = {
    "v1": {"start": [0.5, 3, 4, 5], "end": [2.0, 4, 4, 6], "text": ["so\nwe mix", 7, "late", "stir"]},
    "v_2": {"start": [], "end": [], "text": []},
}


def check_spoken(found: list[howto100m.SpokenVideo]) -> None:
    assert [(video.source_id, video.num_skipped) for video in found] == [("v1", 2), ("v_2", 0)]
    assert [(item.index, item.text, item.start_s) for item in found[0].captions] == [
        (0, "so we mix", 0.5),
        (3, "stir", 5),
    ]


@pytest.mark.parametrize("name", ["caption.json", "raw_caption.json", "sentencified_htm_370k.json"])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_howto100m_captions(tmp_path: Path, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    check_spoken(list(howto100m.iterate_captions(write(tmp_path / name, json.dumps(SPOKEN, indent=1)))))


def test_howto100m_pickled_captions(tmp_path: Path) -> None:
    path = tmp_path / "raw_caption.pkl"
    path.write_bytes(pickle.dumps({name: json.dumps(video) for name, video in SPOKEN.items()}))
    check_spoken(list(howto100m.read_pickled_captions(path)))


@pytest.mark.parametrize("name", ["raw_caption.json", "raw_caption.pkl"])
def test_howto100m_captions_become_transcripts(tmp_path: Path, name: str) -> None:
    """What is said comes back by the reader of `align`, arrows and ampersands too."""
    spoken = {**SPOKEN, "-w": {"start": [1.25], "end": [1.2501], "text": ["a --> b <i> & c"]}}
    path = tmp_path / name
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({video: json.dumps(found) for video, found in spoken.items()}))
    else:
        path.write_text(json.dumps(spoken))
    counts = import_captions(path, tmp_path / "out")
    assert counts == {"videos": 2, "captions": 3, "skipped": 2, "silent": 1}
    assert [found.relative_to(tmp_path / "out").as_posix() for found in sorted((tmp_path / "out").rglob("*.vtt"))] == [
        "-w/-w.vtt", "v1/v1.vtt",
    ]  # fmt: skip
    cues = parse_transcript((tmp_path / "out" / "v1" / "v1.vtt").read_bytes(), "v1.vtt").cues
    assert [(cue.start_s, cue.end_s, cue.text) for cue in cues] == [(0.5, 2.0, "so we mix"), (5.0, 6.0, "stir")]
    (cue,) = parse_transcript((tmp_path / "out" / "-w" / "-w.vtt").read_bytes(), "-w.vtt").cues
    assert (cue.start_s, cue.end_s, cue.text) == (1.25, 1.251, "a --> b <i> & c")
    (tmp_path / "bad.json").write_text(json.dumps({"../x": {"start": [0], "end": [1], "text": ["a"]}}))
    with pytest.raises(ConfigError, match=r"got the video '\.\./x', expected a name that a file can have"):
        import_captions(tmp_path / "bad.json", tmp_path / "other")


def test_howto100m_lists(tmp_path: Path) -> None:
    rows = "video_id,category_1,category_2,rank,task_id\nnVbIUDjzWY4,Cars & Other Vehicles,Motorcycles,27,52907\n"
    videos = howto100m.read_video_list(write(tmp_path / "HowTo100M_v1.csv", rows + "nVbIUDjzWY4,Cars,,3,11\n"))
    assert [(video.source_id, video.group) for video in videos] == [("nVbIUDjzWY4", "52907"), ("nVbIUDjzWY4", "11")]
    assert howto100m.read_task_names(write(tmp_path / "task_ids.csv", "52907\tPaint a Car\n")) == {
        "52907": "Paint a Car"
    }
