"""An encoder fed in full batches of one size, so that the work's division changes no bit of a vector.

Letters: T feature rows of a window, D feature width, E joint width, W windows, N feature rows of a video.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoders.joint import JointEncoder
from stages.training.batches import pad_windows
from stages.training.choice import EncoderSettings
from stages.training.loop import fixed_arithmetic

Vectors = NDArray[np.float32]
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEncoder:
    """An encoder that is ready.

    Attributes:
        encoder: in eval mode.
        facts: which one it is: kind, sha256, seed, backbone, description, random_weights, normalised.
        max_rows: feature rows that a window may have; None for any number.
    """

    encoder: JointEncoder
    facts: Mapping[str, Any]
    max_rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Feature rows that are encoded together.

    Attributes:
        rows: (T, D) float32, damaged ones zeroed.
        real: (T,) bool, False where a row is damaged.
    """

    rows: Vectors
    real: NDArray[np.bool_]


def cut_window(features: Vectors, damaged: NDArray[np.bool_], start: int, end: int) -> Window:
    """Take rows [start, end) of a video, the damaged ones zeroed."""
    real = ~damaged[start:end]
    return Window(rows=np.where(real[:, None], features[start:end], np.float32(0)), real=real)


class BatchEncoder:
    """Windows and sentences to vectors; the windows of one call pad to the longest, so a call never mixes videos."""

    def __init__(self, encoder: JointEncoder, settings: EncoderSettings) -> None:
        self.encoder = encoder
        self._settings = settings

    def windows(self, windows: Sequence[Window]) -> Vectors:
        """Encode W windows -> (W, E)."""
        if not windows:
            return np.zeros((0, self.encoder.dim), np.float32)
        with fixed_arithmetic(self._settings.threads):
            found = [self.encoder.encode_windows(*batch) for batch in self._batches(windows)]
        return _first_rows(found, len(windows))

    def states(self, windows: Sequence[Window], *, cls_visible: bool = True) -> list[Vectors]:
        """Encode every row of W windows, as `JointEncoder.encode_states` says -> W arrays (T, E)."""
        if not windows:
            return []
        with fixed_arithmetic(self._settings.threads):
            found = [self.encoder.encode_states(*batch, cls_visible=cls_visible) for batch in self._batches(windows)]
        padded = _first_rows(found, len(windows))
        return [states[: len(window.real)] for states, window in zip(padded, windows, strict=True)]

    def label_logits(self, states: Vectors) -> Vectors:
        """Give the head's logits of N states -> (N, K); ValueError if the encoder has no head."""
        with fixed_arithmetic(self._settings.threads):
            return self.encoder.label_logits(torch.from_numpy(states)).float().numpy()

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Encode S sentences -> (S, E)."""
        if not texts:
            return np.zeros((0, self.encoder.dim), np.float32)
        encode: Callable[[Sequence[str]], Tensor] = self.encoder.encode_texts
        with fixed_arithmetic(self._settings.threads):
            found = [encode(batch) for batch in _full_batches(texts, self._settings.batch_texts)]
        return _first_rows(found, len(texts))

    def _batches(self, windows: Sequence[Window]) -> list[tuple[Tensor, Tensor]]:
        longest = max(len(window.real) for window in windows)
        return [_padded(batch, longest) for batch in _full_batches(windows, self._settings.batch_windows)]


def mean_states(
    num_rows: int, ranges: NDArray[np.int64], windows: Sequence[Window], states: Sequence[Vectors]
) -> Vectors:
    """Average the states of each row over the windows that it is real in.

    Args:
        num_rows: N.
        ranges: (W, 2) int64 half-open rows of each window.
        windows: W.
        states: W arrays (T, E).

    Returns:
        (N, E) float32; NaN where no window holds the row, or the row is damaged.
    """
    dim = states[0].shape[1] if states else 0
    total, count = np.zeros((num_rows, dim)), np.zeros(num_rows)
    for (start, end), window, found in zip(ranges.tolist(), windows, states, strict=True):
        total[start:end][window.real] += found[window.real]
        count[start:end] += window.real
    mean = np.full((num_rows, dim), np.nan, np.float32)
    np.divide(total, count[:, None], out=mean, where=count[:, None] > 0, casting="same_kind")
    return mean


def _padded(windows: Sequence[Window], longest: int) -> tuple[Tensor, Tensor]:
    features, mask = pad_windows([window.rows for window in windows], longest)
    for row, window in enumerate(windows):
        mask[row, : len(window.real)] = torch.from_numpy(window.real)
    return features, mask


def _full_batches(items: Sequence[ItemT], size: int) -> list[list[ItemT]]:
    """Cut into batches of one size; the last is filled up with its last item."""
    batches = [list(items[start : start + size]) for start in range(0, len(items), size)]
    batches[-1] += [batches[-1][-1]] * (size - len(batches[-1]))
    return batches


def _first_rows(found: Sequence[Tensor], count: int) -> Vectors:
    vectors: Vectors = torch.cat(list(found))[:count].float().numpy()
    return vectors
