"""The lines that a command prints of an evaluation: from `metrics.json`, or from several seeds pooled.

Knows JSON and text only, so that a command which imports neither torch nor numpy can print them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stages.evaluation.seeds import PooledScore

_SHOWN = ("accuracy", "accuracy_minus_caption_average", "median_rank")
_LABELS = {
    "accuracy": "right one",
    "accuracy_minus_caption_average": "above cap. avg.",
    "median_rank": "median rank",
    "mean_rank": "mean rank",
}
_RANKS = frozenset(["median_rank", "mean_rank"])


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a person reads after an evaluation.

    Args:
        metrics: The content of `metrics.json`.

    Returns:
        Lines without newline: the split and the encoder, then each protocol with R@k, median rank or accuracy, the
        interval and chance beside each; why, where a protocol was not evaluated.
    """
    split, encoder = metrics["split"], metrics["encoder"]
    weights = ", random weights" if encoder["random_weights"] else ""
    lines = [
        f"split {split['name']}: {split['num_videos']} videos; encoder: {encoder['description']}{weights}",
        f"features: {encoder['features']}",
    ]
    confidence = f"{metrics['intervals']['confidence']:.0%}"
    for protocol in metrics["protocols"].values():
        if not protocol["evaluated"]:
            lines.append(f"{protocol['title']}: not evaluated: {protocol['not_evaluated']}")
            continue
        lines.append(f"{protocol['title']} ({protocol['num_queries']} queries against {protocol['gallery_size']})")
        for name in sorted(filter(_is_shown, protocol["scores"]), key=_place):
            lines.append(_line(name, protocol["scores"][name], confidence))
    if (trained := split["trained_on"]["count"]) > 0:
        lines.append(f"{trained} of these videos were trained on: the numbers are too good")
    return lines


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
        if not _is_shown(score.name):
            continue
        value = {"value": score.value, "low": score.low, "high": score.high, "chance": None}
        each = ", ".join(_number(score.name, seed) for seed in score.per_seed)
        lines.append(f"{score.protocol:36}{_line(score.name, value, f'{confidence:.0%}')}   seeds: {each}")
    return lines


def _is_shown(name: str) -> bool:
    return name.startswith("R@") or name in _SHOWN


def _place(name: str) -> tuple[int, int, str]:
    """R@k by k, then the others by name."""
    return (0, int(name[2:]), name) if name.startswith("R@") else (1, 0, name)


def _line(name: str, score: Mapping[str, Any], confidence: str) -> str:
    interval = f"{confidence} {_number(name, score['low']):>8} to {_number(name, score['high']):>8}"
    chance = "" if score["chance"] is None else f"   chance {_number(name, score['chance']):>8}"
    return f"  {_LABELS.get(name, name):16}{_number(name, score['value']):>9}   {interval}{chance}"


def _number(name: str, value: float) -> str:
    if name in _RANKS:
        return f"{value:.1f}"
    if name == "accuracy_minus_caption_average":
        return f"{100 * value:+.1f} %"
    return f"{100 * value:.1f} %"
