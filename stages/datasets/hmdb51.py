"""HMDB51: 51 actions, three splits.

Files: MIL-NCE's `hmdb51.csv` (video_id,label,split1,split2,split3), or the official `{class}_test_split{k}.txt`.
In both 1 is train, 2 is test, 0 is not used.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from stages.datasets.action_classes import numbered
from stages.datasets.distinct import Distinct
from stages.datasets.lines import read_lines, read_table, without_suffix
from stages.datasets.records import Annotations, DatasetVideo, Labelled
from stages.datasets.splits import TEST, TRAIN
from stages.errors import ConfigError

_SPLITS = {"0": "", "1": TRAIN, "2": TEST}


def read_hmdb51(path: Path, split_number: int = 1) -> Annotations:
    """Read MIL-NCE's table; its labels end in `_test`, which is dropped.

    Args:
        path: the file.
        split_number: 1, 2 or 3.

    Raises:
        ConfigError: it is not such a file, or a video stands twice; the line is named.
    """
    column = f"split{split_number}"
    rows = read_table(path, ("video_id", "label", column))
    entries = ((where, row["video_id"], row["label"].removesuffix("_test"), row[column]) for where, row in rows)
    return _annotations(f"HMDB51 split {split_number}", entries)


def read_hmdb51_folder(folder: Path, split_number: int = 1) -> Annotations:
    """Read the official lists of one split (`file.avi 1` a line).

    Raises:
        ConfigError: there are none, a line has another form, or a video stands twice; file and line are named.
    """
    entries = []
    for path in sorted(folder.glob(f"*_test_split{split_number}.txt")):
        label = re.sub(rf"_test_split{split_number}$", "", path.stem)
        for line in read_lines(path):
            name, _, number = line.fields[0].rpartition(" ")
            entries.append((f"{path}:{line.number}", name.strip(), label, number))
    if not entries:
        raise ConfigError(f"{folder}: got no *_test_split{split_number}.txt, expected one a class")
    return _annotations(f"HMDB51 split {split_number}", entries)


def _annotations(name: str, entries: Iterable[tuple[str, str, str, str]]) -> Annotations:
    found, seen = [], Distinct("video")
    for where, file_name, label, number in entries:
        if number not in _SPLITS or not file_name:
            raise ConfigError(f"{where}: got {file_name!r} in {number!r}, expected a file in 0, 1 or 2")
        source_id = without_suffix(file_name)
        seen.add(source_id, where)
        names = (f"{label}/{file_name}", file_name, source_id)
        found.append(DatasetVideo(source_id=source_id, split=_SPLITS[number], group=label, names=names))
    classes = numbered(sorted({video.group for video in found}))
    index = {label.name: label.index for label in classes}
    labelled = tuple(Labelled(source_id=video.source_id, label_index=index[video.group]) for video in found)
    return Annotations(name=name, videos=tuple(found), labelled=labelled, classes=classes)
