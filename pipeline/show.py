"""Answers and numbers as text for people."""

import json

from stages.artifacts.sealed import Artifact
from stages.evaluation.layout import METRICS, OWN_SET, REPORT
from stages.evaluation.summary import summary_lines
from stages.retrieval.results import Answer, Hit, ParagraphHit

_RANDOM = "  (random weights: these scores mean nothing)"


def answer_text(answer: Answer) -> str:
    """The hits of a query, best first."""
    lines = [answer.query, f"  encoder: {answer.encoder}{_RANDOM if answer.random_weights else ''}"]
    lines.append(f"  features: {answer.features}")
    hits: tuple[Hit | ParagraphHit, ...] = answer.hits
    for number, hit in enumerate(hits, 1):
        lines += _moment_lines(number, hit) if isinstance(hit, Hit) else _video_lines(number, hit)
    return "\n".join(lines if answer.hits else [*lines, "  no hit"])


def _moment_lines(number: int, hit: Hit) -> list[str]:
    span = f"{clock(hit.start_s)} - {clock(hit.end_s)}"
    return [f"{number:3}. {hit.path}  {span}  score {hit.score:.3f}  {_shorten(hit.text)}".rstrip()]


def _video_lines(number: int, hit: ParagraphHit) -> list[str]:
    lines = [f"{number:3}. {hit.path}  score {hit.score:.3f}"]
    for sentence in hit.sentences:
        span = f"{clock(sentence.start_s)} - {clock(sentence.end_s)}"
        lines.append(f"       {span}  {sentence.score:+.3f}  {'' if sentence.found else '(not found) '}{sentence.text}")
    return lines


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.t, hours only where there are any; rounded first, so that none reads 0:60.0."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def _shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def evaluation_text(evaluation: Artifact) -> str:
    """The table of each set of an evaluation, the run's own last: numbers with their intervals, chance beside them."""
    lines = [""]
    for record in sorted(evaluation.records, key=lambda record: (record.unit_id == OWN_SET, record.unit_id)):
        metrics = json.loads(evaluation.path(record.file(METRICS)).read_bytes())
        lines += [*summary_lines(metrics), f"report: {evaluation.path(record.file(REPORT))}", ""]
    return "\n".join(lines)
