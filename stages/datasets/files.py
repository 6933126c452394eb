"""What every data set of a configuration can do: be read, be checked, and say what decides its content."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from stages.artifacts.hashing import hash_files
from stages.contract import StageConfig
from stages.datasets.records import Annotations, DatasetVideo
from stages.errors import ConfigError

Split = Literal["train", "val", "test"]


class DatasetFiles(StageConfig, ABC):
    """The files of one data set; every field that is a Path names one of them, or a folder of them."""

    @abstractmethod
    def read(self) -> Annotations:
        """Read the files.

        Raises:
            ConfigError: one is not what the data set distributes; file and line or key are named.
        """

    def settle(self, annotations: Annotations, usable: Collection[str]) -> Annotations:
        """Decide what depends on which videos there are: nothing, but for a split that is drawn among them.

        Args:
            annotations: as `read` gave them.
            usable: source ids of videos with features.
        """
        return annotations

    def members(self, annotations: Annotations, split: str) -> tuple[DatasetVideo, ...]:
        """The videos that a split could hold, whether or not they are there: what present and absent are counted of."""
        return annotations.of_split(split).videos

    def paths(self) -> Mapping[str, Path]:
        """The files and folders by field."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, Path)}

    def check(self, where: str) -> None:
        """Refuse files that are not there, before hours of work that end in reading them.

        Raises:
            ConfigError: one does not exist; `where` says in which section it is named.
        """
        for name, path in self.paths().items():
            if not path.exists():
                raise ConfigError(f"{where}{name} = {path}: there is no such file or folder")

    def content(self) -> dict[str, dict[str, str]]:
        """Hash of each file by field and name: what decides the annotations, wherever the files lie."""
        return {name: hash_files(path) for name, path in self.paths().items()}
