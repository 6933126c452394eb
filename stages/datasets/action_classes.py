"""Building class lists: what UCF101, HMDB51, Kinetics and the few-shot lists share."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.datasets.distinct import Distinct
from stages.datasets.lines import Line, read_lines
from stages.datasets.records import ClassLabel


def numbered(names: Iterable[str]) -> tuple[ClassLabel, ...]:
    """Classes from 0 in the order given."""
    return tuple(ClassLabel(index=index, name=name) for index, name in enumerate(names))


def split_class(line: Line, field: int = 0) -> tuple[str, str]:
    """`class/video` as (class, video); the class may hold slashes itself (Something-Something's sentences do).

    Raises:
        ConfigError: it has another form; the line is named.
    """
    name, slash, video = line.fields[field].rpartition("/")
    if not (name and slash and video):
        raise line.wrong(line.fields[field], "class/video")
    return name, video


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read one class a line, as mmaction2's `label_map_k400.txt`.

    Raises:
        ConfigError: a line is blank, or a class stands twice; the line is named.
    """
    seen, names = Distinct("class"), []
    for line in read_lines(path):
        if not line.fields[0]:
            raise line.wrong("", "the name of a class")
        seen.add(line.fields[0], f"{path}:{line.number}")
        names.append(line.fields[0])
    return tuple(names)


def read_numbered_classes(path: Path) -> tuple[str, ...]:
    """Read UCF101's `classInd.txt` (`1 ApplyEyeMakeup` a line, counted from 1).

    Raises:
        ConfigError: a line has another form, or its number is not the next one.
    """
    names: list[str] = []
    for line in read_lines(path):
        number, _, name = line.fields[0].partition(" ")
        if number != str(len(names) + 1) or not name:
            raise line.wrong(line.fields[0], f"'{len(names) + 1} <class>'")
        names.append(name)
    return tuple(names)


def index_of(names: Sequence[str], name: str, line: Line) -> int:
    """The number of a class.

    Raises:
        ConfigError: there is none of that name; the line is named.
    """
    if name not in names:
        raise line.wrong(name, f"one of the {len(names)} classes of the class file")
    return names.index(name)
