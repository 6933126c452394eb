"""What goes into a protocol and what comes out: one small frozen record a hop.

Letters: E joint width, N windows of a video, S narrations of a video, Q queries, G items of a gallery, U units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.report_sections import Section
from stages.evaluation.alignment_example import AlignmentExample

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
class Subject:
    """What the numbers of one page were measured on, and what is missing from it.

    Attributes:
        title: Its name for people.
        split: Name of the split.
        source: Where the split comes from and how much of it is there, in words.
        encoder: What made the vectors.
        num_videos: Videos that were measured; with the missing ones, those of the split.
        num_pairs: Pairs of videos that differ in order only.
        missing: Ids of videos of the split that could not be measured, by what they lack.
        lacking: Ids of measured videos that lack something, by what it is.
        trained_on: Measured videos that the encoder was trained on.
        training_known: False if it was trained on others, too, that nobody recorded.
    """

    title: str
    split: str
    source: str
    encoder: EncoderFacts
    num_videos: int
    num_pairs: int = 0
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    training_known: bool = True

    @property
    def training_note(self) -> str:
        """Whether the encoder has seen the measured videos in training."""
        if self.trained_on:
            least = "" if self.training_known else "at least "
            return f"yes, on {least}{len(self.trained_on)} of {self.num_videos} videos"
        return "no" if self.training_known else "unknown"


class PairScorer(Protocol):
    """Scores windows for a sentence better than by their vectors, and slower."""

    @property
    def most(self) -> int:
        """Windows that are scored for a sentence, the best by their vectors; 0 for all."""

    def scores(self, sentence: str, window_ids: Sequence[str]) -> NDArray[np.float32]:
        """Score windows: float32 (len(window_ids),), greater is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """The split of the run's own narrations that is measured, and what is missing from it.

    Attributes:
        split: Name of the split.
        split_source: Where the split comes from, in words.
        encoder: Which encoder made the vectors.
        videos: Videos with at least one window, in manifest order.
        pairs: Pair id -> its two video ids; the two differ in the order of their steps only.
        without_features: Videos of the split that have no window.
        without_narrations: Videos of the split that have windows and no narration.
        trained_on: Videos of the split that the encoder was trained on.
        training_known: False if it was trained on others, too, that nobody recorded.
        fused: Scores windows again, if the encoder reads a sentence and a window together.
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
    fused: PairScorer | None = None

    @property
    def subject(self) -> Subject:
        """The same without the vectors."""
        return Subject(
            title="The run's own narrations",
            split=self.split,
            source=self.split_source,
            encoder=self.encoder,
            num_videos=len(self.videos),
            num_pairs=len(self.pairs),
            missing={"without_features": self.without_features},
            lacking={"without_narrations": self.without_narrations},
            trained_on=self.trained_on,
            training_known=self.training_known,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what is needed to judge it.

    Attributes:
        name: `R@1`, `median_rank`, `accuracy`, ...
        value: The number.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        chance: What a random order scores on the same queries and gallery; None where there is no such thing.
        legacy: The same metric as the published scorer computes it, with its defects; None where none was published.
        baselines: What simpler ways score, by their name.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float | None
    legacy: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)


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
        num_equal: (Q,) int64 wrong items with exactly the score of the best relevant one.
        occurrences: (G,) int64, how often each item is among the first ten; empty where queries have own galleries.
    """

    query_ids: tuple[str, ...]
    ranks: F64
    target_ids: tuple[str, ...]
    scores: F64
    answer_ids: tuple[str, ...]
    gains: F64
    num_relevant: I64
    gallery_size: int
    num_equal: I64
    occurrences: I64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A metric that is no function of a rank, unit by unit: its value is the weighted mean, or the mean over groups.

    Attributes:
        metric: As the score is called.
        unit_ids: U videos or questions; what the bootstrap resamples.
        values: (U,) float64.
        weights: (U,) float64 > 0, such as the seconds of a video.
        groups: U names; the metric is the mean over groups of each group's weighted mean. Empty: one group.
        gallery_size: Items among which each unit was ranked; 0 where nothing was, or where `metrics.json` was not read.
    """

    metric: str
    unit_ids: tuple[str, ...]
    values: F64
    weights: F64
    groups: tuple[str, ...] = ()
    gallery_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolResult:
    """What one protocol measured, or why it could not.

    Attributes:
        name: Stable key: `text_to_window`, `paragraph_to_video.dtw`, ...
        title: The same for people.
        definition: One sentence that says what a query, a right answer and the gallery are.
        similarity: How two items are compared.
        scores: Empty if nothing was evaluated.
        ranked: The outcome of each query; None if nothing was evaluated, or nothing was ranked.
        outcomes: What else was measured, unit by unit.
        unit: What the bootstrap resamples: `query`, or `pair` where two queries belong together.
        num_units: How many of them.
        missing: What could not take part, by reason: counts.
        warnings: Sentences that say why the numbers may mislead.
        texts: What queries and answers say, by id, for the report.
        alignments: Examples for the report.
        sections: What else the report shows of it.
        not_evaluated: Why there is no number; empty if there is one.
    """

    name: str
    title: str
    definition: str
    similarity: str
    scores: tuple[Score, ...] = ()
    ranked: RankedQueries | None = None
    outcomes: tuple[Outcome, ...] = ()
    unit: str = "query"
    num_units: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    alignments: tuple[AlignmentExample, ...] = ()
    sections: tuple[Section, ...] = ()
    not_evaluated: str = ""
