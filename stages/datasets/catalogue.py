"""The data sets that a configuration may name: which files each needs, and how they become `Annotations`.

One small class a layout, found by its `name`. Reading opens annotation files only; planning does it, too.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stages.datasets import (
    activitynet,
    coin,
    crosstask,
    didemo,
    fewshot,
    hmdb51,
    kinetics,
    msrvtt,
    something,
    ucf101,
    youcook2,
)
from stages.datasets.action_classes import read_class_names
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


class Ucf101(DatasetFiles):
    """One split of UCF101: `classInd.txt`, `trainlist01.txt`, `testlist01.txt`."""

    name: Literal["ucf101"]
    classes: Path
    train: Path
    test: Path

    def read(self) -> Annotations:
        """Read the lists."""
        return ucf101.read_ucf101(classes=self.classes, train=self.train, test=self.test)


class Hmdb51(DatasetFiles):
    """One split of HMDB51: MIL-NCE's table, or the folder of the official lists."""

    name: Literal["hmdb51"]
    annotations: Path
    split_number: int = Field(default=1, ge=1, le=3)

    def read(self) -> Annotations:
        """Read the table or the folder."""
        read = hmdb51.read_hmdb51_folder if self.annotations.is_dir() else hmdb51.read_hmdb51
        return read(self.annotations, self.split_number)


class ActionLists(DatasetFiles):
    """Lists in mmaction2's layout: Kinetics, Something-Something, ActivityNet's clips.

    Attributes:
        layout: which numbers follow the path.
        train: list of the training videos.
        val: list of the validation videos.
        test: list of the test videos.
        classes: one class a line, by label.
    """

    name: Literal["kinetics"]
    layout: kinetics.Layout = "videos"
    train: Path | None = None
    val: Path | None = None
    test: Path | None = None
    classes: Path | None = None

    def read(self) -> Annotations:
        """Read the lists that are named."""
        class_names = () if self.classes is None else read_class_names(self.classes)
        named = {TRAIN: self.train, VAL: self.val, TEST: self.test}
        parts = [
            kinetics.read_action_list(path, split, layout=self.layout, class_names=class_names)
            for split, path in named.items()
            if path is not None
        ]
        if not parts:
            raise ConfigError("dataset kinetics: got no list, expected at least one of train, val and test")
        return merged(" + ".join(part.name for part in parts), parts)


class KineticsTables(DatasetFiles):
    """Kinetics' own tables; its classes are those of all that are named.

    Attributes:
        train: `train.csv`.
        val: `validate.csv`.
        test: `test.csv`.
    """

    name: Literal["kinetics-tables"]
    train: Path | None = None
    val: Path | None = None
    test: Path | None = None

    def read(self) -> Annotations:
        """Read the tables that are named; their own column says which split a row is of."""
        paths = [path for path in (self.train, self.val, self.test) if path is not None]
        if not paths:
            raise ConfigError("dataset kinetics-tables: got no table, expected at least one of train, val and test")
        return kinetics.read_kinetics(paths)


class SomethingSomething(DatasetFiles):
    """Something-Something V2.

    Attributes:
        labels: `something-something-v2-labels.json`.
        train: `something-something-v2-train.json`.
        val: `something-something-v2-validation.json`; the classes of the test list are not published.
    """

    name: Literal["something-something"]
    labels: Path
    train: Path
    val: Path

    def read(self) -> Annotations:
        """Read the lists."""
        return something.read_something(labels=self.labels, lists={TRAIN: self.train, VAL: self.val})


class ActivityNetActions(DatasetFiles):
    """ActivityNet's actions with their times: `activity_net.v1-3.min.json`."""

    name: Literal["activitynet-actions"]
    annotations: Path

    def read(self) -> Annotations:
        """Read the file."""
        return activitynet.read_activitynet_actions(self.annotations)


class FewShotLists(DatasetFiles):
    """Few-shot lists of `class/video` lines; only the split that is measured is needed."""

    name: Literal["fewshot"]
    title: str = "few-shot lists"
    train: Path | None = None
    val: Path | None = None
    test: Path

    def read(self) -> Annotations:
        """Read the lists that are named."""
        named = {TRAIN: self.train, VAL: self.val, TEST: self.test}
        return fewshot.read_fewshot(self.title, {split: path for split, path in named.items() if path is not None})


AnyDataset = Annotated[
    YouCook2
    | YouCook2MilNce
    | MsrvttTest1kA
    | Msrvtt
    | MsrvttQuestions
    | ActivityNet
    | DiDeMo
    | Coin
    | CrossTask
    | Ucf101
    | Hmdb51
    | ActionLists
    | KineticsTables
    | SomethingSomething
    | ActivityNetActions
    | FewShotLists,
    Field(discriminator="name"),
]
