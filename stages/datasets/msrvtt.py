"""MSR-VTT: short web videos with twenty captions each.

Files: `MSRVTT_JSFUSION_test.csv` (1k-A test), `MSRVTT_train.9k.csv`, `MSRVTT_train.csv`, `MSRVTT_FULL_test.csv` (lists
of videos), `MSRVTT_data.json` (all captions), `MSR_MC_test.csv` (multiple choice).
"""

import re
from dataclasses import replace
from pathlib import Path

from stages.datasets.distinct import Distinct
from stages.datasets.json_file import Node, read_json
from stages.datasets.lines import read_fields, read_table
from stages.datasets.records import Annotations, Caption, DatasetVideo, Question
from stages.datasets.splits import TEST, TRAIN, VAL
from stages.errors import ConfigError

_SPLITS = {"train": TRAIN, "validate": VAL, "test": TEST}
_CHOICE_COLUMNS = ("vid_key", "a1", "a2", "a3", "a4", "a5", "answer")
_CHOICES = 5


def read_jsfusion_test(path: Path) -> Annotations:
    """Read `MSRVTT_JSFUSION_test.csv` (key,vid_key,video_id,sentence): the 1k-A test set, one caption a video.

    Raises:
        ConfigError: it is not such a file, or names a video twice; the line is named.
    """
    seen, videos, captions = Distinct("video"), [], []
    for where, row in read_table(path, ("key", "vid_key", "video_id", "sentence")):
        seen.add(row["video_id"], where)
        videos.append(DatasetVideo(source_id=row["video_id"], split=TEST))
        captions.append(Caption(source_id=row["video_id"], index=0, text=row["sentence"]))
    return Annotations(name="MSR-VTT 1k-A test", videos=tuple(videos), captions=tuple(captions))


def read_video_list(path: Path, split: str) -> Annotations:
    """Read a list with a column video_id: 9k or 7k train, full test. It has no captions; see `with_captions`.

    Raises:
        ConfigError: it is not such a file, or names a video twice; the line is named.
    """
    seen, videos = Distinct("video"), []
    for where, row in read_table(path, ("video_id",)):
        seen.add(row["video_id"], where)
        videos.append(DatasetVideo(source_id=row["video_id"], split=split))
    return Annotations(name=f"MSR-VTT {split} ({path.stem})", videos=tuple(videos))


def read_msrvtt(path: Path) -> Annotations:
    """Read `MSRVTT_data.json`: all videos with all captions, in the order of their sen_id.

    Raises:
        ConfigError: it is not such a file, or a caption is of a video that it does not list; the key is named.
    """
    root = read_json(path)
    seen, videos = Distinct("video"), {}
    for node in root["videos"].elements():
        video = _video(node)
        seen.add(video.source_id, node.where)
        videos[video.source_id] = video
    captions: dict[str, list[tuple[int, str]]] = {source_id: [] for source_id in videos}
    for node in root["sentences"].elements():
        source_id = node["video_id"].text()
        if source_id not in captions:
            raise node["video_id"].wrong("a video_id of the list 'videos'")
        captions[source_id].append((node["sen_id"].whole(), node["caption"].text()))
    return Annotations(
        name="MSR-VTT",
        videos=tuple(videos.values()),
        captions=tuple(
            Caption(source_id=source_id, index=index, text=text)
            for source_id, found in captions.items()
            for index, (_, text) in enumerate(sorted(found))
        ),
    )


def _video(node: Node) -> DatasetVideo:
    split, start, end = node.get("split"), node.get("start time"), node.get("end time")
    return DatasetVideo(
        source_id=node["video_id"].text(),
        split=split.choice(_SPLITS) if split else "",
        duration_s=end.number() - start.number() if start and end else None,
    )


def with_captions(listed: Annotations, data: Annotations) -> Annotations:
    """The videos of a list with their captions of `MSRVTT_data.json`; the split is the list's.

    Raises:
        ConfigError: the list names a video that the data does not have.
    """
    known = {video.source_id: video for video in data.videos}
    if missing := [video.source_id for video in listed.videos if video.source_id not in known]:
        raise ConfigError(
            f"{listed.name}: {len(missing)} of {len(listed.videos)} videos have no captions in {data.name} "
            f"({', '.join(missing[:5])}), expected all; name the list and the MSRVTT_data.json that belong together"
        )
    videos = tuple(replace(known[video.source_id], split=video.split) for video in listed.videos)
    captions = data.only({video.source_id for video in videos}).captions
    return replace(listed, videos=videos, captions=captions)


def read_multiple_choice(path: Path) -> Annotations:
    """Read `MSR_MC_test.csv` (tab between vid_key, a1 to a5, answer from 0; key `msr9770` is the video `video9770`).

    Raises:
        ConfigError: it is not such a file; the line is named.
    """
    videos: dict[str, DatasetVideo] = {}
    questions: list[Question] = []
    for line in read_fields(path, _CHOICE_COLUMNS, delimiter="\t", has_header=True):
        key, *options, _ = line.fields
        if not (found := re.fullmatch(r"msr(\d+)", key)):
            raise line.wrong(key, "a vid_key such as 'msr9770'")
        if (answer := line.whole(_CHOICES + 1)) >= _CHOICES:
            raise line.wrong(str(answer), f"an answer from 0 to {_CHOICES - 1}")
        source_id = f"video{found[1]}"
        videos.setdefault(source_id, DatasetVideo(source_id=source_id, split=TEST))
        questions.append(
            Question(question_id=f"q{len(questions)}", source_id=source_id, options=tuple(options), answer=answer)
        )
    return Annotations(name="MSR-VTT multiple choice", videos=tuple(videos.values()), questions=tuple(questions))
