"""HowTo100M: instructional videos with automatic speech recognition.

`align` reads one transcript a video, so that a changed one costs one unit; `write_transcripts` makes such of the files.

Files: `caption.json` (stop words removed), `raw_caption.json` (untouched), `sentencified_htm_*.json` (TAN): one layout,
{video: {start, end, text}}; the same as pickled JSON texts (VideoCLIP); `HowTo100M_v1.csv`, `task_ids.csv`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.datasets.json_file import Node
from stages.datasets.json_stream import iterate_object
from stages.datasets.lines import read_lines, read_table
from stages.datasets.pickled import load_pickled_list
from stages.datasets.records import Caption, DatasetVideo
from stages.errors import ConfigError
from stages.text.webvtt import format_webvtt


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenVideo:
    """What is said in one video.

    Attributes:
        source_id: the video.
        captions: with times, in the order of the file; `index` is their place there. They may overlap.
        num_skipped: entries without a text, or whose end is not after their start: the raw file has such.
    """

    source_id: str
    captions: tuple[Caption, ...]
    num_skipped: int


def iterate_captions(path: Path) -> Iterator[SpokenVideo]:
    """Read one of the three JSON files, one video at a time, in the order of the file.

    Line feeds inside a text become spaces.

    Raises:
        ConfigError: it is not such a file; line and video are named.
    """
    for source_id, line, value in iterate_object(path):
        yield _spoken(source_id, Node(Path(f"{path}:{line}"), value, None, source_id))


def read_pickled_captions(path: Path) -> Iterator[SpokenVideo]:
    """Read VideoCLIP's `raw_caption.pkl` or `raw_caption_dedup.pkl` (video -> JSON text); whole, in memory.

    Raises:
        ConfigError: it is not such a file, or asks for a function to be called; the video is named.
    """
    texts = load_pickled_list(path)
    if not isinstance(texts, dict):
        raise ConfigError(f"{path}: got a {type(texts).__name__}, expected a dict of videos")
    for source_id, text in texts.items():
        if not isinstance(source_id, str) or not isinstance(text, str):
            raise ConfigError(f"{path}: {source_id!r}: got a {type(text).__name__}, expected a JSON text")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: {source_id}: is no JSON ({error})") from error
        yield _spoken(source_id, Node(path, value, None, source_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTranscripts:
    """What was written.

    Attributes:
        videos: files.
        captions: in all of them.
        skipped: entries without a text or a length.
        silent: videos that have no other entry, and so no file.
    """

    videos: int
    captions: int
    skipped: int
    silent: int


def write_transcripts(path: Path, folder: Path) -> WrittenTranscripts:
    """Write `<video>.vtt` of each video into folders named by the video's first two characters.

    Args:
        path: one of the JSON files, read as a stream, or VideoCLIP's pickled form (`.pkl`).
        folder: is made.

    Raises:
        ConfigError: it is no such file, or a video's name is no file name.
    """
    spoken = read_pickled_captions(path) if path.suffix == ".pkl" else iterate_captions(path)
    videos = captions = skipped = silent = 0
    for video in spoken:
        skipped += video.num_skipped
        silent += not video.captions
        if not video.captions:
            continue
        name = video.source_id
        if "/" in name or name.startswith("."):
            raise ConfigError(f"{path}: got the video {name!r}, expected a name that a file can have")
        target = folder / name[:2] / f"{name}.vtt"
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = ((caption.start_s or 0.0, caption.end_s or 0.0, caption.text) for caption in video.captions)
        target.write_text(format_webvtt(lines), encoding="utf-8")
        videos, captions = videos + 1, captions + len(video.captions)
    return WrittenTranscripts(videos=videos, captions=captions, skipped=skipped, silent=silent)


def _spoken(source_id: str, node: Node) -> SpokenVideo:
    texts = node["text"].elements()
    starts, ends = (node[key].elements(len(texts)) for key in ("start", "end"))
    captions = []
    for index, (start, end, text) in enumerate(zip(starts, ends, texts, strict=True)):
        words = _words(text)
        start_s, end_s = start.number(), end.number()
        if words and start_s < end_s:
            captions.append(Caption(source_id=source_id, index=index, text=words, start_s=start_s, end_s=end_s))
    return SpokenVideo(source_id=source_id, captions=tuple(captions), num_skipped=len(texts) - len(captions))


def _words(node: Node) -> str:
    """The text on one line, '' for numbers and null, which the raw file holds for videos without speech."""
    if isinstance(node.value, list | dict):
        raise node.wrong("a text")
    return " ".join(node.value.split()) if isinstance(node.value, str) else ""


def read_video_list(path: Path) -> tuple[DatasetVideo, ...]:
    """Read `HowTo100M_v1.csv` (video_id,category_1,category_2,rank,task_id); `group` is the task.

    One row a video and task: a video may come several times.

    Raises:
        ConfigError: it is not such a file; the line is named.
    """
    rows = read_table(path, ("video_id", "task_id"))
    return tuple(DatasetVideo(source_id=row["video_id"], group=row["task_id"]) for _, row in rows)


def read_task_names(path: Path) -> Mapping[str, str]:
    """Read `task_ids.csv` (task_id, a tab, the task in words; no header).

    Raises:
        ConfigError: a line has another form; it is named.
    """
    names = {}
    for line in read_lines(path):
        task_id, tab, text = line.fields[0].partition("\t")
        if not (task_id and tab and text.strip()):
            raise line.wrong(line.fields[0], "task_id, a tab, and the task")
        names[task_id] = text.strip()
    return names
