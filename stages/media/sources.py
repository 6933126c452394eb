"""What can be decoded: a media file, or a folder of numbered pictures at a stated rate. Nothing is opened here."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FRAME_FOLDER = "frame_folder"
"""What a manifest calls the container of such a folder."""

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\.(?P<suffix>jpe?g|png|webp|bmp)", re.IGNORECASE)
_FLOW = "flow_"  # optical flow lies beside the pictures in mmaction's folders


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFolder:
    """Pictures of one video in a folder, such as `frame_00001.jpg` or `img_00001.jpg` and those that follow it.

    Attributes:
        path: the folder.
        frame_rate: pictures a second.
        num_frames: how many there should be; more are not looked at.
    """

    path: Path
    frame_rate: float
    num_frames: int

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name


Source = Path | FrameFolder
"""A media file, or a folder of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """A run of numbered pictures: `prefix`, then `first`, `first + 1`, ..., then a dot and `suffix`.

    Attributes:
        prefix: of all names.
        num_digits: to which numbers are filled up with zeros; 0 if they are not.
        suffix: without its dot, as written.
        first: number, 0 or 1.
        count: pictures without a gap.
    """

    prefix: str
    num_digits: int
    suffix: str
    first: int
    count: int

    @property
    def pattern(self) -> str:
        """The names as printf would make them, which libavformat reads."""
        number = f"%0{self.num_digits}d" if self.num_digits else "%d"
        return f"{self.prefix.replace('%', '%%')}{number}.{self.suffix}"


def find_numbering(names: Iterable[str]) -> Numbering | None:
    """Find the pictures of a video among the names in a folder: the longest run that begins with number 0 or 1.

    Returns:
        The run; None if there is none. Names that begin with `flow_` are no pictures.
    """
    groups: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        found = _NUMBERED.fullmatch(name)
        if found and not name.startswith(_FLOW):
            groups[found["prefix"], found["suffix"]][int(found["number"])] = found["number"]
    runs = (_run(prefix, suffix, numbers) for (prefix, suffix), numbers in sorted(groups.items()))
    return max((run for run in runs if run is not None), key=lambda run: run.count, default=None)


def _run(prefix: str, suffix: str, numbers: Mapping[int, str]) -> Numbering | None:
    first = min(numbers)
    if first > 1:
        return None
    count = 1
    while first + count in numbers:
        count += 1
    text = numbers[first]
    return Numbering(
        prefix=prefix, num_digits=len(text) if len(text) > 1 else 0, suffix=suffix, first=first, count=count
    )


def folder_numbering(folder: FrameFolder) -> Numbering | None:
    """The pictures that lie in a folder now."""
    return find_numbering(entry.name for entry in os.scandir(folder.path) if entry.is_file())


def source_to_json(source: Source) -> dict[str, Any]:
    """For a decode process; `source_from_json` is the inverse."""
    if isinstance(source, FrameFolder):
        return {"path": str(source.path), "frame_rate": source.frame_rate, "num_frames": source.num_frames}
    return {"path": str(source)}


def source_from_json(fields: Mapping[str, Any]) -> Source:
    """Make the source of a job's arguments; what else they hold is passed over."""
    path = Path(fields["path"])
    if "frame_rate" not in fields:
        return path
    return FrameFolder(path=path, frame_rate=fields["frame_rate"], num_frames=fields["num_frames"])
