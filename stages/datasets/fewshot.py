"""Few-shot action recognition: lists of `class/video`, one a split; no class is in two splits.

Files: SSv2 (OTAM, CMN), Kinetics-100 (CMN), HMDB51 and UCF101 (ARN). Episodes are drawn from `records.by_class`.
"""

from collections.abc import Mapping
from pathlib import Path

from stages.datasets.action_classes import numbered, split_class
from stages.datasets.distinct import Distinct
from stages.datasets.lines import read_lines, without_suffix
from stages.datasets.records import Annotations, DatasetVideo, Labelled
from stages.errors import ConfigError


def read_fewshot(name: str, lists: Mapping[str, Path]) -> Annotations:
    """Read the lists of one data set; classes are numbered from 0 over all of them, in the order in which they come.

    Args:
        name: of the data set, for reports.
        lists: the file of each split.

    Raises:
        ConfigError: a line has another form, a video stands twice, or a class is in two splits; file and line are
            named.
    """
    seen, videos, labelled = Distinct("video"), [], []
    index: dict[str, int] = {}
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        for line in read_lines(path):
            group, video = split_class(line)
            source_id = without_suffix(video)
            seen.add(source_id, f"{path}:{line.number}")
            if split_of.setdefault(group, split) != split:
                raise ConfigError(
                    f"{path}:{line.number}: the class {group!r} is in {split_of[group]} already, "
                    f"expected in one split only; take the lists of one publication"
                )
            index.setdefault(group, len(index))
            names = (f"{group}/{video}", source_id)
            videos.append(DatasetVideo(source_id=source_id, split=split, group=group, names=names))
            labelled.append(Labelled(source_id=source_id, label_index=index[group]))
    return Annotations(name=name, videos=tuple(videos), labelled=tuple(labelled), classes=numbered(index))
