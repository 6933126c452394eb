"""Scores of all texts against all videos as batched tensors, tile by tile: what a card runs.

Texts and videos are sorted by length and cut into tiles, so that little is padded and no more than a tile of costs
stands at a time. Nothing that is padded reaches a real cell: paths only go forward, and every pair's value is read at
its own last cell.

Letters: P texts, V videos, B pairs of a tile, S sentences and N windows of its longest, E joint width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.alignment.sequences import F32, F64, I64, Precision, lengths_of, unit_rows

_TILE_CELLS = 1 << 24
"""Cells of one tile at most, but at least one pair: 128 MiB of float64 for each table that a recurrence keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Pairs that are scored together.

    Attributes:
        similarity: (B, S, N) float64 cosines; anything where a sequence has ended.
        num_sentences: (B,) int64.
        num_windows: (B,) int64.
    """

    similarity: Tensor
    num_sentences: Tensor
    num_windows: Tensor


ScoreTile = Callable[[Tile], Tensor]
"""Gives (B,) float64, greater is better."""


def score_tiles(
    score: ScoreTile, texts: Sequence[F32], videos: Sequence[F32], *, device: torch.device, precision: Precision
) -> F64:
    """Score every text against every video.

    Args:
        score: Of the pairs of a tile.
        texts: P arrays (S, E), S at least 1.
        videos: V arrays (N, E), N at least 1.
        device: Where to compute.
        precision: Of the matrix product; everything after it is float64.

    Returns:
        (P, V) float64.

    Raises:
        ValueError: a sequence is empty or has another width, or holds NaN or infinity.
    """
    scores = np.empty((len(texts), len(videos)))
    if not texts or not videos:
        return scores
    lengths_of([*texts, *videos])
    dtype = torch.float64 if precision == "float64" else torch.float32
    text_lengths, video_lengths = lengths_of(texts), lengths_of(videos)
    columns = [
        (places, *_padded(videos, places, device, dtype)) for places in _runs(video_lengths, int(text_lengths.max()))
    ]
    widest = max(rows.shape[0] * rows.shape[1] for _, rows, _ in columns)
    for places in _runs(text_lengths, widest):
        rows, num_sentences = _padded(texts, places, device, dtype)
        for others, video_rows, num_windows in columns:
            cosines = torch.einsum("pse,vne->pvsn", rows, video_rows).double()
            tile = Tile(
                similarity=cosines.flatten(0, 1),
                num_sentences=num_sentences.repeat_interleave(len(others)),
                num_windows=num_windows.repeat(len(places)),
            )
            found = score(tile).view(len(places), len(others)).cpu().numpy()
            scores[np.ix_(places, others)] = found
    return scores


def _runs(lengths: I64, cells_per_row: int) -> Iterator[I64]:
    """Positions in ascending order of length, in runs whose padded size times `cells_per_row` makes a tile."""
    order = np.argsort(lengths, kind="stable")
    first = 0
    for last in range(1, len(order) + 1):
        is_last = last == len(order)
        if is_last or (last + 1 - first) * int(lengths[order[last]]) * cells_per_row > _TILE_CELLS:
            yield order[first:last]
            first = last


def _padded(sequences: Sequence[F32], places: I64, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Unit rows of some sequences, zero behind each one's end (n, L, E), and their lengths (n,) int64."""
    units = [torch.from_numpy(unit_rows(sequences[place])).to(dtype) for place in places]
    lengths = torch.tensor([len(unit) for unit in units])
    return torch.nn.utils.rnn.pad_sequence(units, batch_first=True).to(device), lengths.to(device)
