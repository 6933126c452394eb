"""Answers and numbers as text for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.artifacts.sealed import Artifact
from stages.evaluate import METRICS, REPORT
from stages.retrieval.results import Answer, Hit, ParagraphHit

_RANDOM = "  (random weights: these scores mean nothing)"


def answer_text(answer: Answer) -> str:
    """The hits of a query, best first."""
    lines = [answer.query, f"  encoder: {answer.encoder}{_RANDOM if answer.random_weights else ''}"]
    for number, hit in enumerate(answer.hits, 1):
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
    """Seconds as h:mm:ss.t, hours only where there are any."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def evaluation_text(evaluation: Artifact) -> str:
    """The table of an evaluation: each number with its interval, and chance beside it."""
    metrics = json.loads(evaluation.paths(METRICS)[0].read_bytes())
    split, encoder = metrics["split"], metrics["encoder"]
    trained_on = f"{split['trained_on']['count']} of them" if split["training_known"] else "unknown"
    lines = [
        f"\n{split['name']} split: {split['num_videos']} videos, {split['num_pairs']} order-only pairs",
        f"split by: {split['source']}; encoder trained on: {trained_on}",
        f"encoder: {encoder['description']}{_RANDOM if encoder['random_weights'] else ''}",
        f"missing: {split['without_features']['count']} without features, "
        f"{split['without_narrations']['count']} without narrations",
    ]
    for protocol in metrics["protocols"].values():
        lines += _protocol_lines(protocol)
    return "\n".join([*lines, f"report: {evaluation.paths(REPORT)[0]}\n"])


def _protocol_lines(protocol: Mapping[str, Any]) -> list[str]:
    head = f"\n{protocol['title']}"
    if not protocol["evaluated"]:
        return [f"{head}: not evaluated: {protocol['not_evaluated']}"]
    lines = [f"{head}  ({protocol['num_queries']} queries, gallery {protocol['gallery_size']})"]
    for name, score in protocol["scores"].items():
        chance = "" if score["chance"] is None else f"  chance {score['chance']:.3f}"
        lines.append(f"  {name:<32} {score['value']:9.3f}  [{score['low']:.3f}, {score['high']:.3f}]{chance}")
    return lines


def pooled_text(scores: Sequence[Mapping[str, Any]]) -> str:
    """Scores of several seeds: mean, pooled interval, and each seed."""
    lines = []
    for score in scores:
        seeds = " ".join(f"{value:.3f}" for value in score["per_seed"])
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        lines.append(f"{score['protocol']:<36} {score['name']:<32} {score['value']:9.3f}  {interval}  seeds {seeds}")
    return "\n".join(lines)
