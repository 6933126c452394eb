"""ActivityNet: videos told in several sentences with their times (Captions), and the actions in them with theirs.

Files: `train.json`, `val_1.json`, `val_2.json` (ActivityNet Captions); `activity_net.v1-3.min.json` (ActivityNet, 200
actions).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.datasets.action_classes import numbered
from stages.datasets.json_file import Node, read_json
from stages.datasets.records import Annotations, Caption, DatasetVideo, Segment
from stages.datasets.splits import TEST, TRAIN, VAL

_SUBSETS = {"training": TRAIN, "validation": VAL, "testing": TEST}


def read_activitynet(path: Path, split: str) -> Annotations:
    """Read one of the files.

    Ends that lie a hair after the annotated duration are kept as they are. Published files hold a few sentences whose
    end is not after their start; these keep their place in the paragraph without times, and a remark names each.

    Args:
        path: the file.
        split: which it is; val_1 and val_2 are the field's test sets.

    Raises:
        ConfigError: it is not such a file; the key is named.
    """
    videos, captions, remarks = [], [], []
    for source_id, node in read_json(path).items():
        videos.append(
            DatasetVideo(
                source_id=source_id,
                split=split,
                duration_s=node["duration"].number(),
                names=(source_id, source_id.removeprefix("v_")),
            )
        )
        times = node["timestamps"].elements()
        for index, (sentence, time) in enumerate(zip(node["sentences"].elements(len(times)), times, strict=True)):
            start_s, end_s = _times(time)
            if start_s is None:
                remarks.append(f"{time.where}: end is not after start ({time.value}): the sentence has no times")
            captions.append(
                Caption(source_id=source_id, index=index, text=sentence.text(), start_s=start_s, end_s=end_s)
            )
    return Annotations(
        name=f"ActivityNet Captions ({path.stem})",
        videos=tuple(videos),
        captions=tuple(captions),
        remarks=tuple(remarks),
    )


def read_activitynet_actions(path: Path) -> Annotations:
    """Read `activity_net.v1-3.min.json`; actions are numbered from 0 in alphabetical order.

    Published files hold a few actions whose end is not after their start: these are left out, and a remark names each.
    The actions of the subset testing are not published.

    Raises:
        ConfigError: it is not such a file; the key is named.
    """
    videos, remarks = [], []
    found: list[tuple[str, Node, float, float]] = []
    for source_id, node in read_json(path)["database"].items():
        videos.append(
            DatasetVideo(
                source_id=source_id,
                split=node["subset"].choice(_SUBSETS),
                duration_s=node["duration"].number(),
                names=(source_id, f"v_{source_id}"),
            )
        )
        for entry in node["annotations"].elements():
            start_s, end_s = _times(entry["segment"])
            if start_s is None or end_s is None:
                remarks.append(f"{entry.where}: end is not after start ({entry['segment'].value}): left out")
            else:
                found.append((source_id, entry["label"], start_s, end_s))
    steps = numbered(sorted({label.text() for _, label, _, _ in found}))
    return Annotations(
        name=f"ActivityNet ({path.stem})",
        videos=tuple(videos),
        segments=_segments(found, {step.name: step.index for step in steps}),
        steps=steps,
        remarks=tuple(remarks),
    )


def _segments(found: Sequence[tuple[str, Node, float, float]], index_of: Mapping[str, int]) -> tuple[Segment, ...]:
    places: Counter[str] = Counter()
    segments = []
    for source_id, label, start_s, end_s in found:
        name = label.text()
        segments.append(
            Segment(
                source_id=source_id,
                index=places[source_id],
                label_index=index_of[name],
                label=name,
                start_s=start_s,
                end_s=end_s,
            )
        )
        places[source_id] += 1
    return tuple(segments)


def _times(node: Node) -> tuple[float, float] | tuple[None, None]:
    start_s, end_s = (element.number() for element in node.elements(2))
    return (start_s, end_s) if start_s < end_s else (None, None)
