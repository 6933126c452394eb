"""`report.html`: one self-contained page, no script, no address, the same bytes for the same input.

The template holds the words and the style, `charts.py` the pictures, `report_scores.py` the lines of the tables; here
they are put together. Who wants a part of the page of their own hands in a `stages.artifacts.report_sections.Section`.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from stages.artifacts.report_sections import Section
from stages.evaluation.alignment_example import AlignmentExample
from stages.evaluation.charts import HEAT_LEVELS, alignment_map, clock, training_curve
from stages.evaluation.expected import Verdict
from stages.evaluation.records import ProtocolResult, Subject
from stages.evaluation.report_scores import headlines, protocol_card, queries_table
from stages.evaluation.results import TIE_RULE
from stages.evaluation.scoring import ProtocolSettings
from stages.media.thumbnail_reader import Thumbnails
from stages.training.history import History

_SHOWN_IDS = 20


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
    """Everything that the page shows; alignments, warnings and sections of protocols stand in their results.

    Attributes:
        subject: What was measured on.
        results: In the order of the page.
        settings: How it was measured.
        headlines: (protocol, metric) of the numbers that stand above all.
        verdicts: Against published results.
        history: Of the training; None without a checkpoint.
        thumbnails: Of the videos; None without the artifact.
        sections: What other stages have to say.
        failures: By artifact and cause.
        provenance: Facts in order.
    """

    subject: Subject
    results: Sequence[ProtocolResult]
    settings: ProtocolSettings
    headlines: Sequence[tuple[str, str]] = ()
    verdicts: Sequence[Verdict] = ()
    history: History | None = None
    thumbnails: Thumbnails | None = None
    sections: Sequence[Section] = ()
    failures: Sequence[FailureCount] = ()
    provenance: Sequence[Provenance] = field(default_factory=tuple)


def render_report(content: ReportContent) -> str:
    """Return the page.

    Args:
        content: What it shows; texts are escaped.

    Returns:
        HTML, UTF-8, that refers to nothing outside itself.
    """
    results = content.results
    examples = [example for result in results for example in result.alignments]
    page: str = _template().render(
        subject=content.subject,
        confidence=f"{content.settings.bootstrap.confidence:.0%}",
        num_resamples=content.settings.bootstrap.num_resamples,
        tie_rule=TIE_RULE,
        headlines=headlines(results, content.headlines),
        verdicts=content.verdicts,
        protocols=[protocol_card(result) for result in results],
        queries=[table for result in results if (table := queries_table(result))],
        training=_training(content.history),
        alignments=[_alignment(example, content.thumbnails) for example in examples],
        heat_levels=range(HEAT_LEVELS),
        sections=[*(section for result in results for section in result.sections), *content.sections],
        missing=[
            (reason.replace("_", " "), len(ids), _first(ids))
            for reason, ids in (*content.subject.missing.items(), *content.subject.lacking.items())
        ],
        failures=content.failures,
        provenance=content.provenance,
    )
    return page


def _template() -> Template:
    source = (files("stages.evaluation") / "templates" / "report.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN_IDS]) + (" …" if len(ids) > _SHOWN_IDS else "")


def _training(history: History | None) -> dict[str, Any] | None:
    """The curves of the loss and of each of its terms."""
    if history is None:
        return None
    curves = {"loss": history.losses, **history.terms}
    return {
        "steps": int(history.steps[-1]),
        "curves": [
            {
                "name": name.replace("_", " "),
                "svg": training_curve(name, history.steps, values),
                "first": f"{values[0]:.3f}",
                "last": f"{values[-1]:.3f}",
            }
            for name, values in curves.items()
        ],
    }


def _alignment(example: AlignmentExample, thumbnails: Thumbnails | None) -> dict[str, Any]:
    def picture(time_s: float) -> str:
        jpeg = thumbnails.at(example.video_id, time_s) if thumbnails else None
        return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}" if jpeg else ""

    found = []
    for row, text in enumerate(example.texts):
        columns = [window for sentence, window in example.path if sentence == row]
        start, end = float(example.spans[min(columns), 0]), float(example.spans[max(columns), 1])
        shown = picture((start + end) / 2)
        found.append({"text": text, "span": f"{clock(start)}–{clock(end)}", "picture": shown})
    strip = [picture(float(middle)) for middle in example.spans.mean(axis=1)]
    return {
        "title": example.title,
        "note": example.note,
        "score": f"{example.score:.3f}",
        "svg": alignment_map(example.similarity, example.path, example.told, example.spans, strip),
        "has_told": bool(example.told.any()),
        "low": f"{example.similarity.min():.2f}",
        "high": f"{example.similarity.max():.2f}",
        "sentences": found,
    }
