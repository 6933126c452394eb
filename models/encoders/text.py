"""VideoCLIP's text tower: a plain BERT, pooled over words and the final [SEP].

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), section 3.1, and the released code. The published
caption layout has a second [SEP] right after [CLS]; it is for the video tower, takes no position here and must be cut
out before.

Letters: B captions, L tokens, E hidden width; N tokens of packed captions.
"""

import torch
from torch import Tensor, nn

from models.encoders.bert import masked_mean, run_bert, run_packed
from models.encoders.packed import Packed, mean_without_first


def encode_captions(
    bert: nn.Module, ids: Tensor, mask: Tensor, *, token_type: int = 0, first_position: int = 0
) -> Tensor:
    """Encode captions `[CLS] w_1 .. w_n [SEP] [PAD] ..`.

    Args:
        bert: Of `build_bert`.
        ids: (B, L) int64.
        mask: (B, L) bool, True where a token is real.
        token_type: Of all tokens.
        first_position: Position of [CLS].

    Returns:
        (B, E) float: the mean over words and [SEP], without [CLS]; not normalised.

    Raises:
        ValueError: A shape or a type does not fit.
    """
    if ids.ndim != 2 or ids.dtype != torch.int64 or mask.shape != ids.shape or mask.dtype != torch.bool:
        got = f"{ids.dtype} {tuple(ids.shape)} and {mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"text tower: got ids and mask of {got}, expected int64 and bool (B, L)")
    words = bert.get_input_embeddings()  # type: ignore[operator]
    positions = first_position + torch.arange(ids.shape[1], device=ids.device)[None]
    states = run_bert(bert, words(ids), mask, positions, token_type=token_type)
    return masked_mean(states[:, 1:], mask[:, 1:])


def encode_packed_captions(
    bert: nn.Module, captions: Packed, *, token_type: int = 0, first_position: int = 0
) -> Tensor:
    """Encode captions without padding: packed (N,) int64 ids `[CLS] w_1 .. w_n [SEP]` -> (B, E) float."""
    states = packed_caption_states(bert, captions, token_type=token_type, first_position=first_position)
    return mean_without_first(states, captions.runs())[captions.places]


def packed_caption_states(bert: nn.Module, captions: Packed, *, token_type: int = 0, first_position: int = 0) -> Tensor:
    """Hidden states of captions without padding: packed (N,) int64 ids -> (N, E) float, laid out as they are."""
    words = bert.get_input_embeddings()  # type: ignore[operator]
    steps = torch.arange(max(captions.lengths), device=captions.values.device)
    positions = first_position + torch.cat([steps[:length].repeat(num) for _, num, length in captions.runs()])
    return run_packed(bert, words(captions.values), captions.runs(), positions, token_type=token_type)
