"""Pairs to tensors: what a step trains on, as a pure function of the step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.errors import ConfigError
from stages.training.dataset import TrainingVideo
from stages.training.sampling import OverlapSampling, epoch_order, sample_generator, sample_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """P pairs of a window and a text; T and L are the longest of the batch.

    Attributes:
        features: (P, T, D) float32, zero where padded.
        feature_mask: (P, T) bool, True where a row is real.
        token_mask: (P, L) bool, True where a token is real.
    """

    features: Tensor
    feature_mask: Tensor
    tokens: Tensor
    token_mask: Tensor

    def to(self, device: torch.device) -> "PairBatch":
        """Return the batch with its tensors on a device."""
        return PairBatch(
            features=self.features.to(device, non_blocking=True),
            feature_mask=self.feature_mask.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            token_mask=self.token_mask.to(device, non_blocking=True),
        )


FrameTokens = Callable[[Sequence[Sequence[int]]], tuple[Tensor, Tensor]]
"""Puts special tokens and padding around ids: gives (P, L) int64 and (P, L) bool."""


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


def collate(
    windows: Sequence[NDArray[np.floating]], texts: Sequence[NDArray[np.int64]], frame: FrameTokens
) -> PairBatch:
    """Pad windows and texts to the longest of the batch.

    Args:
        windows: P arrays (T_i, D) of feature rows.
        texts: P arrays (L_i,) of token ids.
        frame: the tokenizer's.
    """
    features, feature_mask = pad_windows(windows, max(map(len, windows)))
    tokens, token_mask = frame([text.tolist() for text in texts])
    return PairBatch(features=features, feature_mask=feature_mask, tokens=tokens, token_mask=token_mask)


class PairSource:
    """Batches of VideoCLIP: `batch_videos` videos in the epoch's order, `draws_per_video` pairs of each.

    The videos that do not fill the last batch of an epoch wait for another one.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        settings: OverlapSampling,
        frame: FrameTokens,
        *,
        batch_videos: int,
        seed: int,
    ) -> None:
        """Keep the videos.

        Args:
            videos: what can be drawn from.
            settings: the numbers of the sampler.
            frame: the tokenizer's.
            batch_videos: videos a batch.
            seed: the run's seed.

        Raises:
            ConfigError: there are fewer videos than a batch has.
        """
        if len(videos) < batch_videos:
            raise ConfigError(
                f"train: {len(videos)} videos have both features and a usable narration, but a batch takes "
                f"{batch_videos}; lower train.batch_videos or add narrated videos to the train split"
            )
        self._videos = {video.video_id: video for video in videos}
        self._settings = settings
        self._frame = frame
        self._batch_videos = batch_videos
        self._seed = seed
        self._epoch = -1
        self._order: list[str] = []

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in one pass over the videos."""
        return len(self._videos) // self._batch_videos

    def batch(self, step: int) -> PairBatch:
        """Return the batch of a step."""
        epoch, index = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(list(self._videos), seed=self._seed, epoch=epoch)
        chosen = self._order[index * self._batch_videos : (index + 1) * self._batch_videos]
        windows: list[NDArray[np.floating]] = []
        texts: list[NDArray[np.int64]] = []
        for video_id in chosen:
            self._draw(self._videos[video_id], epoch, windows, texts)
        return collate(windows, texts, self._frame)

    def _draw(
        self, video: TrainingVideo, epoch: int, windows: list[NDArray[np.floating]], texts: list[NDArray[np.int64]]
    ) -> None:
        """Append one video's pairs; its features are mapped once."""
        features = video.entry.map_features()
        for draw in range(self._settings.draws_per_video):
            generator = sample_generator(self._seed, epoch, video.video_id, draw)
            pair = sample_pair(video.captions, video.usable, video.spans, video.damaged, self._settings, generator)
            windows.append(features[pair.start_row : pair.end_row])
            texts.append(pair.tokens)
