"""The BERT transformer that both towers are made of; its layers are those of the `transformers` library.

Letters: B sequences, L tokens, E hidden width.
"""

from torch import Tensor, nn
from transformers import BertConfig, BertModel

from models.encoders.config import DualConfig


def build_bert(config: DualConfig, *, num_layers: int) -> nn.Module:
    """Return an untrained BERT whose state dict has the published names, `position_ids` and unused pooler included."""
    bert = BertModel(
        BertConfig(
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
    )
    embeddings = bert.embeddings
    # transformers no longer saves this buffer; the published checkpoints hold it.
    embeddings.register_buffer("position_ids", embeddings.position_ids.clone(), persistent=True)
    # The pooler is part of the layout but no output depends on it: without this, data-parallel training would wait
    # for its gradients.
    bert.pooler.requires_grad_(False)
    return bert  # type: ignore[no-any-return]


def run_bert(bert: nn.Module, tokens: Tensor, mask: Tensor, position_ids: Tensor) -> Tensor:
    """Run embedding sum, norm and all layers, token type 0 everywhere.

    Args:
        bert: Of `build_bert`.
        tokens: (B, L, E) float, token vectors before positions are added.
        mask: (B, L) bool, which tokens may be attended to.
        position_ids: (1, L) int64.

    Returns:
        (B, L, E) float, the last hidden states.
    """
    output = bert(inputs_embeds=tokens, attention_mask=mask, position_ids=position_ids)
    states: Tensor = output.last_hidden_state
    return states


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Average hidden states where the mask is True: (B, L, E) float, (B, L) bool -> (B, E) float."""
    weights = mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
