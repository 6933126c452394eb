"""Annotation files in the layouts that are distributed, of videos whose scenes show known steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.training_samples import STEPS

Scene = tuple[float, float, int]
"""First and last second, and the step that is shown."""
Scenes = Mapping[str, Sequence[Scene]]


def coin(folder: Path, train: Scenes, test: Scenes) -> dict[str, Any]:
    """COIN.json: step 0 of STEPS is number 1."""

    def entry(scenes: Sequence[Scene], subset: str) -> dict[str, Any]:
        return {
            "duration": scenes[-1][1],
            "class": "Cook",
            "subset": subset,
            "annotation": [
                {"id": step + 1, "label": STEPS[step], "segment": [start, end]} for start, end, step in scenes
            ],
        }

    database = {name: entry(scenes, "training") for name, scenes in train.items()}
    database |= {name: entry(scenes, "testing") for name, scenes in test.items()}
    return {"name": "coin", "annotations": _write(folder / "COIN.json", {"database": database})}


def youcook2(folder: Path, train: Scenes, val: Scenes, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """YouCook2's JSON: each scene with its text."""

    def entry(name: str, scenes: Sequence[Scene], subset: str) -> dict[str, Any]:
        told = zip(scenes, texts[name], strict=True)
        clips = [{"segment": [start, end], "sentence": text} for (start, end, _), text in told]
        return {"duration": scenes[-1][1], "recipe_type": "101", "subset": subset, "annotations": clips}

    database = {name: entry(name, scenes, "training") for name, scenes in train.items()}
    database |= {name: entry(name, scenes, "validation") for name, scenes in val.items()}
    return {"name": "youcook2", "annotations": _write(folder / "youcook.json", {"database": database})}


def msrvtt(folder: Path, train: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """MSRVTT_data.json: whole videos with several captions."""
    videos = [{"video_id": name, "split": "train", "start time": 0.0, "end time": 9.0} for name in train]
    told = [(name, text) for name, texts in train.items() for text in texts]
    sentences = [{"video_id": name, "sen_id": number, "caption": text} for number, (name, text) in enumerate(told)]
    path = _write(folder / "MSRVTT_data.json", {"videos": videos, "sentences": sentences})
    return {"name": "msrvtt", "annotations": path}


def crosstask(
    folder: Path,
    tasks: Mapping[str, Sequence[int]],
    scenes: Mapping[str, Scenes],
    *,
    num_train: int,
    words: Sequence[str] = STEPS,
) -> dict[str, Any]:
    """CrossTask's release.

    Args:
        folder: where the files are written.
        tasks: steps in their order, by task.
        scenes: by task.
        num_train: videos of each task to train on.
        words: of the steps.
    """
    blocks = [
        f"{task}\nTask {task}\nhttp://a\n{len(steps)}\n{','.join(words[step] for step in steps)}\n"
        for task, steps in tasks.items()
    ]
    (folder / "tasks_primary.txt").write_text("\n".join(blocks))
    annotations = folder / "annotations"
    annotations.mkdir()
    for task, videos in scenes.items():
        for name, shown in videos.items():
            lines = [f"{tasks[task].index(step) + 1},{start},{end}\n" for start, end, step in shown]
            (annotations / f"{task}_{name}.csv").write_text("".join(lines))
    listed = "".join(f"{task},{name},http://a\n" for task, videos in scenes.items() for name in videos)
    (folder / "videos.csv").write_text(listed)
    files = {"videos": "videos.csv", "primary": "tasks_primary.txt", "annotations": "annotations"}
    paths = {key: str(folder / name) for key, name in files.items()}
    return {"name": "crosstask", **paths, "num_train": num_train}


def fewshot(folder: Path, train: Mapping[str, str], test: Mapping[str, str]) -> dict[str, Any]:
    """Lists of `class/video`, by video."""
    for split, classes in (("train", train), ("test", test)):
        (folder / f"{split}.list").write_text("".join(f"{group}/{name}\n" for name, group in classes.items()))
    return {"name": "fewshot", "train": str(folder / "train.list"), "test": str(folder / "test.list")}


def _write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)
