"""Pairs to tensors: what a step trains on, as a pure function of its number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoders.packed import Packed, pack
from stages.errors import ConfigError
from stages.training.dataset import TrainingVideo
from stages.training.layout import EpochLayout
from stages.training.sampling import OverlapSampling, PairSample, sample_generator, sample_pair
from stages.training.source import LaidOutSource
from stages.training.team import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """P pairs of a window and a text, without padding.

    Attributes:
        windows: packed (N, D) float32 feature rows.
        texts: packed (N,) int64 ids with [CLS] and [SEP].
    """

    windows: Packed
    texts: Packed

    def to(self, device: torch.device) -> "PairBatch":
        """Return the batch with its tensors on a device."""
        return PairBatch(windows=self.windows.to(device), texts=self.texts.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One pair, before its features are read."""

    video: TrainingVideo
    pair: PairSample


FrameTokens = Callable[[Sequence[int]], list[int]]
"""Puts special tokens around the ids of a text."""

BatchT = TypeVar("BatchT")
Assemble = Callable[[int, Sequence[Draw], Part], BatchT]
"""Makes the part of a batch that a process trains on, of the batch's number and all its draws."""


def pad_windows(windows: Sequence[NDArray[np.floating]], length: int) -> tuple[Tensor, Tensor]:
    """Pad windows with zeros.

    Args:
        windows: P arrays (T_i, D) of feature rows, T_i <= length.
        length: T.

    Returns:
        (P, T, D) float32, and (P, T) bool, True where a row is real.
    """
    features = np.zeros((len(windows), length, windows[0].shape[1]), dtype=np.float32)
    mask = np.zeros(features.shape[:2], dtype=bool)
    for row, window in enumerate(windows):
        features[row, : len(window)] = window
        mask[row, : len(window)] = True
    return torch.from_numpy(features), torch.from_numpy(mask)


def read_windows(draws: Sequence[Draw]) -> list[Tensor]:
    """Return the feature rows of draws, (T_i, D) float32 each; a run of draws of one video maps it once."""
    windows: list[Tensor] = []
    mapped: tuple[str, NDArray[Any]] | None = None
    for draw in draws:
        if mapped is None or mapped[0] != draw.video.video_id:
            mapped = draw.video.video_id, draw.video.entry.map_features()
        rows = mapped[1][draw.pair.start_row : draw.pair.end_row]
        windows.append(torch.from_numpy(rows.astype(np.float32)))
    return windows


def collate(draws: Sequence[Draw], frame: FrameTokens) -> PairBatch:
    """Read the features of pairs and lay both sides end to end."""
    texts = [torch.tensor(frame(draw.pair.tokens.tolist())) for draw in draws]
    return PairBatch(windows=pack(read_windows(draws)), texts=pack(texts))


class PairSource(LaidOutSource[BatchT]):
    """Batches of pairs: which videos a batch has is the layout's matter, which pairs of them the sampler's."""

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        settings: OverlapSampling,
        layout: EpochLayout,
        assemble: Assemble[BatchT],
        *,
        seed: int,
    ) -> None:
        """Keep the videos.

        Args:
            videos: what can be drawn from.
            settings: the numbers of the sampler.
            layout: which videos make a batch.
            assemble: makes a batch of pairs.
            seed: the run's seed.
        """
        super().__init__(layout)
        self._videos = {video.video_id: video for video in videos}
        self._settings, self._assemble, self._seed = settings, assemble, seed

    def batch(self, index: int, part: Part) -> BatchT:
        """See `BatchSource`.

        Raises:
            ConfigError: there are more parts than pairs.
        """
        draws = self.draw(index)
        if len(draws) < part.size:
            raise ConfigError(
                f"train: batch {index} has {len(draws)} pairs, which {part.size} workers cannot divide; raise "
                "batch_videos or draws_per_video, or use fewer workers"
            )
        return self._assemble(index, draws, part)

    def draw(self, index: int) -> list[Draw]:
        """Draw the pairs of a batch of the current epoch: those of one video stand together."""
        videos = [self._videos[video_id] for video_id in self._names(index)]
        return draw_pairs(videos, self._settings, seed=self._seed, index=index)


def draw_pairs(videos: Sequence[TrainingVideo], settings: OverlapSampling, *, seed: int, index: int) -> list[Draw]:
    """Draw `settings.draws_per_video` pairs of each video; the same arguments give the same pairs."""
    return [
        Draw(
            video=video,
            pair=sample_pair(
                video.captions,
                video.usable,
                video.spans,
                video.damaged,
                settings,
                sample_generator(seed, index, video.video_id, number),
            ),
        )
        for video in videos
        for number in range(settings.draws_per_video)
    ]
