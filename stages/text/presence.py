"""Whether a corpus has any narration at all: that decides, before a run is planned, which encoder makes sense."""

from pathlib import Path

from stages.artifacts.stat_cache import scan
from stages.errors import BadTranscript
from stages.text.readers import SUFFIXES, read_transcript
from stages.text.table import read_table


def holds_narration(*, media_dir: Path, captions: Path | None) -> bool:
    """Whether at least one sentence is found.

    Args:
        media_dir: where transcripts may lie beside the videos.
        captions: a captions table, a folder of transcripts, or None.

    Returns:
        True at the first transcript that holds a narration; a file that is no transcript does not count here.
    """
    if captions is not None and captions.is_file() and captions.suffix.lower() == ".csv":
        return any(not row.problem for row in read_table(captions))
    folders = [media_dir, *([captions] if captions is not None and captions.is_dir() else [])]
    return any(_is_narrated(folder / file.path) for folder in folders for file in scan(folder))


def _is_narrated(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        return bool(read_transcript(path))
    except BadTranscript:
        return False
