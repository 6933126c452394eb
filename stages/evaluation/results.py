"""The files of an evaluation that programs read: `metrics.json` and the rows of `ranks.parquet`."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.records import EvaluationSet, ProtocolResult, RankedQueries, Score
from stages.evaluation.scoring import ProtocolSettings

METRICS_SCHEMA = 1
TIE_RULE = "rank = 1 + wrong answers with a greater score + half of those with an equal score; NaN is an error"
_NAMED = 100
"""How many ids are listed where a count could run into millions."""
_DIGITS = 6


def metrics_document(
    evaluation: EvaluationSet, results: Sequence[ProtocolResult], settings: ProtocolSettings
) -> dict[str, Any]:
    """Return what `metrics.json` holds: every score with all that is needed to judge it, in a stable order.

    Args:
        evaluation: What was measured on.
        results: What came out, in the order of the report.
        settings: How.

    Returns:
        JSON values; numbers rounded to six decimals.
    """
    return {
        "schema": METRICS_SCHEMA,
        "split": {
            "name": evaluation.split,
            "source": evaluation.split_source,
            "num_videos": len(evaluation.videos) + len(evaluation.without_features),
            "num_pairs": len(evaluation.pairs),
            "without_features": _named(evaluation.without_features),
            "without_narrations": _named(evaluation.without_narrations),
            "trained_on": _named(evaluation.trained_on),
            "training_known": evaluation.training_known,
        },
        "encoder": {
            "description": evaluation.encoder.description,
            "random_weights": evaluation.encoder.random_weights,
            "features": evaluation.encoder.features,
            "normalised": evaluation.encoder.normalised,
        },
        "ties": TIE_RULE,
        "intervals": {
            "method": "percentile bootstrap",
            "confidence": settings.bootstrap.confidence,
            "num_resamples": settings.bootstrap.num_resamples,
            "seed": settings.seed,
        },
        "protocols": {result.name: _protocol(evaluation, result) for result in results},
    }


def training_note(evaluation: EvaluationSet) -> str:
    """Say whether the encoder has seen the measured videos in training."""
    if not evaluation.training_known:
        return "unknown"
    if not evaluation.trained_on:
        return "no"
    return f"yes, on {len(evaluation.trained_on)} of {len(evaluation.videos)} videos"


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


def _protocol(evaluation: EvaluationSet, result: ProtocolResult) -> dict[str, Any]:
    ranked: RankedQueries | None = result.ranked
    return {
        "title": result.title,
        "definition": result.definition,
        "similarity": result.similarity,
        "split": evaluation.split,
        "trained_on_these_videos": training_note(evaluation),
        "encoder": evaluation.encoder.description,
        "random_weights": evaluation.encoder.random_weights,
        "evaluated": ranked is not None,
        "not_evaluated": result.not_evaluated or None,
        "num_queries": len(ranked) if ranked else 0,
        "gallery_size": ranked.gallery_size if ranked else 0,
        "bootstrap_unit": result.unit,
        "num_bootstrap_units": result.num_units,
        "missing": dict(result.missing),
        "scores": {score.name: _score(score) for score in result.scores},
    }


def _score(score: Score) -> dict[str, float | None]:
    return {
        "value": round(score.value, _DIGITS),
        "low": round(score.low, _DIGITS),
        "high": round(score.high, _DIGITS),
        "chance": None if score.chance is None else round(score.chance, _DIGITS),
    }


def _named(ids: Sequence[str]) -> Mapping[str, Any]:
    return {"count": len(ids), "first": list(ids[:_NAMED])}
