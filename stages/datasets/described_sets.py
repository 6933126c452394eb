"""The files of data sets whose videos are described: captions, steps, moments, questions.

One small class a layout, found by its `name`. Reading opens annotation files only; planning does it, too.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from stages.datasets import activitynet, coin, crosstask, didemo, msrvtt, youcook2
from stages.datasets.files import DatasetFiles, Split
from stages.datasets.records import Annotations, DatasetVideo, merged
from stages.datasets.splits import TEST, TRAIN, VAL
from stages.errors import ConfigError


class YouCook2(DatasetFiles):
    """YouCook2's official annotations.

    Attributes:
        annotations: `youcookii_annotations_trainval.json`.
        clips: VideoCLIP's `youcook_{train,val}.pkl`: only these clips are taken; their texts stay the annotations'.
    """

    name: Literal["youcook2"]
    annotations: Path
    clips: Path | None = None

    def read(self) -> Annotations:
        """Read the annotations, and keep the list's clips."""
        found = youcook2.read_youcook2(self.annotations)
        return found if self.clips is None else youcook2.only_listed(found, youcook2.read_clip_list(self.clips))


class YouCook2MilNce(DatasetFiles):
    """MIL-NCE's list of YouCook2's validation clips: `validation_youcook.csv`."""

    name: Literal["youcook2-milnce"]
    annotations: Path

    def read(self) -> Annotations:
        """Read the list."""
        return youcook2.read_milnce_list(self.annotations)


class MsrvttTest1kA(DatasetFiles):
    """MSR-VTT's 1k-A test set: `MSRVTT_JSFUSION_test.csv`, one caption a video."""

    name: Literal["msrvtt-1ka"]
    annotations: Path

    def read(self) -> Annotations:
        """Read the table."""
        return msrvtt.read_jsfusion_test(self.annotations)


class Msrvtt(DatasetFiles):
    """MSR-VTT with all captions.

    Attributes:
        annotations: `MSRVTT_data.json`.
        videos: a list with a column video_id (9k or 7k train, full test); without one the file's own splits stand.
        split: of the list's videos.
    """

    name: Literal["msrvtt"]
    annotations: Path
    videos: Path | None = None
    split: Split = "test"

    def read(self) -> Annotations:
        """Read the captions, and keep the list's videos."""
        found = msrvtt.read_msrvtt(self.annotations)
        return (
            found
            if self.videos is None
            else msrvtt.with_captions(msrvtt.read_video_list(self.videos, self.split), found)
        )


class MsrvttQuestions(DatasetFiles):
    """MSR-VTT's multiple choice: `MSR_MC_test.csv`."""

    name: Literal["msrvtt-qa"]
    annotations: Path

    def read(self) -> Annotations:
        """Read the questions."""
        return msrvtt.read_multiple_choice(self.annotations)


class ActivityNet(DatasetFiles):
    """ActivityNet Captions: `val_1.json` and the like, and which split it is."""

    name: Literal["activitynet"]
    annotations: Path
    split: Split = "val"

    def read(self) -> Annotations:
        """Read the file."""
        return activitynet.read_activitynet(self.annotations, self.split)


class DiDeMo(DatasetFiles):
    """DiDeMo's moments.

    Attributes:
        test: `test_data.json`.
        val: `val_data.json`, of which the frequency prior is counted; without it there is no such baseline.
        train: `train_data.json`.
    """

    name: Literal["didemo"]
    test: Path | None = None
    val: Path | None = None
    train: Path | None = None

    def read(self) -> Annotations:
        """Read the files that are named."""
        named = {TRAIN: self.train, VAL: self.val, TEST: self.test}
        parts = [didemo.read_didemo(path, split) for split, path in named.items() if path is not None]
        if not parts:
            raise ConfigError("dataset didemo: got no file, expected at least one of test, val and train")
        return merged("DiDeMo", parts)


class Coin(DatasetFiles):
    """COIN's steps: `COIN.json`, or a list of the same objects."""

    name: Literal["coin"]
    annotations: Path

    def read(self) -> Annotations:
        """Read the file."""
        return coin.read_coin(self.annotations)


class CrossTask(DatasetFiles):
    """CrossTask's release.

    Attributes:
        videos: `videos.csv`.
        val: `videos_val.csv`.
        primary: `tasks_primary.txt`.
        related: `tasks_related.txt`; without it only the primary tasks are read, which are all that is scored.
        annotations: the folder with `{task}_{video}.csv`.
        num_train: videos of each primary task that are drawn for training.
        seed: of the draw.
    """

    name: Literal["crosstask"]
    videos: Path
    primary: Path
    annotations: Path
    val: Path | None = None
    related: Path | None = None
    num_train: int = Field(default=crosstask.NUM_TRAIN, ge=1)
    seed: int = Field(default=0, ge=0)

    def read(self) -> Annotations:
        """Read the files; no video has a split but those of `val`."""
        tasks = crosstask.read_tasks(self.primary, is_primary=True)
        if self.related is not None:
            tasks += crosstask.read_tasks(self.related, is_primary=False)
        known = {task.task_id for task in tasks}
        listed = crosstask.read_videos(self.videos)
        return crosstask.read_crosstask(
            videos=[video for video in listed if self.related is not None or video.group in known],
            tasks=tasks,
            annotations_dir=self.annotations,
            val=() if self.val is None else crosstask.read_videos(self.val),
        )

    def settle(self, annotations: Annotations, usable: Collection[str]) -> Annotations:
        """Draw the published split among the videos with features and annotation."""
        annotated = {segment.source_id for segment in annotations.segments}
        return crosstask.choose_split(
            annotations, usable=annotated.intersection(usable), num_train=self.num_train, seed=self.seed
        )

    def members(self, annotations: Annotations, split: str) -> tuple[DatasetVideo, ...]:
        """Every video that could be drawn: the split is only known once it is known which are there."""
        return tuple(video for video in annotations.videos if video.split != VAL)
