"""The model card of a two-tower encoder."""

from collections.abc import Mapping
from typing import Any

from models.backbones.model_card import ModelCard
from models.encoders.config import FusionConfig
from models.encoders.dual import TwoWayEncoder

SNIPPET = """
import torch
from models.encoders.joint import EncoderSpec, open_encoder

encoder = open_encoder(EncoderSpec(kind="dual", path=folder))
texts = encoder.encode_texts(["a red square spins"])
windows = encoder.encode_windows(torch.zeros(1, 8, encoder.feature_dim), torch.ones(1, 8, dtype=torch.bool))
print(texts @ windows.T)
"""

_NAMES = (
    "The tensors of `model.safetensors` carry the published names, without VideoCLIP's prefix `mmmodel.`; "
    "`encoder.json` holds the sizes, `tokenizer.json` opens with the library tokenizers."
)


def encoder_card(encoder: TwoWayEncoder, training: Mapping[str, Any]) -> ModelCard:
    """Describe an encoder.

    Args:
        encoder: whose sizes are told.
        training: facts of how it came to be.
    """
    config = encoder.config
    summary = (
        f"Reads windows of at most {config.max_video_len} features ({config.backbone}, {config.feature_dim} components "
        f"each) and captions of at most {config.max_text_len} word pieces, and puts both into one space of "
        f"{config.hidden_size} dimensions; a product of two vectors says how well they fit."
    )
    if isinstance(config, FusionConfig):
        summary += " Its fusion reads a caption and a window together; `fusion.json` says how such pairs are scored."
    return ModelCard(
        title="An encoder of video windows and captions",
        summary=summary,
        sizes=config.to_json(),
        training=training,
        snippet=SNIPPET,
        names=_NAMES,
    )
