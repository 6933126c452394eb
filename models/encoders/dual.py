"""VideoCLIP's encoder: two independent BERTs (or one for both), masked means, a raw dot product between them.

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), section 3.1. Attribute names follow the published
checkpoint (without its `mmmodel.` prefix).

Letters: B windows or captions, T clips of a window, D feature width, L tokens, E hidden width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from models.encoders.bert import build_bert
from models.encoders.config import DualConfig
from models.encoders.packed import Packed
from models.encoders.text import encode_captions, encode_packed_captions
from models.encoders.video import VideoTower


class TwoWayEncoder(nn.Module, ABC):
    """Encodes windows and captions into one space; vectors are not normalised.

    Attributes:
        config: Its sizes.
    """

    config: DualConfig

    @abstractmethod
    def encode_video(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows: (B, T, D) float and (B, T) bool -> (B, E) float.

        T is at most `max_video_len`; ValueError if a shape does not fit.
        """

    @abstractmethod
    def encode_video_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return one vector a clip: (B, T, D) float and (B, T) bool -> (B, T, E) float.

        `cls_visible=False` reproduces the published localisation heads, which mask [CLS] out.
        """

    def label_logits(self, states: Tensor) -> Tensor:
        """Return the head's logits of clip states: (..., E) float -> (..., K) float.

        Raises:
            ValueError: The encoder has no head.
        """
        raise ValueError("encoder: it has no head on clip states, expected a fine-tuned checkpoint that has one")

    @abstractmethod
    def encode_packed_video(self, windows: Packed) -> Tensor:
        """Encode windows without padding, as `encode_video` does: packed (N, D) float -> (B, E) float."""

    @abstractmethod
    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode captions `[CLS] w_1 .. w_n [SEP] [PAD] ..`: (B, L) int64 and bool -> (B, E) float."""

    @abstractmethod
    def encode_packed_text(self, captions: Packed) -> Tensor:
        """Encode captions without padding, as `encode_text` does: packed (N,) int64 ids -> (B, E) float."""

    @property
    @abstractmethod
    def feature_layer(self) -> nn.Linear:
        """The layer that reads features."""

    @abstractmethod
    def bert_towers(self) -> Sequence[tuple[nn.Module, int]]:
        """The BERTs that can start from a published one, and how many of its layers each takes."""


class TowerEncoder(TwoWayEncoder):
    """VideoCLIP's video tower; whose BERT reads captions is left open."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = VideoTower(config)

    def encode_video(self, features: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`: the mean over real clips and [SEP], without [CLS]."""
        return self.video_encoder.pool(self.video_encoder(features, mask), mask)

    def encode_video_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """See `TwoWayEncoder`."""
        states: Tensor = self.video_encoder(features, mask, cls_visible=cls_visible)
        return states[:, 1:-1]

    def label_logits(self, states: Tensor) -> Tensor:
        """See `TwoWayEncoder`."""
        if not self.config.num_labels:
            return super().label_logits(states)
        logits: Tensor = self.video_encoder.classifier(states)
        return logits

    def encode_packed_video(self, windows: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        return self.video_encoder.pool_packed(windows)

    @property
    def feature_layer(self) -> nn.Linear:
        """See `TwoWayEncoder`."""
        return self.video_encoder.videomlp.linear1

    def bert_towers(self) -> Sequence[tuple[nn.Module, int]]:
        """See `TwoWayEncoder`."""
        return [(self.video_encoder.bert, self.config.video_layers)]


class DualEncoder(TowerEncoder):
    """Captions have a BERT of their own."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__(config)
        self.text_encoder = build_bert(config, num_layers=config.text_layers)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`: the mean over words and the final [SEP], without [CLS]."""
        return encode_captions(self.text_encoder, ids, mask)

    def encode_packed_text(self, captions: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        return encode_packed_captions(self.text_encoder, captions)

    def bert_towers(self) -> Sequence[tuple[nn.Module, int]]:
        """See `TwoWayEncoder`."""
        return [*super().bert_towers(), (self.text_encoder, self.config.text_layers)]


class SharedEncoder(TowerEncoder):
    """VideoCLIP's ablation: the video tower's BERT reads captions, too, as token type 1 behind a window's positions.

    That captions have type 1 and later positions is published; that they begin right behind the window's [SEP] is our
    reading.
    """

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `TwoWayEncoder`: the mean over words and the final [SEP], without [CLS]."""
        return encode_captions(self.video_encoder.bert, ids, mask, token_type=1, first_position=self._behind_windows)

    def encode_packed_text(self, captions: Packed) -> Tensor:
        """See `TwoWayEncoder`."""
        bert, place = self.video_encoder.bert, self._behind_windows
        return encode_packed_captions(bert, captions, token_type=1, first_position=place)

    @property
    def _behind_windows(self) -> int:
        return self.config.max_video_len + 2
