"""The files of data sets whose videos have a class: action recognition, localisation and few-shot lists.

One small class a layout, found by its `name`. Reading opens annotation files only; planning does it, too.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from stages.datasets import activitynet, fewshot, hmdb51, kinetics, something, ucf101
from stages.datasets.action_classes import read_class_names
from stages.datasets.files import DatasetFiles
from stages.datasets.records import Annotations, merged
from stages.datasets.splits import TEST, TRAIN, VAL
from stages.errors import ConfigError


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
