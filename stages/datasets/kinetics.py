"""Lists in the layout of mmaction2, as Kinetics, Something-Something and ActivityNet are given there.

`path label` (videos), `path num_frames label` (frames), `path first_frame num_frames label` (a part of the frames).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stages.datasets.action_classes import numbered
from stages.datasets.lines import Line, read_lines, without_suffix
from stages.datasets.records import Annotations, DatasetVideo, Labelled

Layout = Literal["videos", "frames", "clips"]
_NUMBERS: dict[Layout, int] = {"videos": 1, "frames": 2, "clips": 3}


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
        if class_names and label >= len(class_names):
            raise entry.wrong(str(label), f"a label from 0 to {len(class_names) - 1}")
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
