"""Which videos make a batch, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from stages.errors import ConfigError
from stages.training.sampling import sample_generator

SHUFFLE = "/order"
"""Name of the draw of an epoch's order; no video can have it."""


class EpochLayout(Protocol):
    """Batches of video ids."""

    @property
    def batches_per_epoch(self) -> int:
        """The same in every epoch."""

    def begin_epoch(self, epoch: int) -> None:
        """Lay out an epoch, counted from 0."""

    def batch(self, place: int) -> Sequence[str]:
        """Return the videos of a batch of the current epoch."""

    def state(self) -> Mapping[str, Any]:
        """What of the current epoch does not follow from its number, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; empty means nothing."""


def epoch_order(video_ids: Sequence[str], *, seed: int, epoch: int) -> list[str]:
    """Return the videos shuffled for an epoch; the order in which they are given does not matter."""
    generator = sample_generator(seed, epoch, SHUFFLE, 0)
    ordered = sorted(video_ids)
    return [ordered[i] for i in generator.permutation(len(ordered))]


class ShuffledLayout:
    """Each video once an epoch, in a seeded order; those that do not fill the last batches wait for another one."""

    def __init__(self, video_ids: Sequence[str], batch_videos: int, *, multiple: int, seed: int) -> None:
        """Keep the videos.

        Args:
            video_ids: all of them.
            batch_videos: videos a batch.
            multiple: an epoch has a multiple of so many batches, so that it ends with an update.
            seed: of the order.

        Raises:
            ConfigError: there are fewer videos than one update takes.
        """
        self._video_ids, self._batch_videos, self._seed = tuple(video_ids), batch_videos, seed
        self._num_batches = num_batches(len(video_ids), batch_videos, multiple)
        self._order: Sequence[str] = ()

    @property
    def batches_per_epoch(self) -> int:
        """See `EpochLayout`."""
        return self._num_batches

    def begin_epoch(self, epoch: int) -> None:
        """See `EpochLayout`."""
        self._order = epoch_order(self._video_ids, seed=self._seed, epoch=epoch)

    def batch(self, place: int) -> Sequence[str]:
        """See `EpochLayout`."""
        return self._order[place * self._batch_videos : (place + 1) * self._batch_videos]

    def state(self) -> Mapping[str, Any]:
        """All follows from the epoch's number."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is nothing to take back."""


def num_batches(num_videos: int, batch_videos: int, multiple: int) -> int:
    """Full batches of an epoch, a multiple of `multiple`.

    Raises:
        ConfigError: there is none.
    """
    found = num_videos // batch_videos // multiple * multiple
    if not found:
        raise ConfigError(
            f"train: {num_videos} videos can be trained on, but an update takes {batch_videos} times {multiple} "
            "(batch_videos, accumulate); lower one of them, or add videos to the train split"
        )
    return found
