"""UCF101: 101 actions, three splits.

Files: `classInd.txt`, `trainlist0{1,2,3}.txt` (`class/file.avi label`, label from 1), `testlist0{1,2,3}.txt` (no
label).
"""

from pathlib import Path

from stages.datasets.action_classes import index_of, numbered, read_numbered_classes, split_class
from stages.datasets.distinct import Distinct
from stages.datasets.lines import Line, read_lines, without_suffix
from stages.datasets.records import Annotations, DatasetVideo, Labelled
from stages.datasets.splits import TEST, TRAIN


def read_ucf101(*, classes: Path, train: Path, test: Path) -> Annotations:
    """Read one split.

    Raises:
        ConfigError: a line has another form, a label is not that of its folder, or a video stands twice; file and line
            are named.
    """
    names = read_numbered_classes(classes)
    seen, videos, labelled = Distinct("video"), [], []
    for path, split in ((train, TRAIN), (test, TEST)):
        for line in read_lines(path):
            name, label = _entry(line, names, has_label=split == TRAIN)
            source_id = without_suffix(name)
            seen.add(source_id, f"{path}:{line.number}")
            group = names[label]
            videos.append(DatasetVideo(source_id=source_id, split=split, group=group, names=(name, source_id)))
            labelled.append(Labelled(source_id=source_id, label_index=label))
    return Annotations(
        name=f"UCF101 ({train.stem}, {test.stem})",
        videos=tuple(videos),
        labelled=tuple(labelled),
        classes=numbered(names),
    )


def _entry(line: Line, names: tuple[str, ...], *, has_label: bool) -> tuple[str, int]:
    name, _, number = line.fields[0].partition(" ")
    entry = Line(path=line.path, number=line.number, fields=(name, number))
    label = index_of(names, split_class(entry)[0], entry)
    if (has_label or number) and number != str(label + 1):
        raise entry.wrong(number, f"{label + 1}, the number of {names[label]}")
    return name, label
