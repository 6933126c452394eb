"""Caption average, DTW, OTAM and Drop-DTW as tensor recurrences: the same scores as the compiled kernels.

DTW and Drop-DTW walk the anti-diagonals of all pairs of a tile at once, because every predecessor of a cell lies on the
two diagonals before; OTAM's middle cells need the column before alone, so its scan takes a column at a time. Ties are
broken as the plain references break them, by asking for less, not for as little.

Sources: as `dtw.py`, `otam.py`, `drop_dtw.py`, `caption_average.py`. Letters: B pairs, S sentences, N windows, R rows
and C columns of a cost matrix.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.alignment.sequences import F32, F64, Precision
from models.alignment.soft_diagonals import shear
from models.alignment.tensor_tiles import Tile, score_tiles

_Counted = tuple[Tensor, Tensor]
"""Totals, and how many cells or items they were paid for."""


def tensor_caption_average(
    texts: Sequence[F32], videos: Sequence[F32], *, device: torch.device, precision: Precision = "float64"
) -> F64:
    """As `caption_average_matrix`: P texts (S, E) and V videos (N, E) -> (P, V) float64."""
    return score_tiles(_caption_average, texts, videos, device=device, precision=precision)


def tensor_dtw(
    texts: Sequence[F32], videos: Sequence[F32], *, device: torch.device, precision: Precision = "float64"
) -> F64:
    """As `dtw_score_matrix`: P texts (S, E) and V videos (N, E) -> (P, V) float64."""
    return score_tiles(_dtw, texts, videos, device=device, precision=precision)


def tensor_otam(
    texts: Sequence[F32], videos: Sequence[F32], *, device: torch.device, precision: Precision = "float64"
) -> F64:
    """As `otam_score_matrix`: P texts (S, E) and V videos (N, E) -> (P, V) float64."""
    return score_tiles(_otam, texts, videos, device=device, precision=precision)


def tensor_drop_dtw(
    texts: Sequence[F32],
    videos: Sequence[F32],
    *,
    drop_clip: float,
    drop_sentence: float,
    device: torch.device,
    precision: Precision = "float64",
) -> F64:
    """As `drop_dtw_score_matrix`: P texts (S, E) and V videos (N, E) -> (P, V) float64.

    Raises:
        ValueError: a drop cost is not finite, or as the others.
    """
    prices = torch.tensor([drop_clip, drop_sentence])
    if not bool(prices.isfinite().all()):
        raise ValueError(f"drop costs: got {drop_clip} and {drop_sentence}, expected two finite numbers")
    score = partial(_drop_dtw, drop_clip=drop_clip, drop_sentence=drop_sentence)
    return score_tiles(score, texts, videos, device=device, precision=precision)


def _caption_average(tile: Tile) -> Tensor:
    _, num_sentences, num_windows = tile.similarity.shape
    device = tile.similarity.device
    shown = torch.arange(num_windows, device=device) < tile.num_windows[:, None]
    said = torch.arange(num_sentences, device=device) < tile.num_sentences[:, None]
    best = tile.similarity.masked_fill(~shown[:, None], -torch.inf).amax(dim=2)
    return best.masked_fill(~said, 0.0).sum(dim=1) / tile.num_sentences


def _dtw(tile: Tile) -> Tensor:
    """Walk the diagonals of the matrix; row 0 of each holds the border above the first sentence."""
    costs = shear(1.0 - tile.similarity, torch.inf)
    num_pairs, num_rows, num_diagonals = costs.shape
    blocked = costs.new_full((num_pairs, num_rows + 1), torch.inf)
    none = torch.zeros_like(blocked)
    last = (tile.num_sentences + tile.num_windows - 2)[:, None]
    own_row = (tile.num_sentences - 1)[:, None]
    score = costs.new_zeros(num_pairs, 1)
    corner = blocked.clone()
    corner[:, 0] = 0.0  # from here comes the first cell, and nothing else
    older, newer = (corner, none), (blocked, none)
    for t in range(num_diagonals):
        total, cells = _cheapest(
            (older[0][:, :-1], older[1][:, :-1]),
            (newer[0][:, :-1], newer[1][:, :-1]),
            (newer[0][:, 1:], newer[1][:, 1:]),
        )
        total, cells = total + costs[:, :, t], cells + 1.0
        score = torch.where(last == t, -total.gather(1, own_row) / cells.gather(1, own_row), score)
        older, newer = newer, (F.pad(total, (1, 0), value=torch.inf), F.pad(cells, (1, 0)))
    return score[:, 0]


def _otam(tile: Tile) -> Tensor:
    costs = 1.0 - tile.similarity
    forward = _one_way(costs, tile.num_sentences, tile.num_windows)
    backward = _one_way(costs.transpose(1, 2), tile.num_windows, tile.num_sentences)
    return -forward / tile.num_sentences - backward / tile.num_windows


def _one_way(costs: Tensor, num_rows: Tensor, num_columns: Tensor) -> Tensor:
    """Totals of one orientation: (B, R, C) -> (B,); the right zero column takes the least over a pair's own rows."""
    real = torch.arange(costs.shape[1], device=costs.device) < num_rows[:, None]
    column = [costs[:, 0, 0]]
    for row in range(1, costs.shape[1]):
        column.append(costs[:, row, 0] + column[-1].clamp(max=0.0))  # the left zero column lets a path begin anywhere
    totals = torch.stack(column, dim=1)
    found = totals.new_zeros(len(costs))
    for j in range(costs.shape[2]):
        if j:
            above = F.pad(totals[:, :-1], (1, 0), value=torch.inf)
            totals = costs[:, :, j] + torch.minimum(above, totals)
        found = torch.where(num_columns == j + 1, totals.masked_fill(~real, torch.inf).amin(dim=1), found)
    return found


def _drop_dtw(tile: Tile, *, drop_clip: float, drop_sentence: float) -> Tensor:
    """Walk the diagonals of the grid (S + 1, N + 1), whose first row and column mean that nothing was kept yet.

    Of a diagonal four tables matter, as `drop_dtw_reference` names them: `any`, `clip`, `sentence`, and `cell`, which
    only the others read.
    """
    costs = shear(F.pad(1.0 - tile.similarity, (1, 0, 1, 0), value=torch.inf), torch.inf)
    num_pairs, num_rows, num_diagonals = costs.shape
    blocked = costs.new_full((num_pairs, num_rows), torch.inf)
    none = torch.zeros_like(blocked)
    at_corner = blocked.clone()
    at_corner[:, 0] = 0.0
    last, own_row = (tile.num_sentences + tile.num_windows)[:, None], tile.num_sentences[:, None]
    score = costs.new_zeros(num_pairs, 1)
    older_any, any_, clip, sentence = (blocked, none), (at_corner, none), (blocked, none), (blocked, none)
    for t in range(1, num_diagonals):
        total, items = _cheapest(_from_above(older_any), _from_above(clip), sentence)
        cell = total + costs[:, :, t], items + 1.0
        clip_here = _cheapest(cell, _dropped(_from_above(clip), drop_sentence))
        sentence_here = _cheapest(cell, _dropped(sentence, drop_clip))
        best = _cheapest(cell, _dropped(any_, drop_clip), _dropped(_from_above(any_), drop_sentence))
        score = torch.where(last == t, -best[0].gather(1, own_row) / best[1].gather(1, own_row), score)
        older_any, any_, clip, sentence = any_, best, clip_here, sentence_here
    return score[:, 0]


def _cheapest(first: _Counted, *others: _Counted) -> _Counted:
    """The cheapest of several ways, the first of equals."""
    total, count = first
    for other, other_count in others:
        cheaper = other < total
        total, count = torch.where(cheaper, other, total), torch.where(cheaper, other_count, count)
    return total, count


def _dropped(way: _Counted, price: float) -> _Counted:
    return way[0] + price, way[1] + 1.0


def _from_above(way: _Counted) -> _Counted:
    """The same diagonal seen from one row further down."""
    return F.pad(way[0][:, :-1], (1, 0), value=torch.inf), F.pad(way[1][:, :-1], (1, 0))
