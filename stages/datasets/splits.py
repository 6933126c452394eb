"""Which videos are for training, validation and test, and which two differ in order only.

From a splits file (`video,split,pair`) or, without one, by a hash of the video's id.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from stages.errors import ConfigError
from stages.text.csvfile import CsvRow, read_csv
from stages.text.names import Named, NameIndex

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
COLUMNS = ("video", "split", "pair")
_HASH_RANGE = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A splits file against a manifest.

    Attributes:
        split_of: train, val or test by video id.
        pairs: (video id, video id) of those that differ in order only, by the pair's id; both are in `split_of`.
        absent: names in the file that no video of the manifest has, in the file's order.
        without_split: ids of videos that the file does not name, in the manifest's order.
    """

    split_of: Mapping[str, str]
    pairs: Mapping[str, tuple[str, str]]
    absent: tuple[str, ...]
    without_split: tuple[str, ...]

    def video_ids(self, split: str) -> tuple[str, ...]:
        """The videos of a split, in the file's order."""
        return tuple(video_id for video_id, found in self.split_of.items() if found == split)


def read_splits(path: Path, videos: Sequence[Named]) -> Splits:
    """Read a splits file (CSV `video,split,pair`; any name of a video, as everywhere).

    A pair of which the manifest lacks a video is left out of `pairs`: the missing one is counted in `absent`.

    Args:
        path: the file.
        videos: of the manifest.

    Raises:
        ConfigError: it is none; a split is not train, val or test; a name means two videos; a video stands in it twice;
            or a pair has not exactly two members of one split.
    """
    names = NameIndex(videos)
    split_of: dict[str, str] = {}
    line_of: dict[str, int] = {}
    members: defaultdict[str, list[tuple[CsvRow, str | None]]] = defaultdict(list)
    absent = []
    for row in read_csv(path, COLUMNS):
        _check_row(path, row)
        video_id = _find(path, row, names)
        if row.fields["pair"]:
            members[row.fields["pair"]].append((row, video_id))
        if video_id is None:
            absent.append(row.fields["video"])
            continue
        if video_id in line_of:
            raise ConfigError(
                f"{path}:{row.line}: column video: {row.fields['video']!r} is the video {video_id} of line "
                f"{line_of[video_id]} again; keep one of the two rows"
            )
        line_of[video_id], split_of[video_id] = row.line, row.fields["split"]
    without = tuple(video.video_id for video in videos if video.video_id not in split_of)
    return Splits(split_of=split_of, pairs=_pairs(path, members), absent=tuple(absent), without_split=without)


def holdout_split(video_id: str, fraction: float, seed: int) -> str:
    """The split of a video without a splits file: test for about `fraction` of all ids, else train.

    It depends on nothing but its arguments, so that a video stays where it is when others come and go.

    Args:
        video_id: its id.
        fraction: share of test videos, 0 to 1.
        seed: another seed is another split.

    Raises:
        ValueError: fraction is outside of 0 to 1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}, expected 0 to 1")
    drawn = xxhash.xxh3_64_intdigest(f"{seed}:{video_id}".encode())
    return TEST if drawn < fraction * _HASH_RANGE else TRAIN


def _check_row(path: Path, row: CsvRow) -> None:
    if row.problem:
        raise ConfigError(f"{path.parent}: {row.problem}")
    if not row.fields["video"]:
        raise ConfigError(f"{path}:{row.line}: column video: got nothing, expected a name of a video")
    if row.fields["split"] not in SPLITS:
        raise ConfigError(f"{path}:{row.line}: column split: got {row.fields['split']!r}, expected {', '.join(SPLITS)}")


def _find(path: Path, row: CsvRow, names: NameIndex) -> str | None:
    try:
        match = names.find(row.fields["video"])
    except ConfigError as error:
        raise ConfigError(f"{path}:{row.line}: column video: {error}") from error
    return match.video_id if match else None


def _pairs(path: Path, members: Mapping[str, Sequence[tuple[CsvRow, str | None]]]) -> dict[str, tuple[str, str]]:
    pairs = {}
    for name, rows in members.items():
        lines = ", ".join(str(row.line) for row, _ in rows)
        if len(rows) != 2 or len({row.fields["split"] for row, _ in rows}) != 1:
            raise ConfigError(
                f"{path}: column pair: {name!r} stands on {len(rows)} rows (lines {lines}), "
                "expected exactly two rows of one split"
            )
        first, second = (video_id for _, video_id in rows)
        if first is not None and second is not None:
            pairs[name] = (first, second)
    return pairs
