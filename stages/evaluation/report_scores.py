"""The numbers of the report as lines of text, and as positions on their little scales."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.evaluation.chance import mixed_survival
from stages.evaluation.charts import rank_histogram
from stages.evaluation.numbers import RANKS, label_of, write_number
from stages.evaluation.records import ProtocolResult, RankedQueries, Score

_NUM_QUERIES = 5
_MAX_HEADLINES = 4


def headlines(results: Sequence[ProtocolResult], chosen: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The numbers that stand above all: those chosen, or the first of each protocol."""
    by_name = {result.name: result for result in results}
    wanted = list(chosen) or [(result.name, result.scores[0].name) for result in results if result.scores]
    cards = []
    for name, metric in wanted:
        result = by_name.get(name)
        score = next((score for score in result.scores if score.name == metric), None) if result else None
        if result and score:
            label = result.title if metric == "accuracy" else f"{result.title}, {label_of(metric)}"
            cards.append({"label": label, "row": _row(score, _gallery(result.ranked))})
    return cards[:_MAX_HEADLINES]


def protocol_card(result: ProtocolResult) -> dict[str, Any]:
    """A protocol's table, its warnings, and its histogram where queries share a gallery."""
    ranked = result.ranked
    histogram = ""
    if ranked and result.unit == "query":
        histogram = rank_histogram(ranked.ranks, mixed_survival(ranked.gallery_size, ranked.num_relevant))
    return {
        "result": result,
        "num_queries": len(ranked) if ranked else result.num_units,
        "gallery_size": _gallery(ranked),
        "has_legacy": any(score.legacy is not None for score in result.scores),
        "has_chance": any(score.chance is not None for score in result.scores),
        "rows": [_row(score, _gallery(ranked)) for score in result.scores],
        "missing": [(name.replace("_", " "), count) for name, count in result.missing.items() if count],
        "histogram": histogram,
    }


def queries_table(result: ProtocolResult) -> dict[str, Any] | None:
    """The best and the worst queries of a protocol; None where nothing was ranked or queries come in pairs."""
    ranked = result.ranked
    if ranked is None or result.unit != "query":
        return None
    order = sorted(range(len(ranked)), key=lambda row: (float(ranked.ranks[row]), -float(ranked.scores[row]), row))
    best = [row for row in order[:_NUM_QUERIES] if ranked.ranks[row] == 1]
    worst = [row for row in reversed(order) if ranked.ranks[row] > 1][:_NUM_QUERIES]
    return {
        "title": result.title,
        "gallery_size": ranked.gallery_size,
        "best": [_query(result, ranked, row) for row in best],
        "worst": [_query(result, ranked, row) for row in worst],
    }


def _query(result: ProtocolResult, ranked: RankedQueries, row: int) -> dict[str, str]:
    def said(name: str) -> str:
        return result.texts.get(name, "")

    query, target, answer = ranked.query_ids[row], ranked.target_ids[row], ranked.answer_ids[row]
    right = ranked.ranks[row] == 1
    return {
        "id": query,
        "text": said(query),
        "rank": f"{ranked.ranks[row]:g}",
        "target": said(target) or target,
        "answer": "" if right else said(answer) or answer,
    }


def _gallery(ranked: RankedQueries | None) -> int:
    return ranked.gallery_size if ranked else 0


def _row(score: Score, gallery_size: int) -> dict[str, Any]:
    """Texts of one line of a table, and positions in per cent on its little scale."""
    low, high = _scale(score, gallery_size)

    def at(value: float) -> str:
        return f"{100 * float(np.clip((value - low) / max(high - low, 1e-12), 0, 1)):.1f}"

    def text(value: float | None) -> str:
        return "" if value is None else write_number(score.name, value)

    return {
        "label": label_of(score.name),
        "value": text(score.value),
        "low": text(score.low),
        "high": text(score.high),
        "chance": text(score.chance),
        "legacy": text(score.legacy),
        "baselines": [(name, text(value), at(value)) for name, value in score.baselines.items()],
        "at": at(score.value),
        "at_low": at(score.low),
        "at_high": at(score.high),
        "at_chance": at(0.0 if score.chance is None else score.chance),
    }


def _scale(score: Score, gallery_size: int) -> tuple[float, float]:
    if score.name in RANKS:
        return 1.0, float(max(gallery_size, 2))
    return (-1.0, 1.0) if "_minus_" in score.name else (0.0, 1.0)
