"""COIN: videos of 180 tasks, their steps labelled 1 to 778 (0 is the background).

Files: `COIN.json` ({"database": {video: ...}}), and the lists of one-video objects that procedure planning uses.
"""

from collections.abc import Iterator
from pathlib import Path

from stages.datasets.distinct import Distinct
from stages.datasets.json_file import Node, read_json
from stages.datasets.records import Annotations, ClassLabel, DatasetVideo, Segment
from stages.datasets.splits import TEST, TRAIN

_SUBSETS = {"training": TRAIN, "testing": TEST}


def read_coin(path: Path) -> Annotations:
    """Read a file of either layout.

    `steps` are those that occur in the file, by their number. The published protocol takes all labels of the testing
    subset: `{segment.label_index for segment in annotations.of_split("test").segments}`.

    Raises:
        ConfigError: it is not such a file, or a step's number has two texts; the key is named.
    """
    seen, videos, segments = Distinct("video"), [], []
    steps: dict[int, str] = {}
    for source_id, node in _videos(read_json(path)):
        seen.add(source_id, node.where)
        videos.append(
            DatasetVideo(
                source_id=source_id,
                split=node["subset"].choice(_SUBSETS),
                duration_s=node["duration"].number(),
                group=node["class"].text(),
            )
        )
        for index, entry in enumerate(node["annotation"].elements()):
            segments.append(_segment(source_id, index, entry))
            label = segments[-1]
            if steps.setdefault(label.label_index, label.label) != label.label:
                raise entry["label"].wrong(f"{steps[label.label_index]!r}, which step {label.label_index} was before")
    classes = sorted({video.group for video in videos})
    return Annotations(
        name=f"COIN ({path.stem})",
        videos=tuple(videos),
        segments=tuple(segments),
        classes=tuple(ClassLabel(index=index, name=name) for index, name in enumerate(classes)),
        steps=tuple(ClassLabel(index=index, name=steps[index]) for index in sorted(steps)),
    )


def _videos(root: Node) -> Iterator[tuple[str, Node]]:
    if isinstance(root.value, list):
        for element in root.elements():
            yield from element.items()
    else:
        yield from root["database"].items()


def _segment(source_id: str, index: int, entry: Node) -> Segment:
    label_index = entry["id"].whole()
    if label_index == 0:
        raise entry["id"].wrong("a step from 1 (0 is the background)")
    start_s, end_s = entry["segment"].span()
    return Segment(
        source_id=source_id,
        index=index,
        label_index=label_index,
        label=entry["label"].text(),
        start_s=start_s,
        end_s=end_s,
    )
