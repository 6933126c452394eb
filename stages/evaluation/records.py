"""What goes into a protocol and what comes out: one small frozen record a hop.

Letters: E joint width, N windows of a video, S narrations of a video, Q queries.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedVideo:
    """One video of the evaluated split, in the joint space.

    Attributes:
        video_id: Id of the manifest.
        window_ids: N ids in order of time.
        window_spans: (N, 2) float64 seconds, half-open.
        windows: (N, E) float32.
        narration_ids: S ids in order of time.
        narration_spans: (S, 2) float64 seconds, half-open.
        narrations: (S, E) float32.
        texts: S sentences.
        paragraph_index: (S,) int64, the paragraph of each narration.
    """

    video_id: str
    window_ids: tuple[str, ...]
    window_spans: F64
    windows: F32
    narration_ids: tuple[str, ...]
    narration_spans: F64
    narrations: F32
    texts: tuple[str, ...]
    paragraph_index: I64


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """Which encoder made the vectors.

    Attributes:
        description: The encoder in words.
        random_weights: True if any part was never trained: such numbers measure the pipeline, not a model.
        features: The frozen features that it reads and the weights that made them, in words.
        normalised: Whether the encoder's vectors have unit norm; if not, clips are compared by inner product.
    """

    description: str
    random_weights: bool
    features: str
    normalised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """The split that is measured, and what is missing from it.

    Attributes:
        split: Name of the split.
        split_source: Where the split comes from, in words.
        encoder: Which encoder made the vectors.
        videos: Videos with at least one window, in manifest order.
        pairs: Pair id -> its two video ids; the two differ in the order of their steps only.
        without_features: Videos of the split that have no window.
        without_narrations: Videos of the split that have windows and no narration.
        trained_on: Videos of the split that the encoder was trained on.
        training_known: False if nobody recorded what the encoder was trained on.
    """

    split: str
    split_source: str
    encoder: EncoderFacts
    videos: tuple[EvaluatedVideo, ...]
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    without_features: tuple[str, ...] = ()
    without_narrations: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    training_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what is needed to judge it.

    Attributes:
        name: `R@1`, `median_rank`, `accuracy`, ...
        value: The number.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        chance: What a random order scores on the same queries and gallery; None where a difference is measured.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedQueries:
    """The outcome of every query of a protocol.

    Attributes:
        query_ids: Q ids.
        ranks: (Q,) float64, 1 = best; of the best relevant item.
        target_ids: Q ids of the best relevant item.
        scores: (Q,) float64 score of that item.
        answer_ids: Q ids of the item that came first.
        gains: (Q,) float64 nDCG of each query.
        num_relevant: (Q,) int64.
        gallery_size: Number of items that each query was compared with.
    """

    query_ids: tuple[str, ...]
    ranks: F64
    target_ids: tuple[str, ...]
    scores: F64
    answer_ids: tuple[str, ...]
    gains: F64
    num_relevant: I64
    gallery_size: int

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolResult:
    """What one protocol measured, or why it could not.

    Attributes:
        name: Stable key: `text_to_window`, `paragraph_to_video.dtw`, ...
        title: The same for people.
        definition: One sentence that says what a query, a right answer and the gallery are.
        similarity: How two items are compared.
        scores: Empty if nothing was evaluated.
        ranked: The outcome of each query; None if nothing was evaluated.
        unit: What the bootstrap resamples: `query`, or `pair` where two queries belong together.
        num_units: How many of them.
        missing: What could not take part, by reason: counts.
        not_evaluated: Why there is no number; empty if there is one.
    """

    name: str
    title: str
    definition: str
    similarity: str
    scores: tuple[Score, ...] = ()
    ranked: RankedQueries | None = None
    unit: str = "query"
    num_units: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    not_evaluated: str = ""
