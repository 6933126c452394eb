"""TACo's encoder: self-attention over features, a BERT over words, and layers that read both together.

Source: Yang et al., "TACo", ICCV 2021 (arXiv:2108.09980), section 3 (papers.md 5.1); there is no official code. What
the paper leaves open: the video encoder is one linear layer and plain BERT layers, without positions or a norm of its
own; the fusion counts positions from 0 in each of the two sides, which token types tell apart, and normalises the sum.

Letters: B texts, L their tokens, V windows, T their clips, D feature width, E hidden width, N tokens of packed
sequences, P pairs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoders.bert import build_bert, build_layers, masked_mean, run_layers
from models.encoders.config import FusionConfig
from models.encoders.dropout import Dropout
from models.encoders.dual import TwoWayEncoder
from models.encoders.packed import Packed, pack, runs_of, unpack, views
from models.encoders.text import packed_caption_states


class FusionLayers(nn.Module):
    """Scores how well a text and a window go together, from the states of both: w . z_cls."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.token_type_embeddings = nn.Embedding(2, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_positions, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.encoder = build_layers(config, num_layers=config.fusion_layers)
        self.score = nn.Linear(config.hidden_size, 1)

    def forward(self, text: Tensor, video: Tensor, lengths: tuple[Tensor, Tensor], pairs: Tensor) -> Tensor:
        """Score pairs.

        Args:
            text: (B, L, E) float, states of texts, [CLS] first.
            video: (V, T, E) float, states of windows.
            lengths: (B,) and (V,) int64, how many of these are real, at least 1.
            pairs: (P, 2) int64, rows of `text` and of `video`.

        Returns:
            (P,) float.
        """
        if not len(pairs):
            return text.new_zeros(0)
        rows, order, total = _fused_rows(lengths, pairs, text.shape[1], len(text) * text.shape[1], video.shape[1])
        source, kind, place = (each.to(text.device) for each in rows.unbind(dim=1))
        states = torch.cat((text.flatten(0, 1), video.flatten(0, 1)))[source]
        summed = states + self.token_type_embeddings(kind) + self.position_embeddings(place)
        runs = runs_of(total)
        fused = run_layers(self.encoder, self.dropout(self.LayerNorm(summed)), runs)
        firsts = torch.cat([run[:, 0] for run in views(fused, runs)])
        scores: Tensor = self.score(firsts)[:, 0]
        return scores[order.to(text.device)]


class TACoEncoder(TwoWayEncoder):
    """A window is the mean of its clips' states, a text its [CLS]; `fusion` scores pairs of both."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config: FusionConfig = config
        self.projection = nn.Linear(config.feature_dim, config.hidden_size)
        self.video_encoder = build_layers(config, num_layers=config.video_layers)
        self.text_encoder = build_bert(config, num_layers=config.text_layers)
        self.fusion = FusionLayers(config)

    def window_states(self, windows: Packed) -> Tensor:
        """One state a clip: packed (N, D) float -> (N, E) float, laid out as they are."""
        return run_layers(self.video_encoder, self.projection(windows.values), windows.runs())

    def text_states(self, captions: Packed) -> Tensor:
        """One state a token: packed (N,) int64 ids `[CLS] w_1 .. w_n [SEP]` -> (N, E) float, laid out as they are."""
        return packed_caption_states(self.text_encoder, captions)

    def encode_video(self, features: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`."""
        if features.ndim != 3 or features.shape[2] != self.config.feature_dim or mask.shape != features.shape[:2]:
            got, expected = (tuple(features.shape), tuple(mask.shape)), self.config.feature_dim
            raise ValueError(f"TACo: got features and mask of shapes {got}, expected (B, T, {expected}) and (B, T)")
        return masked_mean(self.encode_video_states(features, mask), mask)

    def encode_video_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """See `TwoWayEncoder`; there is no [CLS] that could be seen."""
        placed = features.new_zeros(*mask.shape, self.config.hidden_size)
        if not mask.any():
            return placed
        windows = pack([rows[real] for rows, real in zip(features, mask, strict=True) if real.any()])
        states, real = unpack(self.window_states(windows), windows)
        placed = placed.to(states.dtype)
        placed[mask] = states[real]
        return placed

    def encode_packed_video(self, windows: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        states = self.window_states(windows)
        return torch.cat([run.mean(dim=1) for run in views(states, windows.runs())])[windows.places]

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`."""
        return self.encode_packed_text(pack([row[real] for row, real in zip(ids, mask, strict=True)]))

    def encode_packed_text(self, captions: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        states = self.text_states(captions)
        return torch.cat([run[:, 0] for run in views(states, captions.runs())])[captions.places]

    @property
    def feature_layer(self) -> nn.Linear:
        """See `TwoWayEncoder`."""
        return self.projection

    def bert_towers(self) -> Sequence[tuple[nn.Module, int]]:
        """See `TwoWayEncoder`."""
        return [(self.text_encoder, self.config.text_layers)]


def _fused_rows(
    lengths: tuple[Tensor, Tensor], pairs: Tensor, text_width: int, first_video: int, video_width: int
) -> tuple[Tensor, Tensor, list[int]]:
    """Lay pairs end to end, the shortest first.

    Args:
        lengths: of texts and windows.
        pairs: (P, 2).
        text_width: L.
        first_video: row of the first window's first state, behind all texts.
        video_width: T.

    Returns:
        (N, 3) int64: of each token its row among all states, its type and its position; (P,) int64, where each pair
        stands among those laid out; and the lengths of these.
    """
    texts, videos = (side.cpu().numpy()[rows] for side, rows in zip(lengths, pairs.cpu().numpy().T, strict=True))
    starts = pairs.cpu().numpy() * (text_width, video_width) + (0, first_video)
    order = np.argsort(texts + videos, kind="stable")
    longest = np.arange(max(texts.max(), videos.max()))
    blocks: list[NDArray[np.int64]] = []
    for pair in order:
        for kind, length in enumerate((texts[pair], videos[pair])):
            steps = longest[:length]
            blocks.append(np.stack((starts[pair, kind] + steps, np.full(length, kind), steps), axis=1))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return (
        torch.from_numpy(np.concatenate(blocks)),
        torch.from_numpy(places),
        [int(length) for length in (texts + videos)[order]],
    )
