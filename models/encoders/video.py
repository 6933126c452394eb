"""VideoCLIP's video tower: frozen features -> token MLP -> BERT.

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), section 3.1, and the released code.

Letters: B windows, T clips of a window, D feature width, E hidden width; N clips of packed windows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.bert import build_bert, masked_mean, run_bert, run_packed
from models.encoders.config import DualConfig
from models.encoders.few_words import FewWords
from models.encoders.packed import Packed, mean_without_first, runs_of, views


class VideoTokenMLP(nn.Module):
    """Features to tokens: linear, GELU, layer norm (eps 1e-5, after the activation), linear."""

    def __init__(self, feature_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(feature_dim, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=1e-5)
        self.linear2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, E)."""
        tokens: Tensor = self.linear2(self.LayerNorm(F.gelu(self.linear1(features))))
        return tokens


class VideoTower(nn.Module):
    """`[CLS] clip_1 .. clip_T [SEP]`; the [SEP] keeps the position after the longest window, however short this one."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = config
        self.videomlp = VideoTokenMLP(config.feature_dim, config.hidden_size)
        self.bert = build_bert(config, num_layers=config.video_layers)
        if not config.shared:  # else captions are read by the same BERT
            words = self.bert.get_input_embeddings()  # type: ignore[operator]
            self.bert.set_input_embeddings(FewWords(words, (config.cls_id, config.sep_id)))  # type: ignore[operator]
        if config.num_labels:
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return the hidden states of [CLS], every clip and [SEP].

        Args:
            features: (B, T, D) float, T <= `max_video_len`.
            mask: (B, T) bool, True where a clip is real.
            cls_visible: Whether [CLS] may be attended to; False reproduces the published localisation heads.

        Returns:
            (B, T + 2, E) float.

        Raises:
            ValueError: A shape does not fit.
        """
        self._check(features, mask)
        batch, length = mask.shape
        ends = self._ends().expand(batch, 2, -1)
        tokens = torch.cat([ends[:, :1], self.videomlp(features), ends[:, 1:]], dim=1)
        first = torch.full((batch, 1), cls_visible, device=mask.device)
        visible = torch.cat([first, mask, torch.ones_like(first)], dim=1)
        positions = torch.arange(length + 2, device=features.device)
        positions[-1] = self.config.max_video_len + 1
        return run_bert(self.bert, tokens, visible, positions[None])

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Average the states of real clips and [SEP]: (B, T + 2, E) float, (B, T) bool -> (B, E) float."""
        sep = torch.ones_like(mask[:, :1])
        return masked_mean(states[:, 1:], torch.cat([mask, sep], dim=1))

    def pool_packed(self, windows: Packed) -> Tensor:
        """Encode windows without padding and average real clips and [SEP]: (N, D) packed -> (B, E) float."""
        clips = self.videomlp(windows.values)
        ends, framed, positions = self._ends(), [], []
        for run in views(clips, windows.runs()):
            num, length = run.shape[:2]
            sides = ends.to(run.dtype).expand(num, 2, -1)
            framed.append(torch.cat((sides[:, :1], run, sides[:, 1:]), dim=1).flatten(0, 1))
            place = torch.arange(length + 2, device=run.device)
            place[-1] = self.config.max_video_len + 1
            positions.append(place.repeat(num))
        runs = runs_of([length + 2 for length in windows.lengths])
        states = run_packed(self.bert, torch.cat(framed), runs, torch.cat(positions))
        return mean_without_first(states, runs)[windows.places]

    def _ends(self) -> Tensor:
        """Word vectors of [CLS] and [SEP]: (2, E)."""
        words = self.bert.get_input_embeddings()  # type: ignore[operator]
        ids = torch.tensor([self.config.cls_id, self.config.sep_id], device=self.videomlp.linear1.weight.device)
        ends: Tensor = words(ids)
        return ends

    def _check(self, features: Tensor, mask: Tensor) -> None:
        longest, width = self.config.max_video_len, self.config.feature_dim
        shape = tuple(features.shape)
        if len(shape) != 3 or shape[2] != width or shape[1] > longest:
            raise ValueError(f"video tower: got features of shape {shape}, expected (B, T <= {longest}, {width})")
        if mask.dtype != torch.bool or mask.shape != shape[:2]:
            raise ValueError(f"video tower: got mask {mask.dtype} {tuple(mask.shape)}, expected bool {shape[:2]}")
