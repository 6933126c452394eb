"""Which videos a checkpoint was trained on, its start's included: a file beside the weights that goes on with them."""

from collections.abc import Iterable
from pathlib import Path

TRAINED_ON = "trained_on.txt"
"""In a checkpoint's folder: ids of the manifest, one a line."""

UNRECORDED = "*"
"""Among the ids, of which it can be none: others that nobody wrote down, as those behind published weights."""


def read_trained_on(checkpoint: Path) -> list[str]:
    """Return the videos that a checkpoint was trained on; of a published file, or a folder without list, UNRECORDED."""
    listed = checkpoint / TRAINED_ON
    return listed.read_text().split() if listed.is_file() else [UNRECORDED]


def with_start(video_ids: Iterable[str], start: Path | None) -> list[str]:
    """Return the videos of a training, and those that the checkpoint which it went on from had seen, by id."""
    return sorted({*video_ids, *(read_trained_on(start) if start else ())})
