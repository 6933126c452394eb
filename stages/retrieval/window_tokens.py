"""The states of each window's clips, for encoders that look at windows and words together (TACo). Knows no torch.

Letters: N windows, T clips of one, E width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.arrays import map_rows, write_rows
from stages.artifacts.commit import StagedFile
from stages.artifacts.sealed import Artifact
from stages.errors import Corrupt
from stages.retrieval.vectors import Vectors

TOKENS_FILE, COUNTS_FILE = "window_tokens.npy", "window_token_counts.npy"

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTokens:
    """States by the number of the window.

    Attributes:
        parts: states as files hold them, float16 (M_i, E), window after window.
        first: (N,) int64, row of each window's first state in its part.
        count: (N,) int64, its states, at least 1.
        part: (N,) int64, which part.
    """

    parts: Sequence[NDArray[np.float16]]
    first: Rows
    count: Rows
    part: Rows

    def of(self, window: int) -> Vectors:
        """The states of a window, float32 (T, E)."""
        start = int(self.first[window])
        rows = self.parts[int(self.part[window])][start : start + int(self.count[window])]
        return rows.astype(np.float32)

    @property
    def width(self) -> int:
        """E."""
        return int(self.parts[0].shape[1]) if self.parts else 0


def write_tokens(
    create: Callable[[str], StagedFile], counts: NDArray[np.integer], blocks: Iterable[Vectors], width: int
) -> None:
    """Write the states of windows, window after window, as TOKENS_FILE and COUNTS_FILE.

    Args:
        create: opens a staged file by its name.
        counts: (N,) states of each window.
        blocks: N arrays (T, E).
        width: E.
    """
    write_rows(create(TOKENS_FILE), blocks, (int(counts.sum()), width), np.float16)
    write_rows(create(COUNTS_FILE), [counts], counts.shape, np.int32)


def open_tokens(files: Sequence[tuple[Path, Path]]) -> WindowTokens:
    """Map the states of one or several parts.

    Args:
        files: of each part, TOKENS_FILE and COUNTS_FILE; windows are numbered over all parts.

    Raises:
        Corrupt: a file is no array, or the two do not add up.
    """
    parts, counts = [], []
    for tokens_path, counts_path in files:
        try:
            tokens, count = map_rows(tokens_path), np.array(map_rows(counts_path), dtype=np.int64)
        except ValueError as error:
            raise Corrupt(f"{tokens_path.parent}: the states of windows cannot be read ({error})") from error
        if tokens.ndim != 2 or count.ndim != 1 or len(tokens) != count.sum():
            raise Corrupt(f"{tokens_path} has shape {tokens.shape}, its counts say {count.sum()} states; embed again")
        parts.append(tokens)
        counts.append(count)
    none = np.zeros(0, dtype=np.int64)
    return WindowTokens(
        parts=parts,
        first=np.concatenate([none, *(np.cumsum(count) - count for count in counts)]),
        count=np.concatenate([none, *counts]),
        part=np.repeat(np.arange(len(counts)), [len(count) for count in counts]),
    )


def tokens_of(embeddings: Artifact) -> WindowTokens | None:
    """The states that an embeddings artifact holds, its windows numbered unit after unit; None if it holds none."""
    files = []
    for record in embeddings.records:
        by_name = {file.name: embeddings.path(file) for file in record.files}
        if TOKENS_FILE not in by_name:
            return None
        files.append((by_name[TOKENS_FILE], by_name[COUNTS_FILE]))
    return open_tokens(files) if files else None
