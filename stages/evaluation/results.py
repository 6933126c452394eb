"""The files of an evaluation that programs read: `metrics.json`, and the rows of `ranks` and `outcomes.parquet`."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.records import ProtocolResult, Score, Subject
from stages.evaluation.scoring import ProtocolSettings

METRICS_SCHEMA = 2
TIE_RULE = "rank = 1 + wrong answers with a greater score + half of those with an equal score; NaN is an error"
_NAMED = 100
"""How many ids are listed where a count could run into millions."""
_DIGITS = 6


def metrics_document(subject: Subject, results: Sequence[ProtocolResult], settings: ProtocolSettings) -> dict[str, Any]:
    """Return what `metrics.json` holds: every score with all that is needed to judge it, in a stable order.

    Args:
        subject: What was measured on.
        results: What came out, in the order of the report.
        settings: How.

    Returns:
        JSON values; numbers rounded to six decimals.
    """
    return {
        "schema": METRICS_SCHEMA,
        "title": subject.title,
        "split": {
            "name": subject.split,
            "source": subject.source,
            "num_videos": subject.num_videos + sum(map(len, subject.missing.values())),
            "num_measured": subject.num_videos,
            "num_pairs": subject.num_pairs,
            "missing": {reason: _named(ids) for reason, ids in subject.missing.items()},
            "lacking": {reason: _named(ids) for reason, ids in subject.lacking.items()},
            "trained_on": _named(subject.trained_on),
            "training_known": subject.training_known,
        },
        "encoder": {
            "description": subject.encoder.description,
            "random_weights": subject.encoder.random_weights,
            "features": subject.encoder.features,
            "normalised": subject.encoder.normalised,
        },
        "ties": TIE_RULE,
        "intervals": {
            "method": "percentile bootstrap",
            "confidence": settings.bootstrap.confidence,
            "num_resamples": settings.bootstrap.num_resamples,
            "seed": settings.seed,
        },
        "protocols": {result.name: _protocol(subject, result) for result in results},
    }


def rank_rows(results: Sequence[ProtocolResult]) -> dict[str, list[Any]]:
    """Return the columns of `ranks.parquet`, one row a query of each protocol.

    Args:
        results: What came out.

    Returns:
        protocol, query_id, rank, target_id, score; the target is the best right answer.
    """
    evaluated = [(result.name, result.ranked) for result in results if result.ranked is not None]
    return {
        "protocol": [name for name, ranked in evaluated for _ in ranked.query_ids],
        "query_id": [query_id for _, ranked in evaluated for query_id in ranked.query_ids],
        "rank": [rank for _, ranked in evaluated for rank in ranked.ranks.tolist()],
        "target_id": [target_id for _, ranked in evaluated for target_id in ranked.target_ids],
        "score": [score for _, ranked in evaluated for score in ranked.scores.tolist()],
    }


def outcome_rows(results: Sequence[ProtocolResult]) -> dict[str, list[Any]]:
    """Return the columns of `outcomes.parquet`, one row a unit of each metric that is no function of a rank.

    Args:
        results: What came out.

    Returns:
        protocol, metric, unit_id, value, weight, group ('' where there is one group).
    """
    found = [(result.name, outcome) for result in results for outcome in result.outcomes]
    return {
        "protocol": [name for name, outcome in found for _ in outcome.unit_ids],
        "metric": [outcome.metric for _, outcome in found for _ in outcome.unit_ids],
        "unit_id": [unit_id for _, outcome in found for unit_id in outcome.unit_ids],
        "value": [value for _, outcome in found for value in outcome.values.tolist()],
        "weight": [weight for _, outcome in found for weight in outcome.weights.tolist()],
        "group": [group for _, outcome in found for group in (outcome.groups or [""] * len(outcome.unit_ids))],
    }


def _protocol(subject: Subject, result: ProtocolResult) -> dict[str, Any]:
    ranked = result.ranked
    return {
        "title": result.title,
        "definition": result.definition,
        "similarity": result.similarity,
        "split": subject.split,
        "trained_on_these_videos": subject.training_note,
        "encoder": subject.encoder.description,
        "random_weights": subject.encoder.random_weights,
        "evaluated": bool(result.scores),
        "not_evaluated": result.not_evaluated or None,
        "num_queries": len(ranked) if ranked else result.num_units,
        "gallery_size": ranked.gallery_size if ranked else 0,
        "bootstrap_unit": result.unit,
        "num_bootstrap_units": result.num_units,
        "missing": dict(result.missing),
        "warnings": list(result.warnings),
        "scores": {score.name: _score(score) for score in result.scores},
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "value": round(score.value, _DIGITS),
        "low": round(score.low, _DIGITS),
        "high": round(score.high, _DIGITS),
        "chance": None if score.chance is None else round(score.chance, _DIGITS),
        "legacy": None if score.legacy is None else round(score.legacy, _DIGITS),
        "baselines": {name: round(value, _DIGITS) for name, value in score.baselines.items()},
    }


def _named(ids: Sequence[str]) -> Mapping[str, Any]:
    return {"count": len(ids), "first": list(ids[:_NAMED])}
