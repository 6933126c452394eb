"""How numbers are written for people, the same in the report and on the command line. Knows names of metrics only."""

RANKS = frozenset(["median_rank", "mean_rank"])
"""Metrics that are better low and start at 1."""

FACTS = frozenset(["predicted_background"])
"""Metrics that say what a prediction is like: neither more nor less of them is better."""

_PLAIN = frozenset(["MRR", "nDCG"])
_LABELS = {
    "median_rank": "median rank",
    "mean_rank": "mean rank",
    "accuracy_minus_caption_average": "above caption average",
    "accuracy_minus_mean_row": "above mean rows",
    "frame_accuracy": "frame accuracy",
    "frame_f1": "frame F1 without background",
    "step_recall": "step recall",
    "predicted_background": "predicted as background",
}
_MINOR = frozenset(["mean_rank", "MRR", "nDCG"])


def label_of(name: str) -> str:
    """A metric's name for people."""
    return _LABELS.get(name, name)


def is_minor(name: str) -> bool:
    """Whether a short summary leaves the metric out."""
    return name in _MINOR


def in_per_cent(name: str) -> bool:
    """Whether a metric is written, and published, in per cent."""
    return name not in RANKS and name not in _PLAIN


def write_number(name: str, value: float) -> str:
    """Write a metric's value: a rank with one decimal, MRR and nDCG with three, all others in per cent."""
    if name in RANKS:
        return f"{value:.1f}"
    if name in _PLAIN:
        return f"{value:.3f}"
    if "_minus_" in name:
        return f"{100 * value:+.1f} %"
    return f"{100 * value:.1f} %"
