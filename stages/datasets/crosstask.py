"""CrossTask: videos of 18 primary tasks (scored) and 65 related ones, with ordered steps.

Files: `crosstask_release/{videos,videos_val}.csv`, `tasks_{primary,related}.txt`, `annotations/{task}_{video}.csv`, and
the JSON lists of procedure planning (PDPP).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.datasets.imported_features import read_npy
from stages.datasets.json_file import read_json
from stages.datasets.lines import Line, read_fields, read_lines
from stages.datasets.records import Annotations, DatasetVideo, Segment, Task
from stages.datasets.splits import TEST, TRAIN, VAL
from stages.errors import ConfigError, SampleError

_BLOCK = 5  # id, title, url, number of steps, steps; then an empty line
NUM_TRAIN = 30


def read_tasks(path: Path, *, is_primary: bool) -> tuple[Task, ...]:
    """Read `tasks_primary.txt` or `tasks_related.txt`: blocks of id, title, url, number of steps, steps, empty line.

    Raises:
        ConfigError: a block is incomplete, or has another number of steps than it says; the line is named.
    """
    blocks: list[list[Line]] = [[]]
    for line in read_lines(path):
        if line.fields[0]:
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return tuple(_task(block, is_primary=is_primary) for block in blocks if block)


def _task(block: Sequence[Line], *, is_primary: bool) -> Task:
    if len(block) != _BLOCK:
        raise block[0].wrong(
            f"a block of {len(block)} lines", "id, title, url, number of steps, steps and a blank line"
        )
    task_id, title, url, num_steps, steps = block
    texts = tuple(step.strip() for step in steps.fields[0].split(","))
    if len(texts) != num_steps.whole(0, minimum=1) or not all(texts):
        raise steps.wrong(f"{len(texts)} steps: {steps.fields[0]}", f"{num_steps.fields[0]} steps, separated by commas")
    return Task(task_id=task_id.fields[0], title=title.fields[0], url=url.fields[0], steps=texts, is_primary=is_primary)


def read_videos(path: Path, split: str = "") -> tuple[DatasetVideo, ...]:
    """Read `videos.csv` or `videos_val.csv` (task,video,url without a header); `group` is the task.

    Raises:
        ConfigError: a line has another form; it is named.
    """
    lines = read_fields(path, ("task", "vid", "url"))
    return tuple(DatasetVideo(source_id=line.fields[1], split=split, group=line.fields[0]) for line in lines)


def read_crosstask(
    *, videos: Sequence[DatasetVideo], tasks: Sequence[Task], annotations_dir: Path, val: Sequence[DatasetVideo] = ()
) -> Annotations:
    """Join the files of the release; videos of `val` get that split, others none until `choose_split`.

    Args:
        videos: of `videos.csv`, both primary and related tasks.
        tasks: of both files.
        annotations_dir: with `{task}_{video}.csv` (step from 1, start, end); a video without one has no segments.
        val: of `videos_val.csv`.

    Raises:
        ConfigError: a video's task is unknown, or an annotation is wrong; the file and line are named.
    """
    by_id = {task.task_id: task for task in tasks}
    in_val = {(video.group, video.source_id) for video in val}
    if unknown := sorted({video.group for video in videos} - by_id.keys()):
        raise ConfigError(
            f"videos name the task {unknown[0]!r} (and {len(unknown) - 1} more), which is in none of the task files; "
            "name tasks_primary.txt and tasks_related.txt"
        )
    segments: list[Segment] = []
    for video in videos:
        path = annotations_dir / f"{video.group}_{video.source_id}.csv"
        if path.is_file():
            segments += _segments(path, video, by_id[video.group])
    marked = (replace(video, split=VAL) if (video.group, video.source_id) in in_val else video for video in videos)
    return Annotations(name="CrossTask", videos=tuple(marked), segments=tuple(segments), tasks=tuple(tasks))


def _segments(path: Path, video: DatasetVideo, task: Task) -> list[Segment]:
    segments: list[Segment] = []
    for line in read_fields(path, ("step", "start", "end")):
        step = line.whole(0, minimum=1)
        if step > len(task.steps):
            raise line.wrong(str(step), f"a step from 1 to {len(task.steps)} of the task {task.task_id}")
        start_s, end_s = line.span(1)
        segments.append(
            Segment(
                source_id=video.source_id,
                index=len(segments),
                label_index=step - 1,
                label=task.steps[step - 1],
                start_s=start_s,
                end_s=end_s,
                group=task.task_id,
            )
        )
    return segments


def choose_split(
    annotations: Annotations, *, usable: Collection[str], num_train: int = NUM_TRAIN, seed: int = 0
) -> Annotations:
    """The published split: `num_train` drawn videos of each primary task train, its others test; related ones train.

    Source: DmZhukov/CrossTask train.py, as VideoCLIP uses it: videos of the split val are left out first, then those
    that are not usable, so the split depends on which videos exist. A task with at most `num_train` videos has no test.
    We draw from a generator of our own where the original seeds numpy's global one; the numbers are the same.

    Args:
        annotations: of `read_crosstask`.
        usable: source ids of videos with features and annotation (best a set).
        num_train: of each primary task.
        seed: of the draw.

    Returns:
        The same with train and test filled in; unusable videos have the split ''.
    """
    pool: dict[str, list[str]] = {}
    for video in annotations.videos:
        if video.split != VAL and video.source_id in usable:
            pool.setdefault(video.group, []).append(video.source_id)
    train = _draw(pool, {task.task_id for task in annotations.tasks if task.is_primary}, num_train, seed)
    return replace(annotations, videos=tuple(_placed(video, pool, train) for video in annotations.videos))


def _draw(pool: Mapping[str, Sequence[str]], primary: set[str], num_train: int, seed: int) -> dict[str, set[str]]:
    generator = np.random.RandomState(seed)
    train = {}
    for task, source_ids in pool.items():
        scored = task in primary and len(source_ids) > num_train
        drawn = generator.choice(np.array(source_ids), num_train, replace=False) if scored else source_ids
        train[task] = {str(source_id) for source_id in drawn}
    return train


def _placed(video: DatasetVideo, pool: Mapping[str, Sequence[str]], train: Mapping[str, set[str]]) -> DatasetVideo:
    if video.split == VAL:
        return video
    if video.source_id not in pool.get(video.group, ()):
        return replace(video, split="")
    return replace(video, split=TRAIN if video.source_id in train[video.group] else TEST)


def read_planning_list(path: Path, split: str) -> Annotations:
    """Read PDPP's `train_list.json` or `test_list.json` ([{vid, task, length}]): which videos, without segments.

    Raises:
        ConfigError: it is not such a file; the key is named.
    """
    videos = []
    for node in read_json(path).elements():
        node["length"].whole()
        videos.append(DatasetVideo(source_id=node["vid"].text(), split=split, group=node["task"].name()))
    return Annotations(name=f"CrossTask {split} ({path.stem})", videos=tuple(videos))


def read_one_hot(path: Path) -> NDArray[Any]:
    """Read an array of action labels. PDPP's `actions_one_hot.npy` is none: it is a pickled dict and is refused.

    Raises:
        ConfigError: the file cannot be read, is no `.npy` file, or holds pickled objects, which are never loaded.
    """
    try:
        return read_npy(str(path), path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a .npy file") from error
    except SampleError as error:
        raise ConfigError(f"{error}; the steps stand in tasks_primary.txt, too") from error
