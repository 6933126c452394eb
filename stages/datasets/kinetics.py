"""Kinetics' own tables, and lists in the layout of mmaction2, as Kinetics and ActivityNet are given there, too.

Tables: `kinetics400/{train,validate,test}.csv` (label,youtube_id,time_start,time_end,split). Lists: `path label`
(videos), `path num_frames label` (frames), `path first_frame num_frames label` (a part of the frames).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stages.datasets.action_classes import numbered
from stages.datasets.distinct import Distinct
from stages.datasets.lines import Line, parse_span, read_lines, read_table, without_suffix
from stages.datasets.records import Annotations, DatasetVideo, Labelled
from stages.datasets.splits import TEST, TRAIN, VAL
from stages.errors import ConfigError

Layout = Literal["videos", "frames", "clips"]
_MOST_CLASSES = 100_000  # where no file of classes says
_NUMBERS: dict[Layout, int] = {"videos": 1, "frames": 2, "clips": 3}
_SPLITS = {"train": TRAIN, "val": VAL, "validate": VAL, "test": TEST}


def read_kinetics(paths: Sequence[Path]) -> Annotations:
    """Read the distributed tables of some splits; classes are numbered from 0 in alphabetical order, as is usual.

    Several cuts of one film are several videos: a source id is `<youtube id>_<start>_<end>` with six digits of
    seconds each, which is how the files are named everywhere.

    Raises:
        ConfigError: a row has another form, or a cut stands twice; the line is named.
    """
    seen, found = Distinct("video"), []
    for path in paths:
        for where, row in read_table(path, ("label", "youtube_id", "time_start", "time_end", "split")):
            start_s, end_s = parse_span(row["time_start"], row["time_end"], where=where)
            if row["split"] not in _SPLITS:
                raise ConfigError(f"{where}: column split: got {row['split']!r}, expected {', '.join(_SPLITS)}")
            source_id = f"{row['youtube_id']}_{int(start_s):06d}_{int(end_s):06d}"
            seen.add(source_id, where)
            found.append(
                DatasetVideo(
                    source_id=source_id,
                    split=_SPLITS[row["split"]],
                    duration_s=end_s - start_s,
                    group=row["label"],
                    names=(source_id, row["youtube_id"]),
                )
            )
    names = sorted({video.group for video in found})
    index_of = {name: index for index, name in enumerate(names)}
    labelled = (Labelled(source_id=video.source_id, label_index=index_of[video.group]) for video in found)
    return Annotations(name="Kinetics", videos=tuple(found), labelled=tuple(labelled), classes=numbered(names))


def read_action_list(path: Path, split: str, *, layout: Layout, class_names: Sequence[str] = ()) -> Annotations:
    """Read a list; labels count from 0. A path may hold spaces (Kinetics' classes do).

    Args:
        path: the file.
        split: of its videos.
        layout: which numbers follow the path.
        class_names: by label; without them the classes are named by their numbers, up to the highest in the list.

    Raises:
        ConfigError: a line has another form, or a label has no class; the line is named.
    """
    videos: dict[str, DatasetVideo] = {}
    labelled = []
    for line in read_lines(path):
        if not line.fields[0]:
            continue
        entry = _split(line, _NUMBERS[layout])
        label = entry.whole(-1)
        if label >= (most := len(class_names) or _MOST_CLASSES):
            raise entry.wrong(str(label), f"a label from 0 to {most - 1}")
        source_id = without_suffix(entry.fields[0])
        group = class_names[label] if class_names else str(label)
        names = (entry.fields[0], source_id)
        videos.setdefault(source_id, DatasetVideo(source_id=source_id, split=split, group=group, names=names))
        labelled.append(
            Labelled(
                source_id=source_id,
                label_index=label,
                first_frame=entry.whole(1) if layout == "clips" else None,
                num_frames=None if layout == "videos" else entry.whole(-2, minimum=1),
            )
        )
    names_found = class_names or [str(index) for index in range(1 + max(item.label_index for item in labelled))]
    return Annotations(
        name=path.stem, videos=tuple(videos.values()), labelled=tuple(labelled), classes=numbered(names_found)
    )


def _split(line: Line, num_numbers: int) -> Line:
    fields = line.fields[0].rsplit(maxsplit=num_numbers)
    if len(fields) != num_numbers + 1:
        raise line.wrong(line.fields[0], f"a path and {num_numbers} numbers")
    return Line(path=line.path, number=line.number, fields=tuple(fields))
