"""Ranked spans against annotated actions: recall and precision, chance, and one span as the baseline.

The baseline proposes the whole video and nothing else. Letters: G actions of a video, C classes, X overlaps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.evaluation.detections import average_precisions
from stages.evaluation.localisation import AnnotatedVideo, Localised, whole_video
from stages.evaluation.proposals import TIOUS, Proposals, area_under, chance_curve, covering_ranks, recall_curve
from stages.evaluation.records import F64, I64, Outcome, Score
from stages.evaluation.scoring import ProtocolSettings, outcome_score

_COUNTS = (1, 5, 10, 100)
_SHOWN_TIOUS = (0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric, unit by unit.

    Attributes:
        outcome: its values.
        baseline: what the whole video as the one proposal gives.
        chance: what guessing gives; None where there is no such thing.
    """

    outcome: Outcome
    baseline: float
    chance: float | None = None

    def score(self, settings: ProtocolSettings, rng: np.random.Generator) -> Score:
        """The metric with its interval."""
        baselines = {"whole video": self.baseline}
        return outcome_score(self.outcome, settings, rng, chance=self.chance, baselines=baselines)


def recall_of(videos: Sequence[AnnotatedVideo], found: Mapping[str, Localised], num_steps: int) -> list[Measured]:
    """AR@1, 5, 10, 100 and the area under the curve, over actions; a unit is a video, weighed by its actions.

    Args:
        videos: at least one.
        found: of each.
        num_steps: chance proposes runs of so many equal steps of a video.
    """
    own = [recall_curve(covering_ranks(found[video.source_id].proposals.spans, video.actions)) for video in videos]
    whole = [recall_curve(covering_ranks(whole_video(video).spans, video.actions)) for video in videos]
    drawn = [chance_curve(video.actions, video.duration_s, num_steps) for video in videos]
    measured = []
    for metric, of_curve in _recall_metrics().items():
        outcome, baseline, chance = (_over_videos(metric, videos, curves, of_curve) for curves in (own, whole, drawn))
        measured.append(Measured(outcome=outcome, baseline=_value(baseline), chance=_value(chance)))
    return measured


def precision_of(videos: Sequence[AnnotatedVideo], found: Mapping[str, Localised]) -> list[Measured]:
    """Mean average precision (mAP), over overlaps and at some; a unit is a class that has an action.

    Args:
        videos: at least one.
        found: of each.
    """
    own = _precisions(videos, {source_id: localised.by_class for source_id, localised in found.items()})
    whole = _precisions(videos, {source_id: localised.whole_by_class for source_id, localised in found.items()})
    columns = {"mAP": list(range(len(TIOUS)))} | {f"mAP@{tiou:g}": [TIOUS.index(tiou)] for tiou in _SHOWN_TIOUS}
    names = tuple(str(label) for label in labels_of(videos).tolist())
    measured = []
    for metric, chosen in columns.items():
        outcome, baseline = (
            Outcome(metric=metric, unit_ids=names, values=values[:, chosen].mean(axis=1), weights=np.ones(len(names)))
            for values in (own, whole)
        )
        measured.append(Measured(outcome=outcome, baseline=_value(baseline)))
    return measured


def labels_of(videos: Sequence[AnnotatedVideo]) -> I64:
    """Classes that have an action in some videos, ascending."""
    return np.unique(np.concatenate([video.labels for video in videos]))


def _recall_metrics() -> dict[str, Callable[[F64], F64]]:
    """By name, what becomes of the (G, proposals) recall curves of a video's actions: (G,)."""

    def at(count: int) -> Callable[[F64], F64]:
        return lambda curves: curves[:, count - 1]

    return {**{f"AR@{count}": at(count) for count in _COUNTS}, "AUC": area_under}


def _over_videos(
    metric: str, videos: Sequence[AnnotatedVideo], curves: Sequence[F64], of_curve: Callable[[F64], F64]
) -> Outcome:
    return Outcome(
        metric=metric,
        unit_ids=tuple(video.source_id for video in videos),
        values=np.array([of_curve(found).mean() for found in curves]),
        weights=np.array([len(video.actions) for video in videos], dtype=np.float64),
    )


def _precisions(videos: Sequence[AnnotatedVideo], detected: Mapping[str, Mapping[int, Proposals]]) -> F64:
    """Average precision of each class that has an action: (classes, X)."""
    rows = []
    for label in labels_of(videos).tolist():
        annotated = {video.source_id: video.actions[video.labels == label] for video in videos}
        found = {source_id: classes[label] for source_id, classes in detected.items() if label in classes}
        rows.append(average_precisions(found, annotated))
    return np.stack(rows)


def _value(outcome: Outcome) -> float:
    return float(np.average(outcome.values, weights=outcome.weights))
