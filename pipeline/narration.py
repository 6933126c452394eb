"""What `encoder = "auto"` comes to: training where enough videos are narrated, else a frozen encoder."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from pipeline.config import RunConfig
from stages.datasets.splits import COLUMNS, TRAIN, holdout_split
from stages.media.candidates import Candidates, find_candidates
from stages.text.csvfile import read_csv
from stages.text.names import NameIndex
from stages.text.presence import find_narrated
from stages.train import TrainConfig

TRAINED, FROZEN = "train", "s3d-text"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    """What may become a video: all files of one path but for the suffix, which is its id until ingest gives one."""

    video_id: str
    paths: tuple[str, ...]
    source_ids: tuple[str, ...]


def choose_encoder(config: RunConfig) -> str:
    """Return `train` if the narrated videos of the train split make an update; else `s3d-text`, and tell why.

    Transcripts are matched as align does it, but before ingest: a file may turn out to be no video, and a video whose
    file name is not its id may be held out by that id. Near the smallest number, training may still refuse.

    Raises:
        ConfigError: the media or the captions are not there.
    """
    candidates = find_candidates(config.ingest.media, config.ingest.frame_rate)
    files = _files(candidates)
    narrated = find_narrated(files, media_dir=candidates.folder, captions=config.align.captions)
    least = config.train.objective.least_narrated(config.train.optimisation.accumulate)
    is_for_training = _train_split(config.train, files)
    num_found = sum(1 for _ in islice(filter(is_for_training, narrated), least))
    if num_found == least:
        return TRAINED
    what = f"{num_found} videos of the train split are narrated" if num_found else "no video to train on is narrated"
    logger.warning(
        "encoder = 'auto': %s, and an update takes %d: nothing is trained, S3D-G's own text tower embeds", what, least
    )
    return FROZEN


def _files(candidates: Candidates) -> Sequence[_File]:
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for file in candidates.files:
        paths[str(PurePosixPath(file.path).with_suffix(""))].append(file.path)
    known = candidates.source_ids
    return [
        _File(name, tuple(alike), tuple(source_id for path in alike for source_id in known.get(path, ())))
        for name, alike in paths.items()
    ]


def _train_split(config: TrainConfig, files: Sequence[_File]) -> Callable[[str], bool]:
    """Whether a file is for training; a splits file that is not there is refused when training is."""
    if config.splits is not None and config.splits.is_file():
        names = NameIndex(files)
        rows = (row.fields for row in read_csv(config.splits, COLUMNS))
        chosen = {match.video_id for row in rows if row["split"] == TRAIN for match in names.find_all(row["video"])}
        return chosen.__contains__
    stems = Counter(PurePosixPath(file.video_id).name for file in files)

    def is_kept(name: str) -> bool:
        stem = PurePosixPath(name).name
        video_id = stem if stems[stem] == 1 else name
        return holdout_split(video_id, config.holdout_fraction, config.holdout_seed) == TRAIN

    return is_kept
