"""Choosing the right one of two videos that hold the same steps in another order.

For both videos of a pair: does the video's own narration score higher with it than with the other? A tie counts one
half. Whatever ignores order can only guess here. The query is the video's whole narration, all paragraphs in order,
because one paragraph of several may hold no difference in order.
"""

from collections.abc import Mapping

import numpy as np

from models.alignment.scorers import Scorer
from stages.evaluation.bootstrap import means, pair_accuracy, paired_bootstrap
from stages.evaluation.metrics import ranks_of_targets
from stages.evaluation.records import F64, EvaluatedVideo, EvaluationSet, ProtocolResult, RankedQueries, Score
from stages.evaluation.scoring import ProtocolSettings, missing_counts
from stages.evaluation.sequence_retrieval import LABELS, SIMILARITIES

_DEFINITION = "query = the whole narration of one video of a pair; gallery = the two videos of the pair"
_CHANCE = 0.5
_BASELINE = "caption_average"

_SCORES = ("caption_average", "dtw", "otam")

Pair = tuple[str, EvaluatedVideo, EvaluatedVideo]


def order_pairs(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure how often each sequence scorer chooses the right one of a pair.

    Args:
        evaluation: The split and its pairs.
        settings: Bootstrap.

    Returns:
        `order_pairs.` `caption_average`, `dtw`, `otam`; the latter two also hold the paired difference to the first.
    """
    pairs = _complete_pairs(evaluation)
    scores = {key: _pair_scores(pairs, getattr(settings.scorers, key)) for key in _SCORES}
    choices = {key: choices_of(values) for key, values in scores.items()}
    return [
        _result(key, evaluation, _measured(key, choices, settings) if pairs else (), _ranked(pairs, scores[key]))
        for key in _SCORES
    ]


def _measured(key: str, choices: Mapping[str, F64], settings: ProtocolSettings) -> tuple[Score, ...]:
    rng = settings.generator(f"order_pairs.{key}")
    found = pair_accuracy(choices[key], rng=rng, settings=settings.bootstrap)
    accuracy = Score(name="accuracy", value=found.value, low=found.low, high=found.high, chance=_CHANCE)
    if key == _BASELINE:
        return (accuracy,)
    gain = paired_bootstrap(means(choices[key]), means(choices[_BASELINE]), rng=rng, settings=settings.bootstrap)
    name = f"accuracy_minus_{_BASELINE}"
    return accuracy, Score(name=name, value=gain.value, low=gain.low, high=gain.high, chance=None)


def choices_of(scores: F64) -> F64:
    """Decide each choice of each pair.

    Args:
        scores: (P, 2, 2) float64: narration of video i against video j of the pair.

    Returns:
        (P, 2) float64: 1 if a narration scores higher with its own video, 0 if lower, one half if equal.
    """
    if not len(scores):
        return np.zeros((0, 2))
    ranks = np.stack([ranks_of_targets(scores[:, i], np.full(len(scores), i)) for i in (0, 1)], axis=1)
    return 2.0 - ranks


def _complete_pairs(evaluation: EvaluationSet) -> list[Pair]:
    usable = {video.video_id: video for video in evaluation.videos if video.narration_ids}
    return [
        (pair_id, usable[first], usable[second])
        for pair_id, (first, second) in sorted(evaluation.pairs.items())
        if first in usable and second in usable
    ]


def _pair_scores(pairs: list[Pair], scorer: Scorer) -> F64:
    scores = [scorer([a.narrations, b.narrations], [a.windows, b.windows]) for _, a, b in pairs]
    return np.stack(scores) if scores else np.zeros((0, 2, 2))


def _ranked(pairs: list[Pair], scores: F64) -> RankedQueries | None:
    """Two queries a pair; the id `<pair>/<video>` keeps the pair together when seeds are pooled."""
    if not pairs:
        return None
    videos = [(pair_id, own.video_id, other.video_id) for pair_id, a, b in pairs for own, other in ((a, b), (b, a))]
    own_scores = np.stack([scores[:, 0, 0], scores[:, 1, 1]], axis=1).reshape(-1)
    other_scores = np.stack([scores[:, 0, 1], scores[:, 1, 0]], axis=1).reshape(-1)
    ranks = (2.0 - choices_of(scores)).reshape(-1)
    first = own_scores >= other_scores
    return RankedQueries(
        query_ids=tuple(f"{pair_id}/{own}" for pair_id, own, _ in videos),
        ranks=ranks,
        target_ids=tuple(own for _, own, _ in videos),
        scores=own_scores,
        answer_ids=tuple(own if won else other for (_, own, other), won in zip(videos, first, strict=True)),
        gains=1.0 / np.log2(1.0 + ranks),
        num_relevant=np.ones(len(videos), dtype=np.int64),
        gallery_size=2,
        num_equal=(ranks == 1.5).astype(np.int64),
    )


def _result(
    key: str, evaluation: EvaluationSet, scores: tuple[Score, ...], ranked: RankedQueries | None
) -> ProtocolResult:
    complete = len(ranked) // 2 if ranked else 0
    why = "" if complete else _why_none(evaluation)
    return ProtocolResult(
        name=f"order_pairs.{key}",
        title=f"Right one of a pair, {LABELS[key]}",
        definition=_DEFINITION,
        similarity=SIMILARITIES[key],
        scores=scores,
        ranked=ranked,
        unit="pair",
        num_units=complete,
        missing=missing_counts(evaluation) | {"pairs_incomplete": len(evaluation.pairs) - complete},
        not_evaluated=why,
    )


def _why_none(evaluation: EvaluationSet) -> str:
    if not evaluation.pairs:
        return f"the split {evaluation.split!r} names no pairs of videos that differ in order only"
    return f"none of the {len(evaluation.pairs)} pairs has features and narrations for both of its videos"
