"""Something-Something V2: 174 actions with everyday objects, told by templates.

Files: `something-something-v2-{train,validation,test}.json` (a list of {id, label, template, placeholders}; the test
file holds ids alone), `something-something-v2-labels.json` ({"Approaching something with your camera": "0", ...}).
"""

from collections.abc import Mapping
from pathlib import Path

from stages.datasets.action_classes import numbered
from stages.datasets.distinct import Distinct
from stages.datasets.json_file import Node, read_json
from stages.datasets.records import Annotations, DatasetVideo, Labelled


def read_something(*, labels: Path, lists: Mapping[str, Path]) -> Annotations:
    """Read the lists of some splits.

    A template becomes the name of its class without its brackets: `Holding [something]` is `Holding something`.

    Args:
        labels: the file of all classes.
        lists: the file of each split; entries without a template (the test file's) have no class.

    Raises:
        ConfigError: it is not such a file, numbers of classes are not 0, 1, ..., a template names no class, or a video
            stands twice; the key is named.
    """
    names = _class_names(read_json(labels))
    index_of = {name: index for index, name in enumerate(names)}
    seen, videos, labelled = Distinct("video"), [], []
    for split, path in lists.items():
        for node in read_json(path).elements():
            source_id, template = node["id"].name(), node.get("template")
            seen.add(source_id, node.where)
            group = "" if template is None else template.text().replace("[", "").replace("]", "")
            if template is not None and group not in index_of:
                raise template.wrong(f"one of the {len(names)} templates of {labels.name}")
            videos.append(DatasetVideo(source_id=source_id, split=split, group=group))
            if group:
                labelled.append(Labelled(source_id=source_id, label_index=index_of[group]))
    return Annotations(
        name="Something-Something V2", videos=tuple(videos), labelled=tuple(labelled), classes=numbered(names)
    )


def _class_names(root: Node) -> list[str]:
    by_number = {number.whole(): name for name, number in root.items()}
    if sorted(by_number) != list(range(len(root.value))) or not by_number:
        raise root.wrong("classes numbered 0, 1, ..., each number once")
    return [by_number[index] for index in range(len(by_number))]
