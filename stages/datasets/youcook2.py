"""YouCook2: cooking videos with their steps as sentences.

Files: `youcookii_annotations_trainval.json` (official), `splits/{train,val}_list.txt` (official),
`validation_youcook.csv` (MIL-NCE), `youcook_{train,val}.pkl` (HowTo100M's metadata_eval, which VideoCLIP's lists are).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.datasets.distinct import Distinct
from stages.datasets.json_file import Node, read_json
from stages.datasets.lines import parse_span, read_lines, read_table
from stages.datasets.pickled import load_pickled_list
from stages.datasets.records import Annotations, Caption, DatasetVideo
from stages.datasets.splits import TRAIN, VAL
from stages.errors import ConfigError

_DIGITS = 10  # an annotation number has fewer
_SUBSETS = {"training": TRAIN, "validation": VAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipName:
    """One clip of VideoCLIP's lists.

    Attributes:
        source_id: the video.
        index: `Caption.index` of its annotation.
        text: as in the list (spelling and case may differ from the annotation's).
    """

    source_id: str
    index: int
    text: str


def read_youcook2(path: Path) -> Annotations:
    """Read `youcookii_annotations_trainval.json`.

    Raises:
        ConfigError: it is not such a file; the key is named.
    """
    videos, captions = [], []
    for source_id, node in read_json(path)["database"].items():
        videos.append(
            DatasetVideo(
                source_id=source_id,
                split=node["subset"].choice(_SUBSETS),
                duration_s=node["duration"].number(),
                group=node["recipe_type"].name(),
            )
        )
        captions += [_caption(source_id, index, entry) for index, entry in enumerate(node["annotations"].elements())]
    return Annotations(name="YouCook2", videos=tuple(videos), captions=tuple(captions))


def _caption(source_id: str, index: int, entry: Node) -> Caption:
    start_s, end_s = entry["segment"].span()
    return Caption(source_id=source_id, index=index, text=entry["sentence"].text(), start_s=start_s, end_s=end_s)


def read_milnce_list(path: Path, split: str = VAL) -> Annotations:
    """Read MIL-NCE's `validation_youcook.csv` (end,start,task,text,video_id); rows of a video are brought together.

    Args:
        path: the file.
        split: of its videos.

    Raises:
        ConfigError: it is not such a file; the line is named.
    """
    videos: dict[str, DatasetVideo] = {}
    captions: dict[str, list[Caption]] = {}
    for where, row in read_table(path, ("end", "start", "task", "text", "video_id")):
        source_id = row["video_id"]
        videos.setdefault(source_id, DatasetVideo(source_id=source_id, split=split, group=row["task"]))
        start_s, end_s = parse_span(row["start"], row["end"], where=where)
        found = captions.setdefault(source_id, [])
        found.append(Caption(source_id=source_id, index=len(found), text=row["text"], start_s=start_s, end_s=end_s))
    return Annotations(
        name="YouCook2 (MIL-NCE list)",
        videos=tuple(videos.values()),
        captions=tuple(caption for found in captions.values() for caption in found),
    )


def read_split_list(path: Path, split: str) -> tuple[DatasetVideo, ...]:
    """Read `train_list.txt` or `val_list.txt` (`recipe_type/video_id` a line).

    Raises:
        ConfigError: a line has another form, or a video stands twice.
    """
    seen, videos = Distinct("video"), []
    for line in read_lines(path):
        group, slash, source_id = line.fields[0].partition("/")
        if not (group and slash and source_id):
            raise line.wrong(line.fields[0], "recipe_type/video_id")
        seen.add(source_id, f"{path}:{line.number}")
        videos.append(DatasetVideo(source_id=source_id, split=split, group=group))
    return tuple(videos)


def read_clip_list(path: Path) -> tuple[ClipName, ...]:
    """Read `youcook_train.pkl` or `youcook_val.pkl` (list of {id, caption, 2d, 3d}); the features in it are not read.

    Raises:
        ConfigError: it is not such a file, or asks for a function to be called.
    """
    entries = load_pickled_list(path)
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: got a {type(entries).__name__}, expected a list of clips")
    return tuple(_clip_name(path, at, entry) for at, entry in enumerate(entries))


def _clip_name(path: Path, at: int, entry: object) -> ClipName:
    name, text = (entry.get("id"), entry.get("caption")) if isinstance(entry, dict) else (None, None)
    # At the last underscore: ids of videos may hold some themselves.
    source_id, _, index = name.rpartition("_") if isinstance(name, str) else ("", "", "")
    if not (source_id and index.isascii() and index.isdigit() and len(index) < _DIGITS and isinstance(text, str)):
        raise ConfigError(
            f"{path}: [{at}]: got id {name!r} and caption {text!r}, expected texts, the id as 'video_annotation number'"
        )
    return ClipName(source_id=source_id, index=int(index), text=text)


def only_listed(annotations: Annotations, clips: Sequence[ClipName]) -> Annotations:
    """The annotations of the listed clips alone, and of the videos that have any.

    Raises:
        ConfigError: a listed clip has no annotation.
    """
    wanted = {(clip.source_id, clip.index) for clip in clips}
    captions = tuple(caption for caption in annotations.captions if (caption.source_id, caption.index) in wanted)
    if len(captions) != len(wanted):
        source_id, index = min(wanted - {(caption.source_id, caption.index) for caption in captions})
        raise ConfigError(
            f"{annotations.name}: {len(wanted) - len(captions)} of {len(wanted)} listed clips have no annotation, the "
            f"first is {source_id}_{index}; name the list and the annotations that belong together"
        )
    listed = {caption.source_id for caption in captions}
    videos = tuple(video for video in annotations.videos if video.source_id in listed)
    return replace(annotations, videos=videos, captions=captions)
