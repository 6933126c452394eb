"""The lines that a command prints of an evaluation: from `metrics.json`, or from several seeds pooled.

Knows JSON and text only, so that a command which imports neither torch nor numpy can print them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.evaluation.numbers import is_minor, label_of, write_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stages.evaluation.seeds import PooledScore


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a person reads after an evaluation.

    Args:
        metrics: The content of `metrics.json`.

    Returns:
        Lines without newline: the set and the encoder, then each protocol with its metrics, the interval, chance,
        the published rule and baselines beside each, and warnings; why, where a protocol was not evaluated.
    """
    split, encoder = metrics["split"], metrics["encoder"]
    weights = ", random weights" if encoder["random_weights"] else ""
    lines = [
        f"{metrics['title']}, split {split['name']}: {split['num_videos']} videos; encoder: {encoder['description']}"
        f"{weights}",
        f"features: {encoder['features']}",
    ]
    if split["num_measured"] < split["num_videos"]:
        lines.append(f"{split['num_measured']} of them are measured: {split['source']}")
    confidence = f"{metrics['intervals']['confidence']:.0%}"
    for protocol in metrics["protocols"].values():
        lines += _protocol_lines(protocol, confidence)
    if (trained := split["trained_on"]["count"]) > 0:
        lines.append(f"{trained} of these videos were trained on: the numbers are too good")
    return [*lines, *map(published_line, metrics.get("published", ()))]


def published_line(verdict: Mapping[str, Any]) -> str:
    """One published number against ours, as `Verdict.to_json` gives it: ours, theirs, the difference, pass or fail."""
    ours = "not measured" if verdict["ours"] is None else f"{verdict['ours']:.1f}"
    off = "" if verdict["difference"] is None else f", difference {verdict['difference']:+.1f}"
    result = "pass" if verdict["passed"] else "FAIL"
    return (
        f"published: {verdict['protocol']} {verdict['metric']}: ours {ours}, {verdict['method']} "
        f"{verdict['theirs']:.1f}{off}: {result} (within {verdict['tolerance']:g})"
    )


def pooled_lines(pooled: "Sequence[PooledScore]", confidence: float) -> list[str]:
    """Return what a person reads after several seeds.

    Args:
        pooled: As `seeds.pool_seeds` gives it.
        confidence: Of the intervals, in (0, 1).

    Returns:
        One line a metric: mean over seeds, interval, and the value of each seed.
    """
    lines = []
    for score in pooled:
        if is_minor(score.name):
            continue
        value = {"value": score.value, "low": score.low, "high": score.high}
        each = ", ".join(write_number(score.name, seed) for seed in score.per_seed)
        lines.append(f"{score.protocol:36}{_line(score.name, value, f'{confidence:.0%}')}   seeds: {each}")
    return lines


def _protocol_lines(protocol: Mapping[str, Any], confidence: str) -> list[str]:
    if not protocol["evaluated"]:
        return [f"{protocol['title']}: not evaluated: {protocol['not_evaluated']}"]
    against = f" against {protocol['gallery_size']}" if protocol["gallery_size"] else ""
    unit = "queries" if protocol["gallery_size"] else f"{protocol['bootstrap_unit']}s"
    lines = [f"{protocol['title']} ({protocol['num_queries']} {unit}{against})"]
    shown = (name for name in protocol["scores"] if not is_minor(name))
    lines += [_line(name, protocol["scores"][name], confidence) for name in sorted(shown, key=_place)]
    return [*lines, *(f"  warning: {warning}" for warning in protocol["warnings"])]


def _place(name: str) -> tuple[int, int, str]:
    """R@k by k, then the others by name."""
    return (0, int(name[2:]), name) if name.startswith("R@") else (1, 0, name)


def _line(name: str, score: Mapping[str, Any], confidence: str) -> str:
    low, high = (write_number(name, score[end]) for end in ("low", "high"))
    beside = {"chance": score.get("chance"), "as published": score.get("legacy"), **score.get("baselines", {})}
    others = "".join(f"   {what} {write_number(name, value):>8}" for what, value in beside.items() if value is not None)
    return f"  {label_of(name):16}{write_number(name, score['value']):>9}   {confidence} {low:>8} to {high:>8}{others}"
