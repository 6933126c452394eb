"""Scoring windows again with an encoder that reads a sentence and a window together (TACo)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoders.checkpoint import DualCheckpoint
from models.encoders.fused_scores import FusedScorer, FusedScoring
from models.encoders.joint import DualJoint
from models.encoders.taco import TACoEncoder
from stages.errors import SchemaMismatch
from stages.retrieval.window_tokens import WindowTokens
from stages.text.word_weights import NOT_OF_INTEREST, WordWeights, mark_pieces

if TYPE_CHECKING:
    from models.encoders.joint import JointEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionReranker:
    """A `stages.retrieval.search.Reranker`.

    Attributes:
        checkpoint: the encoder, with its tokenizer.
        scorer: of the encoder.
        words: weigh the words of a sentence.
        tokens: states of the windows.
    """

    checkpoint: DualCheckpoint
    scorer: FusedScorer
    words: WordWeights
    tokens: WindowTokens

    def scores(self, sentence: str, windows: Sequence[int]) -> NDArray[np.float32]:
        """Score windows, by their numbers, for a sentence: float32 (K,), greater is better."""
        tokenizer = self.checkpoint.tokenizer
        ids = tokenizer.framed(tokenizer.pieces(sentence))
        pieces = mark_pieces(tokenizer.spans(sentence), self.words.weigh_texts([sentence])[0])[: len(ids) - 2]
        marks = [NOT_OF_INTEREST, *pieces.tolist(), NOT_OF_INTEREST]
        states = [torch.from_numpy(self.tokens.of(window)) for window in windows]
        found: NDArray[np.float32] = self.scorer.scores(ids, marks, states).numpy()
        return found


def open_reranker(encoder: "JointEncoder", tokens: WindowTokens | None) -> FusionReranker | None:
    """Return what scores windows again, or None: the encoder has no fusion, or the states of windows are not there.

    Raises:
        SchemaMismatch: the encoder has a fusion, but does not say how pairs are scored.
    """
    if tokens is None or not isinstance(encoder, DualJoint):
        return None
    checkpoint = encoder.checkpoint
    if not isinstance(checkpoint.encoder, TACoEncoder):
        return None
    facts = _fusion_facts(checkpoint)
    words = WordWeights.from_json(facts["words"])
    scoring = FusedScoring(**{name: value for name, value in facts.items() if name != "words"})
    return FusionReranker(
        checkpoint=checkpoint, scorer=FusedScorer(checkpoint.encoder, scoring), words=words, tokens=tokens
    )


def _fusion_facts(checkpoint: DualCheckpoint) -> Mapping[str, Any]:
    expected = {"words", *FusedScoring.__dataclass_fields__}
    found = checkpoint.fusion or {}
    if set(found) != expected:
        raise SchemaMismatch(
            f"the encoder's fusion.json has {sorted(found)}, expected {sorted(expected)}: export the checkpoint again"
        )
    return found
