"""The BERT transformer that both towers are made of; its layers are those of the `transformers` library.

Letters: B sequences, L tokens, E hidden width; N tokens of packed sequences, C sequences of a bucket, H heads.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertEncoder

from models.encoders.buckets import Buckets
from models.encoders.config import DualConfig
from models.encoders.dropout import use_cheap_dropout
from models.encoders.packed import Run

_ROWS = 64
"""Within autocast states are filled up to a multiple of it: on a CPU oneDNN compiles its bfloat16 products for every
new number of rows, which took a twelfth of a step of BERT-base on two cores."""


def build_bert(config: DualConfig, *, num_layers: int) -> nn.Module:
    """Return an untrained BERT whose state dict has the published names, `position_ids` and unused pooler included."""
    bert = BertModel(_sizes(config, num_layers))
    embeddings = bert.embeddings
    # transformers no longer saves this buffer; the published checkpoints hold it.
    embeddings.register_buffer("position_ids", embeddings.position_ids.clone(), persistent=True)
    # The pooler is part of the layout but no output depends on it: without this, data-parallel training would wait
    # for its gradients.
    bert.pooler.requires_grad_(False)
    use_cheap_dropout(bert)
    return bert  # type: ignore[no-any-return]


def build_layers(config: DualConfig, *, num_layers: int) -> nn.Module:
    """Return untrained BERT layers alone, for `run_layers`; there may be none."""
    encoder = BertEncoder(_sizes(config, num_layers))
    use_cheap_dropout(encoder)
    return encoder  # type: ignore[no-any-return]


def _sizes(config: DualConfig, num_layers: int) -> BertConfig:
    return BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_positions,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        type_vocab_size=2,
        attn_implementation="sdpa",
    )


def run_bert(bert: nn.Module, tokens: Tensor, mask: Tensor, position_ids: Tensor, *, token_type: int = 0) -> Tensor:
    """Run embedding sum, norm and all layers.

    Args:
        bert: Of `build_bert`.
        tokens: (B, L, E) float, token vectors before positions are added.
        mask: (B, L) bool, which tokens may be attended to.
        position_ids: (1, L) int64.
        token_type: Of all tokens.

    Returns:
        (B, L, E) float, the last hidden states.
    """
    types = torch.full(mask.shape, token_type, device=mask.device)
    output = bert(inputs_embeds=tokens, attention_mask=mask, position_ids=position_ids, token_type_ids=types)
    states: Tensor = output.last_hidden_state
    return states


def run_packed(
    bert: nn.Module, tokens: Tensor, runs: Sequence[Run], position_ids: Tensor, *, token_type: int = 0
) -> Tensor:
    """Run what `run_bert` runs on sequences without padding; without dropout both give the same.

    Args:
        bert: Of `build_bert`, or anything with its `embeddings` and `encoder`.
        tokens: (N, E) float, token vectors before positions are added.
        runs: Which tokens belong together; every token of a sequence sees all of it.
        position_ids: (N,) int64.
        token_type: Of all tokens.

    Returns:
        (N, E) float, the last hidden states.
    """
    embeddings: Any = bert.embeddings
    summed = tokens + embeddings.token_type_embeddings.weight[token_type] + embeddings.position_embeddings(position_ids)
    return run_layers(bert.encoder, embeddings.dropout(embeddings.LayerNorm(summed)), runs)


def run_layers(encoder: Any, states: Tensor, runs: Sequence[Run]) -> Tensor:
    """Run the layers of a BERT encoder on packed states: (N, E) -> (N, E)."""
    num = len(states)
    filler = -num % _ROWS if torch.is_autocast_enabled(states.device.type) else 0
    buckets = Buckets.of(runs, states.device, filler=filler)
    states = F.pad(states, (0, 0, 0, filler))
    for layer in encoder.layer:
        attended = layer.attention.output(_attend(layer.attention.self, states, buckets), states)
        states = layer.output(layer.intermediate(attended), attended)
    return states[:num]


def _attend(attention: Any, states: Tensor, buckets: Buckets) -> Tensor:
    """Self-attention within each sequence: (N, E) -> (N, E)."""
    mixed = []
    for bucket, tokens in zip(buckets.buckets, buckets.spread(_project(attention, states)), strict=True):
        queries, keys, values = tokens.transpose(1, 3).unbind(2)
        mixed.append(_mix(queries, keys, values, bucket.bias, attention.dropout).transpose(1, 2))
    return buckets.gather(mixed).flatten(1)


def _project(attention: Any, states: Tensor) -> Tensor:
    """Queries, keys and values by one product instead of three: (N, E) -> (N, 3, H, E / H)."""
    layers = (attention.query, attention.key, attention.value)
    weight, bias = (torch.cat([_as_computed(getattr(layer, name)) for layer in layers]) for name in ("weight", "bias"))
    projected = F.linear(states, weight, bias)
    return projected.view(len(states), 3, attention.num_attention_heads, -1)


def _as_computed(x: Tensor) -> Tensor:
    """Cast as autocast would: what is cast before it is joined has half the bytes to copy."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def _mix(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, dropout: nn.Dropout) -> Tensor:
    """Each token's mean of all values: three (C, H, L, E / H) -> (C, H, L, E / H).

    By torch's fused kernel, but that knows no dropout on a CPU. There in float32: oneDNN compiles every new shape of a
    bfloat16 product, which took a fifth of a step.
    """
    probability = dropout.p if dropout.training else 0.0
    if probability and queries.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            scores = (queries.float() * queries.shape[-1] ** -0.5) @ keys.float().mT
            weights: Tensor = dropout((scores if bias is None else scores + bias).softmax(dim=-1))
            return (weights @ values.float()).to(values.dtype)
    bias = None if bias is None else bias.to(queries.dtype)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, dropout_p=probability)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Average hidden states where the mask is True: (B, L, E) float, (B, L) bool -> (B, E) float."""
    weights = mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
