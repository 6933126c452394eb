"""Rows of videos and their labels: targets, guesses, the background's threshold, and what they come to.

Label 0 is the background. Source: papers.md 7.5 (VideoCLIP on COIN). Letters: N rows of a video, K steps, U videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F32, F64, I64
from stages.training.row_windows import BACKGROUND

Similarity = Literal["dot", "cosine", "standardised"]
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGuesses:
    """What is said of each real row of one video.

    Attributes:
        target: (N,) int64 annotated label.
        label: (N,) int64 best step; the background itself where a head has a label for it.
        strength: (N,) float64 how similar that step is.
    """

    target: I64
    label: I64
    strength: F64

    def above(self, gamma: float) -> I64:
        """The predicted labels: the best step where it is stronger than `gamma`, else the background."""
        return np.where(self.strength > gamma, self.label, BACKGROUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """Counts of rows, one entry a video; each (U,) float64.

    Attributes:
        rows: all.
        right: predicted as annotated, background included.
        steps: annotated as a step.
        said: predicted as a step.
        hits: annotated and predicted as the same step.
    """

    rows: F64
    right: F64
    steps: F64
    said: F64
    hits: F64

    @property
    def accuracy(self) -> float:
        """Share of right rows of all videos together."""
        return float(self.right.sum() / self.rows.sum())

    @property
    def f1(self) -> float:
        """Micro F1 over rows without background: 2 hits / (said + annotated steps); 0 if there is neither."""
        return float(2 * self.hits.sum() / max(1.0, (self.said + self.steps).sum()))

    @property
    def background(self) -> float:
        """Share of rows that are predicted as background."""
        return float(1 - self.said.sum() / self.rows.sum())

    @property
    def always_background(self) -> float:
        """The accuracy of predicting nothing but background."""
        return float(1 - self.steps.sum() / self.rows.sum())


def similarities(states: F32, texts: F32, kind: Similarity) -> F64:
    """How similar each row is to each step.

    Args:
        states: (N, E).
        texts: (K, E).
        kind: `dot`, `cosine`, or `standardised`: a row's dot products less their mean, over their deviation.

    Returns:
        (N, K) float64.
    """
    rows, steps = states.astype(np.float64), texts.astype(np.float64)
    if kind == "cosine":
        rows, steps = (
            vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY) for vectors in (rows, steps)
        )
    found: F64 = rows @ steps.T
    if kind == "standardised":
        found = (found - found.mean(axis=1, keepdims=True)) / np.maximum(found.std(axis=1, keepdims=True), _TINY)
    return found


def gamma_of_labels(texts: F32, kind: Similarity) -> float:
    """The largest similarity of two different steps' texts: the published threshold; minus infinity for one step."""
    found = similarities(texts, texts, kind)
    np.fill_diagonal(found, -np.inf)
    return float(found.max())


def gamma_of_training(guesses: Sequence[RowGuesses]) -> float:
    """The threshold with the best frame F1 without background on training videos; the largest of equals.

    F1, not accuracy, because where most rows are background, predicting nothing else is nearly the most accurate.

    Args:
        guesses: one a training video, with at least one row in all.
    """
    target, label = (np.concatenate([getattr(guess, kind) for guess in guesses]) for kind in ("target", "label"))
    strength = np.concatenate([guess.strength for guess in guesses])
    order = np.argsort(-strength, kind="stable")
    hits = np.cumsum((target == label)[order] & (target != BACKGROUND)[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + (target != BACKGROUND).sum())
    # A threshold cannot part equal strengths: only the last row of a run of them counts.
    last_of_run = np.append(np.diff(strength[order]) != 0, True)
    best = int(np.argmax(np.where(last_of_run, f1, -1.0)))
    following = strength[order[best + 1]] if best + 1 < len(order) else strength[order[best]] - 1.0
    return float((strength[order[best]] + following) / 2)


def count_rows(targets: Sequence[I64], predicted: Sequence[I64]) -> RowCounts:
    """Count the rows of each video.

    Args:
        targets: U arrays (N,) of annotated labels.
        predicted: U arrays (N,) of predicted ones.
    """
    columns: Mapping[str, list[int]] = {name: [] for name in ("rows", "right", "steps", "said", "hits")}
    for target, guess in zip(targets, predicted, strict=True):
        right: NDArray[np.bool_] = target == guess
        columns["rows"].append(len(target))
        columns["right"].append(int(right.sum()))
        columns["steps"].append(int((target != BACKGROUND).sum()))
        columns["said"].append(int((guess != BACKGROUND).sum()))
        columns["hits"].append(int((right & (target != BACKGROUND)).sum()))
    return RowCounts(**{name: np.array(values, dtype=np.float64) for name, values in columns.items()})
