"""`report.html`: one self-contained page, no script, no address, the same bytes for the same input.

The template holds the words and the style, `charts.py` the pictures; here numbers become what the page prints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from stages.evaluation.alignments import AlignmentExample
from stages.evaluation.chance import mixed_survival
from stages.evaluation.charts import HEAT_LEVELS, alignment_map, clock, loss_curve, rank_histogram
from stages.evaluation.records import F64, I64, EvaluationSet, ProtocolResult, Score
from stages.evaluation.results import TIE_RULE, training_note
from stages.evaluation.scoring import ProtocolSettings

_HEADLINES = (
    ("order_pairs.dtw", "accuracy"),
    ("paragraph_to_video.dtw", "R@1"),
    ("paragraph_to_video.caption_average", "R@1"),
    ("text_to_window", "R@10"),
)
_LABELS = {
    "median_rank": "median rank",
    "mean_rank": "mean rank",
    "accuracy": "right one chosen",
    "accuracy_minus_caption_average": "more than caption average",
}
_RANK_NAMES = frozenset(["median_rank", "mean_rank"])
_NUM_HARDEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The training of the encoder: (N,) steps and losses, N >= 1."""

    steps: I64
    losses: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Failures of one cause in one artifact that led here, with the first of them as an example."""

    artifact: str
    cause: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """One fact on what the page was made from."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that the page shows.

    Attributes:
        evaluation: What was measured on.
        results: In the order of the page.
        settings: How it was measured.
        history: Of the training; None without a checkpoint.
        alignments: Examples with their paths.
        failures: By artifact and cause.
        provenance: Facts in order.
    """

    evaluation: EvaluationSet
    results: Sequence[ProtocolResult]
    settings: ProtocolSettings
    history: History | None = None
    alignments: Sequence[AlignmentExample] = ()
    failures: Sequence[FailureCount] = ()
    provenance: Sequence[Provenance] = field(default_factory=tuple)


def render_report(content: ReportContent) -> str:
    """Return the page.

    Args:
        content: What it shows; texts are escaped.

    Returns:
        HTML, UTF-8, that refers to nothing outside itself.
    """
    evaluation, results = content.evaluation, content.results
    page: str = _template().render(
        evaluation=evaluation,
        training=training_note(evaluation),
        confidence=f"{content.settings.bootstrap.confidence:.0%}",
        num_resamples=content.settings.bootstrap.num_resamples,
        tie_rule=TIE_RULE,
        headlines=_headlines(results),
        protocols=[_protocol(result) for result in results],
        loss=_loss(content.history),
        alignments=[_alignment(example) for example in content.alignments],
        heat_levels=range(HEAT_LEVELS),
        hardest=[_hardest(result) for result in results if result.name == "paragraph_to_video.dtw" and result.ranked],
        failures=content.failures,
        num_failures=sum(failure.count for failure in content.failures),
        provenance=content.provenance,
    )
    return page


def _template() -> Template:
    source = (files("stages.evaluation") / "templates" / "report.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)


def _headlines(results: Sequence[ProtocolResult]) -> list[dict[str, Any]]:
    by_name = {result.name: result for result in results}
    cards = []
    for name, score_name in _HEADLINES:
        result = by_name.get(name)
        score = next((score for score in result.scores if score.name == score_name), None) if result else None
        if result and score and result.ranked:
            label = result.title if score_name == "accuracy" else f"{result.title}, {score_name}"
            cards.append({"label": label, "row": _row(score, result.ranked.gallery_size)})
    return cards


def _protocol(result: ProtocolResult) -> dict[str, Any]:
    ranked = result.ranked
    histogram = ""
    if ranked and result.unit == "query":
        histogram = rank_histogram(ranked.ranks, mixed_survival(ranked.gallery_size, ranked.num_relevant))
    return {
        "result": result,
        "num_queries": len(ranked) if ranked else 0,
        "gallery_size": ranked.gallery_size if ranked else 0,
        "rows": [_row(score, ranked.gallery_size) for score in result.scores] if ranked else [],
        "missing": [(name.replace("_", " "), count) for name, count in result.missing.items() if count],
        "histogram": histogram,
    }


def _row(score: Score, gallery_size: int) -> dict[str, Any]:
    """Texts of one line of a table, and positions in per cent on its little scale."""
    low, high = _scale(score, gallery_size)

    def at(value: float) -> str:
        return f"{100 * min(1.0, max(0.0, (value - low) / max(high - low, 1e-12))):.1f}"

    return {
        "label": _LABELS.get(score.name, score.name),
        "value": _number(score.name, score.value),
        "low": _number(score.name, score.low),
        "high": _number(score.name, score.high),
        "chance": "" if score.chance is None else _number(score.name, score.chance),
        "at": at(score.value),
        "at_low": at(score.low),
        "at_high": at(score.high),
        "at_chance": at(0.0 if score.chance is None else score.chance),
        "above": score.low > (score.chance or 0.0)
        if score.name not in _RANK_NAMES
        else score.high < (score.chance or 0),
    }


def _scale(score: Score, gallery_size: int) -> tuple[float, float]:
    if score.name in _RANK_NAMES:
        return 1.0, float(max(gallery_size, 2))
    return (-1.0, 1.0) if score.chance is None else (0.0, 1.0)


def _number(name: str, value: float) -> str:
    if name in _RANK_NAMES:
        return f"{value:.1f}"
    if name in ("MRR", "nDCG"):
        return f"{value:.3f}"
    if name == "accuracy_minus_caption_average":
        return f"{100 * value:+.1f}"
    return f"{100 * value:.1f} %"


def _loss(history: History | None) -> dict[str, Any] | None:
    if history is None or not history.steps.size:
        return None
    return {
        "svg": loss_curve(history.steps, history.losses),
        "first": f"{history.losses[0]:.3f}",
        "last": f"{history.losses[-1]:.3f}",
        "steps": int(history.steps[-1]),
    }


def _alignment(example: AlignmentExample) -> dict[str, Any]:
    found = []
    for row, text in enumerate(example.texts):
        columns = [window for sentence, window in example.path if sentence == row]
        start, end = example.spans[min(columns), 0], example.spans[max(columns), 1]
        found.append({"text": text, "span": f"{clock(float(start))}–{clock(float(end))}"})
    return {
        "title": example.title,
        "note": example.note,
        "score": f"{example.score:.3f}",
        "svg": alignment_map(example.similarity, example.path, example.told, example.spans),
        "has_told": bool(example.told.any()),
        "low": f"{example.similarity.min():.2f}",
        "high": f"{example.similarity.max():.2f}",
        "sentences": found,
    }


def _hardest(result: ProtocolResult) -> dict[str, Any]:
    ranked = result.ranked
    if ranked is None:
        return {}
    order = sorted(range(len(ranked)), key=lambda row: (-float(ranked.ranks[row]), ranked.query_ids[row]))
    worst = [row for row in order[:_NUM_HARDEST] if ranked.ranks[row] > 1]
    rows = [(ranked.query_ids[row], f"{ranked.ranks[row]:g}", ranked.answer_ids[row]) for row in worst]
    return {"title": result.title, "rows": rows, "gallery_size": ranked.gallery_size}
