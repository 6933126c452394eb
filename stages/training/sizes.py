"""Sizes of the encoder that is trained: settings only, so that planning is cheap."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from stages.contract import StageConfig

if TYPE_CHECKING:
    from models.encoders.config import DualConfig


class EncoderSizes(StageConfig):
    """Sizes of both towers; the defaults are VideoCLIP's. With `bert`, its own sizes stand instead where it has them.

    Attributes:
        hidden_size: width of the towers and of the joint space.
        num_heads: attention heads.
        intermediate_size: width of the feed-forward layers.
        video_layers: layers of the video tower.
        text_layers: layers of the text tower.
        vocab_size: word pieces that the tokenizer may learn.
        max_positions: rows of the position tables.
        max_video_len: feature rows in a window at most.
        max_text_len: word pieces in a text at most.
        dropout: while training.
        shared: one BERT of `video_layers` reads windows and texts (VideoCLIP's ablation).
    """

    hidden_size: int = Field(default=768, ge=1)
    num_heads: int = Field(default=12, ge=1)
    intermediate_size: int = Field(default=3072, ge=1)
    video_layers: int = Field(default=6, ge=1)
    text_layers: int = Field(default=12, ge=1)
    vocab_size: int = Field(default=30522, ge=100)
    max_positions: int = Field(default=512, ge=3)
    max_video_len: int = Field(default=32, ge=1)
    max_text_len: int = Field(default=61, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    shared: bool = False

    def to_config(self, **fixed: Any) -> "DualConfig":
        """Return the encoder's configuration.

        Args:
            fixed: what does not depend on settings: width of the features, whose they are, size of the vocabulary, and
                the ids of its special tokens.
        """
        from models.encoders.config import DualConfig

        return DualConfig(**self.model_dump(exclude={"vocab_size"}), **fixed)
