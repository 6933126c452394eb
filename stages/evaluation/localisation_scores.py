"""Ranked spans against annotated actions: recall and precision with intervals, chance, and one span as the baseline.

The baseline proposes the whole video and nothing else. Letters: G actions of a video, C classes, X overlaps.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stages.evaluation.detections import average_precisions
from stages.evaluation.localisation import AnnotatedVideo
from stages.evaluation.proposals import TIOUS, Proposals, area_under, chance_curve, covering_ranks, recall_curve
from stages.evaluation.records import F64, I64, Outcome, Score
from stages.evaluation.scoring import ProtocolSettings, outcome_score

_COUNTS = (1, 5, 10, 100)
_SHOWN_TIOUS = (0.5, 0.75, 0.95)
_WHOLE = "whole video"

Detected = Mapping[str, Mapping[int, Proposals]]
"""Proposals by video and class."""


def recall_scores(
    videos: Sequence[AnnotatedVideo],
    proposals: Mapping[str, Proposals],
    num_steps: int,
    settings: ProtocolSettings,
    rng: np.random.Generator,
) -> tuple[Score, ...]:
    """AR@1, 5, 10, 100 and the area under the curve, over actions; videos are what is resampled.

    Args:
        videos: at least one.
        proposals: of each.
        num_steps: chance proposes runs of so many equal steps of a video.
        settings: bootstrap.
        rng: source of the resamples.
    """
    own = [recall_curve(covering_ranks(proposals[video.source_id].spans, video.actions)) for video in videos]
    whole = [recall_curve(covering_ranks(whole_video(video).spans, video.actions)) for video in videos]
    drawn = [chance_curve(video.actions, video.duration_s, num_steps) for video in videos]
    scores = []
    for metric, of_curve in _recall_metrics().items():
        found, by_whole, by_chance = (_over_videos(metric, videos, curves, of_curve) for curves in (own, whole, drawn))
        baselines = {_WHOLE: _value(by_whole)}
        scores.append(outcome_score(found, settings, rng, chance=_value(by_chance), baselines=baselines))
    return tuple(scores)


def precision_scores(
    videos: Sequence[AnnotatedVideo],
    detected: Detected,
    detected_by_whole: Detected,
    settings: ProtocolSettings,
    rng: np.random.Generator,
) -> tuple[Score, ...]:
    """Mean average precision (mAP), over overlaps and at some; the classes that have an action are resampled.

    Args:
        videos: at least one.
        detected: what is proposed and named.
        detected_by_whole: likewise where the whole video is all that is proposed.
        settings: bootstrap.
        rng: source of the resamples.
    """
    own, by_whole = (_precisions(videos, found) for found in (detected, detected_by_whole))
    columns = {"mAP": list(range(len(TIOUS)))} | {f"mAP@{tiou:g}": [TIOUS.index(tiou)] for tiou in _SHOWN_TIOUS}
    names = tuple(str(label) for label in labels_of(videos).tolist())
    scores = []
    for metric, chosen in columns.items():
        found, baseline = (
            Outcome(metric=metric, unit_ids=names, values=values[:, chosen].mean(axis=1), weights=np.ones(len(names)))
            for values in (own, by_whole)
        )
        scores.append(outcome_score(found, settings, rng, baselines={_WHOLE: _value(baseline)}))
    return tuple(scores)


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


def _precisions(videos: Sequence[AnnotatedVideo], detected: Detected) -> F64:
    """Average precision of each class that has an action: (classes, X)."""
    rows = []
    for label in labels_of(videos).tolist():
        annotated = {video.source_id: video.actions[video.labels == label] for video in videos}
        found = {source_id: classes[label] for source_id, classes in detected.items() if label in classes}
        rows.append(average_precisions(found, annotated))
    return np.stack(rows)


def whole_video(video: AnnotatedVideo) -> Proposals:
    """The baseline's one proposal."""
    return Proposals(spans=np.array([[0.0, video.duration_s]]), scores=np.ones(1))


def _value(outcome: Outcome) -> float:
    return float(np.average(outcome.values, weights=outcome.weights))
