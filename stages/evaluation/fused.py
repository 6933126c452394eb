"""Windows that are scored again by an encoder which reads a sentence and a window together (TACo)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoders.joint import JointEncoder
from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import read_tables
from stages.evaluation.records import PairScorer
from stages.retrieval.fusion import FusionReranker, open_reranker
from stages.retrieval.window_tokens import tokens_of
from stages.training.embedding_tables import WINDOWS


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedWindows:
    """A `stages.evaluation.records.PairScorer`.

    Attributes:
        reranker: scores windows by their numbers.
        numbers: of the windows by id.
        most: windows that are scored for a sentence; 0 for all.
    """

    reranker: FusionReranker
    numbers: Mapping[str, int]
    most: int

    def scores(self, sentence: str, window_ids: Sequence[str]) -> NDArray[np.float32]:
        """See `PairScorer`."""
        return self.reranker.scores(sentence, [self.numbers[name] for name in window_ids])


def open_fused_windows(
    embeddings: Artifact, open_encoder: Callable[[], JointEncoder], *, most: int
) -> PairScorer | None:
    """Return what scores windows again, or None: the embeddings do not hold what it needs.

    Args:
        embeddings: sealed.
        open_encoder: gives the encoder that made them.
        most: windows that are scored for a sentence; 0 for all.
    """
    tokens = tokens_of(embeddings)
    reranker = open_reranker(open_encoder(), tokens) if tokens else None
    if reranker is None:
        return None
    ids = read_tables(embeddings, WINDOWS, ["window_id"]).column("window_id").to_pylist()
    return FusedWindows(reranker=reranker, numbers={name: row for row, name in enumerate(ids)}, most=most)
