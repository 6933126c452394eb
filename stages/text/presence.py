"""Which videos are narrated: that decides, before a run is planned, which encoder makes sense."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.errors import BadTranscript
from stages.text.names import Named
from stages.text.readers import read_transcript
from stages.text.sources import CAPTIONS, Source, possible_sources


def find_narrated(videos: Sequence[Named], *, media_dir: Path, captions: Path | None) -> Iterator[str]:
    """Ids of the videos that have a sentence, once each, one by one: transcripts are read until enough are found.

    Args:
        videos: of the manifest, or what may become one.
        media_dir: the folder that their paths are relative to; transcripts may lie beside them.
        captions: a captions table, a folder of transcripts, or None.

    Yields:
        An id for the first transcript or row of a video that holds a narration; what cannot be read does not count.

    Raises:
        ConfigError: a folder or the table is not there or is none.
    """
    found: set[str] = set()
    for video_id, source in possible_sources(videos, media_dir=media_dir, captions=captions):
        if video_id not in found and _is_narrated(source, media_dir, captions):
            found.add(video_id)
            yield video_id


def _is_narrated(source: Source, media_dir: Path, captions: Path | None) -> bool:
    if source.rows:
        return any(not row.problem for row in source.rows)
    folder = captions if source.folder == CAPTIONS and captions else media_dir
    try:
        return bool(read_transcript(folder / source.path))
    except BadTranscript:
        return False
