"""Which of the run's own videos are measured, and where that comes from, in words. Planning calls it: no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.artifacts.hashing import hash_file
from stages.artifacts.manifest import Video
from stages.contract import StageConfig
from stages.datasets.splits import TEST, holdout_split, read_splits
from stages.errors import ConfigError
from stages.training.choice import EncoderChoice
from stages.training.trained_on import read_trained_on

_HASH_DIGITS = 12


class OwnSplitConfig(StageConfig):
    """Which of the run's own videos are measured.

    Attributes:
        splits: CSV `video,split,pair`; without one, videos are held out by a hash of their ids.
        split: the split that is measured.
        holdout_fraction: share of videos held out without a splits file; training must be given the same.
        holdout_seed: another seed holds out others; training must be given the same.
    """

    splits: Path | None = None
    split: Literal["test", "val"] = "test"
    holdout_fraction: float = Field(default=0.2, ge=0, le=1)
    holdout_seed: int = Field(default=0, ge=0)


def check_split(config: OwnSplitConfig) -> None:
    """Refuse a splits file that is not there, and a split that only such a file has.

    Raises:
        ConfigError: it is so.
    """
    if config.splits is None and config.split != TEST:
        raise ConfigError(
            f"[evaluate] split = {config.split!r} needs a splits file: without one there is only 'test'; "
            "set splits, or leave split away"
        )
    if config.splits is not None and not config.splits.is_file():
        raise ConfigError(
            f"[evaluate] splits = {config.splits}: there is no such file; expected a CSV video,split,pair"
        )


def choose_videos(config: OwnSplitConfig, videos: Sequence[Video]) -> dict[str, Any]:
    """Return the split's videos and pairs, and where they come from: `video_ids`, `pairs`, `source`.

    Raises:
        ConfigError: the splits file is not there or wrong, or a split is asked for that only such a file has.
    """
    check_split(config)
    if config.splits is None:
        return _hold_out(config, videos)
    path, split = config.splits, config.split
    splits = read_splits(path, videos)
    video_ids = splits.video_ids(split)
    source = f"{path.name} (xxh3 {hash_file(path)[:_HASH_DIGITS]}) names {len(video_ids)} videos for {split}"
    if splits.absent:
        source += f"; {len(splits.absent)} of its rows name no video of the corpus"
    if splits.without_split:
        source += f"; {len(splits.without_split)} videos of the corpus are in no split"
    members = set(video_ids)
    pairs = {name: list(ids) for name, ids in splits.pairs.items() if members.issuperset(ids)}
    return {"video_ids": list(video_ids), "pairs": pairs, "source": source}


def given_training(encoder: EncoderChoice) -> dict[str, Any]:
    """Return which videos a given checkpoint was trained on, as `trained_on`; None without such a checkpoint."""
    given = Path(encoder.path) if encoder.kind == "dual" and encoder.path else None
    return {"trained_on": given and read_trained_on(given)}


def _hold_out(config: OwnSplitConfig, videos: Sequence[Video]) -> dict[str, Any]:
    fraction, seed = config.holdout_fraction, config.holdout_seed
    held = [video.video_id for video in videos if holdout_split(video.video_id, fraction, seed) == TEST]
    source = f"no splits file: {len(held)} of {len(videos)} videos held out by a hash of their ids (seed {seed})"
    return {"video_ids": held, "pairs": {}, "source": source}
