"""Encoders from their sizes: untrained, or with random weights that are the same everywhere."""

from dataclasses import replace

from models.backbones.initialise import fill_normal
from models.encoders.config import DualConfig, FusionConfig
from models.encoders.dual import DualEncoder, SharedEncoder, TowerEncoder, TwoWayEncoder
from models.encoders.taco import TACoEncoder

HEAD = "video_encoder.classifier."
"""Where the tensors of a head on the states of clips stand."""


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
    weights = encoder.state_dict()
    for name, weight in weights.items():
        if not weight.is_floating_point():
            continue
        if weight.ndim > 1:
            fill_normal(weight, 0.02, name=name, seed=seed)
        else:
            weight.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
    encoder.load_state_dict(weights)  # a tower may hold a tensor of its state in parts
    return encoder.eval()


def with_head(encoder: TwoWayEncoder, num_labels: int, seed: int) -> TwoWayEncoder:
    """Return an encoder with a head on the states of clips; its other weights are those of `encoder`.

    Args:
        encoder: with or without a head; one with as many labels stays as it is.
        num_labels: of the head.
        seed: of a new head, which begins as BERT does.

    Raises:
        ValueError: The encoder has no place for one (TACo's).
    """
    if not isinstance(encoder, TowerEncoder):
        raise ValueError(f"encoder: a {type(encoder).__name__} takes no head on clip states, expected VideoCLIP's")
    if encoder.config.num_labels == num_labels:
        return encoder
    headed = random_encoder(replace(encoder.config, num_labels=num_labels), seed)
    kept = {name: value for name, value in encoder.state_dict().items() if not name.startswith(HEAD)}
    headed.load_state_dict(kept, strict=False)
    return headed
