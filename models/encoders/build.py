"""Encoders from their sizes: untrained, or with random weights that are the same everywhere."""

import torch

from models.backbones.initialise import fill_normal
from models.encoders.config import DualConfig, FusionConfig
from models.encoders.dual import DualEncoder, SharedEncoder, TwoWayEncoder
from models.encoders.taco import TACoEncoder


def build_encoder(config: DualConfig) -> TwoWayEncoder:
    """Return an untrained encoder: TACo's for a `FusionConfig`, else VideoCLIP's, with one BERT if it is shared."""
    if isinstance(config, FusionConfig):
        return TACoEncoder(config)
    return SharedEncoder(config) if config.shared else DualEncoder(config)


def random_encoder(config: DualConfig, seed: int) -> TwoWayEncoder:
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
