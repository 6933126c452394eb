"""VideoCLIP's encoder: two independent BERTs (or one for both), masked means, a raw dot product between them.

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), section 3.1. Attribute names follow the published
checkpoint (without its `mmmodel.` prefix).

Letters: B windows or captions, T clips of a window, D feature width, L tokens, E hidden width.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.backbones.initialise import fill_normal
from models.encoders.bert import build_bert
from models.encoders.config import DualConfig
from models.encoders.packed import Packed
from models.encoders.text import encode_captions, encode_packed_captions
from models.encoders.video import VideoTower


class TwoWayEncoder(nn.Module, ABC):
    """A video tower, and a BERT that reads captions; vectors are not normalised."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = VideoTower(config)

    def encode_video(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows: (B, T, D) float and (B, T) bool -> (B, E) float.

        The mean over real clips and [SEP], without [CLS]. T is at most `max_video_len`; ValueError if a shape does
        not fit.
        """
        return self.video_encoder.pool(self.video_encoder(features, mask), mask)

    def encode_video_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return one vector a clip: (B, T, D) float and (B, T) bool -> (B, T, E) float.

        `cls_visible=False` reproduces the published localisation heads, which mask [CLS] out.
        """
        states: Tensor = self.video_encoder(features, mask, cls_visible=cls_visible)
        return states[:, 1:-1]

    def label_logits(self, states: Tensor) -> Tensor:
        """Return the head's logits of clip states: (..., E) float -> (..., K) float.

        Raises:
            ValueError: The encoder has no head.
        """
        if not self.config.num_labels:
            raise ValueError("encoder: it has no head on clip states, expected a fine-tuned checkpoint that has one")
        logits: Tensor = self.video_encoder.classifier(states)
        return logits

    def encode_packed_video(self, windows: Packed) -> Tensor:
        """Encode windows without padding, as `encode_video` does: packed (N, D) float -> (B, E) float."""
        return self.video_encoder.pool_packed(windows)

    @abstractmethod
    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode captions `[CLS] w_1 .. w_n [SEP] [PAD] ..`: (B, L) int64 and bool -> (B, E) float."""

    @abstractmethod
    def encode_packed_text(self, captions: Packed) -> Tensor:
        """Encode captions without padding, as `encode_text` does: packed (N,) int64 ids -> (B, E) float."""


class DualEncoder(TwoWayEncoder):
    """Captions have a BERT of their own."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__(config)
        self.text_encoder = build_bert(config, num_layers=config.text_layers)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`."""
        return encode_captions(self.text_encoder, ids, mask)

    def encode_packed_text(self, captions: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        return encode_packed_captions(self.text_encoder, captions)


class SharedEncoder(TwoWayEncoder):
    """VideoCLIP's ablation: the video tower's BERT reads captions, too, as token type 1 behind a window's positions.

    That captions have type 1 and later positions is published; that they begin right behind the window's [SEP] is our
    reading.
    """

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`."""
        return encode_captions(self.video_encoder.bert, ids, mask, token_type=1, first_position=self._behind_windows)

    def encode_packed_text(self, captions: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        bert, place = self.video_encoder.bert, self._behind_windows
        return encode_packed_captions(bert, captions, token_type=1, first_position=place)

    @property
    def _behind_windows(self) -> int:
        return self.config.max_video_len + 2


def build_encoder(config: DualConfig) -> TwoWayEncoder:
    """Return an untrained encoder of these sizes: two towers, or one for both if `config.shared`."""
    return SharedEncoder(config) if config.shared else DualEncoder(config)


def random_dual(config: DualConfig, seed: int) -> TwoWayEncoder:
    """Return an encoder with BERT's initialisation: normal(0, 0.02), biases 0, norms 1.

    Each tensor draws from a generator seeded by its name and `seed`, so the weights are the same everywhere.
    """
    encoder = build_encoder(config)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim > 1:
                fill_normal(parameter, 0.02, name=name, seed=seed)
            else:
                parameter.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
    return encoder.eval()
