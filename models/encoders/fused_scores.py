"""How well a text and a window go together by all that TACo knows: sentence, nouns and verbs, and both read together.

Source: TACo, arXiv:2108.09980, section 3.4 and its appendix F: the sum of the three scores, the second weighed as in
training (papers.md 5.4).

Letters: L tokens of the text, K windows, T their clips, E width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.encoders.packed import pack
from models.encoders.taco import TACoEncoder
from models.losses.taco import Empty, Normalisation, SentenceLoss, TokenLoss, token_weights, weighted_token_scores

WINDOWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedScoring:
    """The numbers of the three scores, as in training.

    Attributes:
        token_weight: Of the token score.
        temperature: Of sentence and token score.
        normalise: Whether these compare unit vectors.
        normalisation: Of the weights of words in a sentence.
        empty: What a sentence without words of interest weighs.
    """

    token_weight: float = 0.5
    temperature: float = 1.0
    normalise: bool = False
    normalisation: Normalisation = "sum"
    empty: Empty = "zero"


class FusedScorer:
    """Scores windows for one text at a time."""

    def __init__(self, encoder: TACoEncoder, scoring: FusedScoring) -> None:
        """Take an encoder in eval mode, and the numbers that it was trained with."""
        self._encoder, self._scoring = encoder, scoring
        self._sentence = SentenceLoss(temperature=scoring.temperature, normalise=scoring.normalise)
        self._token = TokenLoss(temperature=scoring.temperature, normalise=scoring.normalise)

    @torch.inference_mode()
    def scores(self, ids: Sequence[int], marks: Sequence[float], windows: Sequence[Tensor]) -> Tensor:
        """Score windows for a text.

        Args:
            ids: L ids `[CLS] w_1 .. w_n [SEP]`.
            marks: L numbers, the idf of a token of interest, below 0 for others.
            windows: K tensors (T, E), the states of windows' clips, T at least 1.

        Returns:
            (K,) float32, greater is better.
        """
        states = self._encoder.text_states(pack([torch.tensor(ids)]))[None]
        idf = torch.tensor(marks)[None]
        interest, real = idf >= 0, torch.ones_like(idf, dtype=torch.bool)
        weights = token_weights(
            idf.clamp(min=0), interest, real, empty=self._scoring.empty, normalisation=self._scoring.normalisation
        )
        found = [
            self._block(states, weights, windows[first : first + WINDOWS_AT_ONCE])
            for first in range(0, len(windows), WINDOWS_AT_ONCE)
        ]
        return torch.cat([torch.zeros(0), *found])

    def _block(self, text: Tensor, weights: Tensor, windows: Sequence[Tensor]) -> Tensor:
        lengths = torch.tensor([len(window) for window in windows])
        states = pad_sequence([window.float() for window in windows], batch_first=True)
        mask = torch.arange(states.shape[1]) < lengths[:, None]
        means = states.sum(dim=1) / lengths[:, None]
        sentence = self._sentence.scores(text[:, 0], means)[0]
        token = weighted_token_scores(self._token.scores(text, states, mask), weights)[0]
        pairs = torch.stack((torch.zeros(len(windows), dtype=torch.int64), torch.arange(len(windows))), dim=1)
        fused = self._encoder.fusion(text, states, (torch.tensor([text.shape[1]]), lengths), pairs)
        total: Tensor = sentence + self._scoring.token_weight * token + fused.float()
        return total
