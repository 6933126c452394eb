"""Names of the files of an evaluation's units, and of the unit that measures the run's own narrations."""

METRICS, RANKS, OUTCOMES, REPORT = "metrics.json", "ranks.parquet", "outcomes.parquet", "report.html"

OWN_SET = "set"
"""No benchmark may be called so."""
