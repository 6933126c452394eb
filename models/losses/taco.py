"""TACo's objectives: sentence against video, each noun and verb against video, and fused pairs of hard negatives.

Source: Yang et al., "TACo", ICCV 2021 (arXiv:2108.09980), equations of its section 3; there is no official code. The
paper writes the losses text to video and leaves several points open: they are options here, and the default is what
the paper says (papers.md 5.2, 5.3, 5.6).

Letters: B pairs of a batch, V videos and T their tokens, P text tokens (of interest), H = K' hard negatives, E width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses.precision import full_precision

Empty = Literal["zero", "uniform"]
Normalisation = Literal["sum", "softmax", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardNegatives:
    """The candidates of the fused loss; column 0 is the true partner.

    Attributes:
        videos: (B, 1 + H) int64, for each text.
        texts: (B, 1 + H) int64, for each video.
        videos_mask: (B, 1 + H) bool, False where a text has no further negative (its caption fills the batch).
        texts_mask: (B, 1 + H) bool.
    """

    videos: Tensor
    texts: Tensor
    videos_mask: Tensor
    texts_mask: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return (text, video) rows of all 2 B (1 + H) pairs to fuse: each text's candidates, then each video's."""
        own = torch.arange(len(self.videos), device=self.videos.device)[:, None].expand_as(self.videos)
        texts = torch.cat((own.flatten(), self.texts.flatten()))
        return texts, torch.cat((self.videos.flatten(), own.flatten()))

    def split(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `pairs` on its scores: (2 B (1 + H),) -> text and video scores, (B, 1 + H) each."""
        for_texts, for_videos = scores.view(2, *self.videos.shape)
        return for_texts, for_videos


def token_weights(
    idf: Tensor,
    interest_mask: Tensor,
    token_mask: Tensor | None = None,
    *,
    empty: Empty = "zero",
    normalisation: Normalisation = "sum",
) -> Tensor:
    """Turn idf into weights that sum to 1 within each sentence.

    Args:
        idf: (B, P) float >= 0; a sub-word has its word's.
        interest_mask: (B, P) bool, nouns and verbs.
        token_mask: (B, P) bool, all real tokens; needed for `empty="uniform"`.
        empty: A sentence without noun and verb weighs nothing ("zero"), or all its tokens alike ("uniform").
        normalisation: Divide by the sum, as published, take a softmax, or leave idf as it is ("none").

    Returns:
        (B, P) float32, 0 outside the mask. With "sum", where all idf of a sentence are 0, its tokens share alike.

    Raises:
        ValueError: An option is not as said, or needs a mask that is missing.
    """
    if empty not in ("zero", "uniform") or (empty == "uniform" and token_mask is None):
        raise ValueError(f"empty: got {empty!r}, expected zero, or uniform together with token_mask")
    if normalisation not in ("sum", "softmax", "none"):
        raise ValueError(f"normalisation: got {normalisation!r}, expected sum, softmax or none")
    chosen, raw = interest_mask, idf.float()
    if empty == "uniform" and token_mask is not None:
        lacking = ~interest_mask.any(dim=1, keepdim=True)
        chosen, raw = torch.where(lacking, token_mask, interest_mask), torch.where(lacking, 1.0, raw)
    if normalisation == "softmax":
        return raw.masked_fill(~chosen, -torch.inf).softmax(dim=1).nan_to_num(0.0)
    raw = raw * chosen
    if normalisation == "none":
        return raw
    raw = torch.where(raw.sum(dim=1, keepdim=True) > 0, raw, chosen.float())
    return raw / raw.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def token_scores(text: Tensor, video: Tensor, video_mask: Tensor) -> Tensor:
    """The best video token for each text token: max_k x_j^k . y_i^p.

    Args:
        text: (B, P, E) float.
        video: (V, T, E) float.
        video_mask: (V, T) bool, at least one True a row.

    Returns:
        (B, P, V) float32. A (B, P, V, T) tensor exists meanwhile: pack the tokens of interest first.
    """
    with full_precision(text):
        similarity = torch.einsum("bpe,vte->bpvt", text.float(), video.float())
    return similarity.masked_fill(~video_mask, -torch.inf).amax(dim=-1)


def pack_tokens(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the masked tokens of each row to its front, in order, and cut the rest.

    Args:
        tokens: (B, L, ...) any type; vectors or weights.
        mask: (B, L) bool, tokens to keep.

    Returns:
        (B, P, ...) with P the most kept in a row, at least 1; and (B, P) bool, True = kept.
    """
    longest = max(int(mask.sum(dim=1).max()), 1)
    order = torch.sort(mask.int(), dim=1, descending=True, stable=True).indices[:, :longest]
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return tokens[rows, order], mask[rows, order]


class SentenceLoss(nn.Module):
    """L1: the mean video token against the sentence, among all videos of the batch.

    Args:
        temperature: tau1.
        symmetric: Add the direction video to text; the paper writes text to video alone.
        normalise: Compare unit vectors; the paper does not say so.
    """

    def __init__(self, *, temperature: float = 1.0, symmetric: bool = False, normalise: bool = False) -> None:
        super().__init__()
        self.temperature, self.symmetric, self.normalise = temperature, symmetric, normalise

    def scores(self, text: Tensor, video: Tensor) -> Tensor:
        """(B, E) and (V, E) -> (B, V) float32 dot products over the temperature."""
        y, x = text.float(), video.float()
        if self.normalise:
            y, x = F.normalize(y, dim=-1), F.normalize(x, dim=-1)
        with full_precision(text):
            return y @ x.T / self.temperature

    def forward(self, text: Tensor, video: Tensor) -> Tensor:
        """Return the summed cross entropy: (B, E) and (B, E), row i with row i -> () float32."""
        return paired_cross_entropy(self.scores(text, video), symmetric=self.symmetric)


class TokenLoss(nn.Module):
    """L2: each noun and verb against the video token that fits it best, among all videos of the batch.

    Args:
        temperature: tau2.
        symmetric: Add the direction video to text over the weighted sum of token scores.
        normalise: Compare unit vectors.
        detach_text: Keep this loss's gradient from the text encoder.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        symmetric: bool = False,
        normalise: bool = False,
        detach_text: bool = False,
    ) -> None:
        super().__init__()
        self.temperature, self.symmetric = temperature, symmetric
        self.normalise, self.detach_text = normalise, detach_text

    def scores(self, text: Tensor, video: Tensor, video_mask: Tensor) -> Tensor:
        """Return `token_scores` over the temperature: (B, P, V) float32."""
        y, x = text.detach() if self.detach_text else text, video
        if self.normalise:
            y, x = F.normalize(y.float(), dim=-1), F.normalize(x.float(), dim=-1)
        return token_scores(y, x, video_mask) / self.temperature

    def forward(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Return the summed cross entropy over sentences.

        Args:
            scores: (B, P, B) of `scores`: token p of text i against video j.
            weights: (B, P) of `token_weights`, 0 where there is no token.

        Returns:
            () float32.
        """
        own = torch.arange(len(scores), device=scores.device)
        log_share = scores.log_softmax(dim=-1)[own, :, own]
        loss = -(weights * log_share).sum()
        if self.symmetric:
            loss = loss + F.cross_entropy(weighted_token_scores(scores, weights).T, own, reduction="sum")
        return loss


class FusionLoss(nn.Module):
    """L3: the true pair among hard negatives, by the fused score w . z_cls.

    Args:
        symmetric: Count each video's candidates too; cascade sampling fuses both sorts, so they are counted by default.
    """

    def __init__(self, *, symmetric: bool = True) -> None:
        super().__init__()
        self.symmetric = symmetric

    def forward(self, scores: Tensor, negatives: HardNegatives) -> Tensor:
        """Return the summed cross entropy: (2 B (1 + H),) scores of `negatives.pairs()` -> () float32."""
        for_texts, for_videos = negatives.split(scores.float())
        loss = _first_of(for_texts, negatives.videos_mask)
        return loss + _first_of(for_videos, negatives.texts_mask) if self.symmetric else loss


class TACoLoss(nn.Module):
    """L1 + token_weight * L2 + fusion_weight * L3 of terms that are computed already."""

    def __init__(self, *, token_weight: float = 0.5, fusion_weight: float = 1.0) -> None:
        super().__init__()
        self.token_weight, self.fusion_weight = token_weight, fusion_weight

    def forward(self, sentence: Tensor, token: Tensor, fusion: Tensor) -> Tensor:
        """Return the total: three () tensors -> ()."""
        return sentence + self.token_weight * token + self.fusion_weight * fusion


def weighted_token_scores(scores: Tensor, weights: Tensor) -> Tensor:
    """sum_p w_p s_p: (B, P, V) and (B, P) -> (B, V)."""
    with full_precision(scores):
        return torch.einsum("bpv,bp->bv", scores, weights)


def cascade_scores(sentence: Tensor, token: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """The cheap scores that choose hard negatives: global score + sum of token scores, without gradient.

    Args:
        sentence: (B, V) of `SentenceLoss.scores`.
        token: (B, P, V) of `TokenLoss.scores`.
        mask: (B, P) bool, tokens of interest.
        weights: (B, P) to weigh the tokens by; None adds them as they are, as the paper writes.

    Returns:
        (B, V) float32.
    """
    chosen = mask.float() if weights is None else weights * mask
    return (sentence + weighted_token_scores(token, chosen)).detach()


def hard_negatives(scores: Tensor, num_negatives: int = 8, caption_ids: Tensor | None = None) -> HardNegatives:
    """Pick the highest-scoring wrong videos of each text and the highest-scoring wrong texts of each video.

    Args:
        scores: (B, B) float, text i against video j.
        num_negatives: H, at most B - 1; of 0 the partner stands alone.
        caption_ids: (B,) int64; equal captions are never each other's negatives. None lets them be, as published.

    Returns:
        The candidates, true partner first; equal scores in the order of the batch.

    Raises:
        ValueError: The batch is too small or `scores` is not square.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not 0 <= num_negatives < len(scores):
        raise ValueError(
            f"hard negatives: got scores {tuple(scores.shape)} and {num_negatives} negatives, expected (B, B) with "
            "more pairs than negatives; raise the batch or lower num_negatives"
        )
    ids = torch.arange(len(scores), device=scores.device) if caption_ids is None else caption_ids.to(scores.device)
    masked = scores.detach().masked_fill(ids[:, None] == ids[None], -torch.inf)
    videos, videos_mask = _candidates(masked, num_negatives)
    texts, texts_mask = _candidates(masked.T, num_negatives)
    return HardNegatives(videos=videos, texts=texts, videos_mask=videos_mask, texts_mask=texts_mask)


def paired_cross_entropy(scores: Tensor, *, symmetric: bool) -> Tensor:
    """Cross entropy with the partner on the diagonal, summed over rows, and over columns if symmetric: (B, B) -> ()."""
    own = torch.arange(len(scores), device=scores.device)
    loss = F.cross_entropy(scores, own, reduction="sum")
    return loss + F.cross_entropy(scores.T, own, reduction="sum") if symmetric else loss


def _candidates(masked: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The partner and the best others of each row: (B, B) -> (B, 1 + num) int64 and bool."""
    values, order = torch.sort(masked, dim=1, descending=True, stable=True)
    own = torch.arange(len(masked), device=masked.device)[:, None]
    real = torch.cat((torch.ones_like(own, dtype=torch.bool), values[:, :num] > -torch.inf), dim=1)
    return torch.cat((own, order[:, :num]), dim=1), real


def _first_of(scores: Tensor, mask: Tensor) -> Tensor:
    """Summed cross entropy with the target in column 0: (B, 1 + H) and bool -> ()."""
    target = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    return F.cross_entropy(scores.masked_fill(~mask, -torch.inf), target, reduction="sum")
