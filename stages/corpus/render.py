"""`render_corpus`: the demo corpus as files on disk, resumable, and left alone once it is whole."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.corpus.record import RECORD_NAME, CorpusRecord, describe, hash_file, read_record
from stages.corpus.settings import CorpusSettings
from stages.errors import ConfigError

VIDEOS_DIR = "videos"

OnVideo = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSummary:
    """What `render_corpus` found or made.

    Attributes:
        videos_dir: the folder of mp4 and vtt files.
        num_videos: all videos.
        num_rendered: those that this call drew; 0 if the corpus was there already.
        num_pairs: pairs that differ in order only, of all splits.
        duration_s: total length of all videos in seconds.
        size_bytes: total size of all files.
    """

    videos_dir: Path
    num_videos: int
    num_rendered: int
    num_pairs: int
    duration_s: float
    size_bytes: int


def render_corpus(
    out_dir: Path, settings: CorpusSettings, *, workers: int, on_video: OnVideo | None = None
) -> CorpusSummary:
    """Make `out_dir` hold the corpus of `settings`.

    A corpus that is whole (every file has its recorded hash) is left alone; what an interrupted call left is kept. A
    corpus of other settings is replaced: only files that its own record names are deleted.

    Args:
        out_dir: an empty or new folder, or one that an earlier call filled.
        settings: what to draw; the bytes depend on nothing else.
        workers: videos drawn at the same time, at least 1.
        on_video: called as `on_video(done, total)` after each video that was drawn, from one thread.

    Raises:
        ConfigError: `out_dir` holds files that are no corpus, workers is below 1, or the settings cannot be composed.
        FabulaError: ffmpeg failed.
    """
    if workers < 1:
        raise ConfigError(f"workers: got {workers}, expected at least 1")
    record = _read_own_record(out_dir)
    num_rendered = 0
    if record is None or not _is_whole(out_dir, record, settings):
        # Drawing needs numpy and ffmpeg; a corpus that is there does not.
        from stages.corpus.produce import produce

        record, num_rendered = produce(out_dir, settings, record, workers=workers, on_video=on_video or _ignore)
    return CorpusSummary(
        videos_dir=out_dir / VIDEOS_DIR,
        num_videos=settings.num_videos,
        num_rendered=num_rendered,
        num_pairs=settings.num_train_pairs + settings.num_val_pairs + settings.num_pairs,
        duration_s=record.duration_s,
        size_bytes=sum((out_dir / name).stat().st_size for name in record.files),
    )


def _read_own_record(out_dir: Path) -> CorpusRecord | None:
    """The folder's record; None for a new folder.

    Raises:
        ConfigError: the folder holds something, but no record.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise ConfigError(f"{out_dir}: a file, expected a folder: name another for the corpus")
    record = read_record(out_dir)
    if record is None and out_dir.is_dir() and any(path.name != f".{RECORD_NAME}.part" for path in out_dir.iterdir()):
        raise ConfigError(f"{out_dir}: holds files but no {RECORD_NAME}: name an empty folder for the corpus")
    return record


def _is_whole(out_dir: Path, record: CorpusRecord, settings: CorpusSettings) -> bool:
    """Same settings, and every file has its hash."""
    return (
        record.complete
        and record.settings == describe(settings)
        and all(hash_file(out_dir / name) == digest for name, digest in record.files.items())
    )


def _ignore(done: int, total: int) -> None:
    """Report progress to nobody."""
