"""The history of a training: a row a step, each term of the loss a column. Written by train, drawn by the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import FLOAT64, INT64, Table, columns_table, read_table

if TYPE_CHECKING:
    from stages.training.checkpoints import StepRecord

HISTORY = "history.parquet"
SCHEMA = {"step": INT64, "loss": FLOAT64, "learning_rate": FLOAT64, "gradient_norm": FLOAT64}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the report says of a training.

    Attributes:
        steps: (N,) int64, N >= 1.
        losses: (N,) float64.
        terms: (N,) float64 each, by name: the parts of the loss, and what else tells how training went.
    """

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]


def history_table(history: "Sequence[StepRecord]") -> Table:
    """Return the table of a training of at least one step."""
    terms = tuple(history[0].terms)
    columns: dict[str, list[Any]] = {name: [getattr(record, name) for record in history] for name in SCHEMA}
    columns |= {name: [record.terms[name] for record in history] for name in terms}
    return columns_table({**SCHEMA, **dict.fromkeys(terms, FLOAT64)}, columns)


def mean_terms(history: "Sequence[StepRecord]") -> dict[str, float]:
    """Mean over all steps of each term, such as the share of videos that qualified."""
    return {name: sum(record.terms[name] for record in history) / len(history) for name in history[0].terms}


def read_history(checkpoint: Artifact) -> History | None:
    """Read the history of a training, or None if it took no step."""
    (path,) = checkpoint.paths(HISTORY)
    table = read_table(path)
    if not table.num_rows:
        return None
    columns = {name: np.array(table.column(name).to_pylist()) for name in table.column_names}
    return History(
        steps=columns["step"],
        losses=columns["loss"],
        terms={name: values for name, values in columns.items() if name not in SCHEMA},
    )
