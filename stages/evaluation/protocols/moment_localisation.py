"""Moments inside one video: which run of five-second chunks does a description mean.

A video of six chunks has 21 segments, each run of neighbouring chunks; those that it is long enough for are ranked by
mean row state . text. Per description: the mean of the three best ranks among the annotators' segments, counted if it
is at most 1 (or 5), and the mean of the three best overlaps of the first segment with them.

Source: papers.md 7.6 (DiDeMo, arXiv:1708.01641, LocalizingMoments utils/eval.py; scores of segments as VideoCLIP's).
The published scorer averages empty rows behind a short video into its segments, and ignores an annotator whose segment
the video is too short for; we average real rows alone, and count such an answer as missed. Whatever tables stand beside
it in papers, this is localisation inside a video. Letters: M descriptions, K segments that fit a video.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.datasets.didemo import CHUNK_S
from stages.datasets.records import Annotations, MomentQuery
from stages.evaluation.checks import one_answer_warning
from stages.evaluation.encoding import RowStates
from stages.evaluation.material import Material
from stages.evaluation.protocol_configs import MomentLocalisationConfig
from stages.evaluation.records import F32, F64, Outcome, ProtocolResult, Score
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings, outcome_score
from stages.evaluation.segments import (
    METRICS,
    SEGMENTS,
    RankedSegments,
    Segment,
    by_order,
    chance,
    frequency_order,
    judge,
)
from stages.training.embedder import rows_over

_PRIOR = "frequency prior"


def moment_localisation(
    material: Material, config: MomentLocalisationConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure how well descriptions find their moments.

    Args:
        material: a data set with moments; its other splits give the prior.
        config: how a video is seen, and which split the prior is counted on.
        settings: bootstrap.

    Returns:
        `moment_localisation`, with rank1, rank5 and mIoU.
    """
    encoder, described = material.open_encoder, material.measured.moments
    definition = Definition(
        name="moment_localisation",
        title="Moment inside a video",
        definition="query = a description; gallery = the runs of 5 s chunks of its own video; right are the "
        "annotators' runs, of which the three that agree best count",
        similarity="inner product of the text and the mean state of the run's rows",
    )
    states = {
        source_id: encoder.first_states(source_id, num_rows=config.max_rows, cls_visible=config.cls_visible)
        for source_id in dict.fromkeys(moment.source_id for moment in described)
    }
    shown = {source_id for source_id, video in states.items() if _shows_a_segment(video)}
    moments = [moment for moment in described if moment.source_id in shown]
    missing = {"descriptions_of_damaged_videos": len(described) - len(moments)}
    if not moments:
        return [definition.result(not_evaluated="no description is about a video with features", missing=missing)]
    texts = encoder.texts([moment.text for moment in moments])
    clean = [rank_segments(states[m.source_id], text) for m, text in zip(moments, texts, strict=True)]
    published = [published_ranks(states[m.source_id], text) for m, text in zip(moments, texts, strict=True)]
    result = _result(definition, moments, clean, published, _prior(material.dataset, config), settings)
    return [replace(result, missing=missing)]


def rank_segments(video: RowStates, text: F32) -> RankedSegments:
    """Rank the segments that have a real row by the mean state of their real rows.

    Args:
        video: its first rows.
        text: (E,).

    Raises:
        ValueError: a score is NaN.
    """
    scores = np.full(len(SEGMENTS), -np.inf)
    for number, rows in enumerate(_rows_of_segments(video)):
        real = video.real[rows]
        if real.any():
            scores[number] = float(video.states[rows][real].mean(axis=0, dtype=np.float64) @ text.astype(np.float64))
    return _ranked(scores)


def published_ranks(video: RowStates, text: F32) -> RankedSegments:
    """Rank segments as published: means take in the empty rows behind a short video; equals keep their order."""
    fits = np.zeros(len(SEGMENTS), dtype=np.bool_)
    scores = np.zeros(len(SEGMENTS))
    for number, rows in enumerate(_rows_of_segments(video)):
        fits[number] = video.real[rows].any()
        scores[number] = float(video.states[rows].mean(axis=0) @ text) if len(video.states[rows]) else 0.0
    order = [number for number in np.argsort(-scores, kind="stable").tolist() if fits[number]]
    ranks = np.full(len(SEGMENTS), np.inf)
    ranks[order] = np.arange(1, len(order) + 1)
    return RankedSegments(ranks=ranks, first=SEGMENTS[order[0]])


def _shows_a_segment(video: RowStates) -> bool:
    """Whether any segment has an intact row; rows behind the last chunk are in none."""
    return any(bool(video.real[rows].any()) for rows in _rows_of_segments(video))


def _rows_of_segments(video: RowStates) -> list[slice]:
    spans = np.array([[first * CHUNK_S, (last + 1) * CHUNK_S] for first, last in SEGMENTS])
    return [slice(start, end) for start, end in rows_over(video.spans, spans).tolist()]


def _ranked(scores: F64) -> RankedSegments:
    """By our rule of ties; minus infinity does not fit."""
    if np.isnan(scores).any():
        raise ValueError("a segment's score is NaN; mend the encoder or the vectors")
    greater = (scores[None] > scores[:, None]).sum(axis=1)
    equal = (scores[None] == scores[:, None]).sum(axis=1) - 1
    ranks = np.where(np.isneginf(scores), np.inf, 1.0 + greater + 0.5 * equal)
    return RankedSegments(ranks=ranks, first=SEGMENTS[int(scores.argmax())])


def _prior(dataset: Annotations, config: MomentLocalisationConfig) -> list[Segment] | None:
    moments = dataset.of_split(config.prior_split).moments
    return frequency_order(moments) if moments else None


def _result(
    definition: Definition,
    moments: Sequence[MomentQuery],
    clean: Sequence[RankedSegments],
    published: Sequence[RankedSegments],
    prior: Sequence[Segment] | None,
    settings: ProtocolSettings,
) -> ProtocolResult:
    pairs = list(zip(moments, clean, strict=True))
    judged = np.array([judge(ranked, moment.spans) for moment, ranked in pairs])
    legacy = [judge(r, moment.spans, ignore_absent=True) for moment, r in zip(moments, published, strict=True)]
    guessed = np.mean([chance(moment.spans, ranked.ranks) for moment, ranked in pairs], axis=0)
    known = [] if prior is None else [judge(by_order(prior, ranked.ranks), moment.spans) for moment, ranked in pairs]
    outcomes = tuple(
        Outcome(
            metric=metric,
            unit_ids=tuple(moment.query_id for moment in moments),
            values=judged[:, column],
            weights=np.ones(len(moments)),
        )
        for column, metric in enumerate(METRICS)
    )
    rng = settings.generator(definition.name)
    scores: list[Score] = [
        outcome_score(
            outcome,
            settings,
            rng,
            chance=float(guessed[column]),
            legacy=float(np.mean(legacy, axis=0)[column]),
            baselines={_PRIOR: float(np.mean(known, axis=0)[column])} if known else {},
        )
        for column, outcome in enumerate(outcomes)
    ]
    return definition.result(
        scores=tuple(scores),
        outcomes=outcomes,
        unit="description",
        num_units=len(moments),
        warnings=(
            *one_answer_warning([f"the segment {ranked.first}" for ranked in clean]),
            *_below_prior(scores[0]),
        ),
    )


def _below_prior(rank1: Score) -> tuple[str, ...]:
    prior = rank1.baselines.get(_PRIOR)
    if prior is None or rank1.low >= prior:
        return ()
    return (f"rank1 {rank1.value:.1%} is not surely above {prior:.1%}, what the most frequent segments alone score",)
