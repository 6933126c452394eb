"""Methods side by side, each trained with several seeds: scores with intervals, and what they are above a baseline.

Reads what evaluations wrote of every query. Both intervals resample queries and seeds; the difference to a baseline is
paired, query by query and seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stages.artifacts.sealed import Artifact
from stages.errors import ConfigError
from stages.evaluation.bootstrap import Estimate, crossed_bootstrap
from stages.evaluation.method_table_config import ColumnConfig, MethodConfig, TableConfig
from stages.evaluation.numbers import write_number
from stages.evaluation.outcomes import Key, of_units, read_unit
from stages.evaluation.records import F64, Outcome
from stages.evaluation.scoring import ProtocolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One method by one measure.

    Attributes:
        protocol: that was read.
        score: mean over seeds and queries, with its interval.
        per_seed: the mean of each seed.
        num_queries: of each seed.
        above: score minus the baseline's, with its interval; None without a baseline.
    """

    protocol: str
    score: Estimate
    per_seed: tuple[float, ...]
    num_queries: int
    above: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTable:
    """A table.

    Attributes:
        config: its methods (rows) and columns.
        cells: of each method, one a column.
        confidence: of the intervals.
    """

    config: TableConfig
    cells: tuple[tuple[Cell, ...], ...]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        rows = [
            {
                "method": method.label,
                "baseline": method.baseline,
                "cells": [
                    {"column": column.label, "metric": column.metric, **asdict(cell)}
                    for column, cell in zip(self.config.columns, cells, strict=True)
                ],
            }
            for method, cells in zip(self.config.methods, self.cells, strict=True)
        ]
        return {"title": self.config.title, "confidence": self.confidence, "rows": rows}


def measure_methods(
    config: TableConfig, runs: Mapping[str, Sequence[Artifact]], settings: ProtocolSettings
) -> MethodTable:
    """Measure every method by every column.

    Args:
        config: the table.
        runs: of each method by its name, one sealed `evaluation` a seed, all in the same order of seeds.
        settings: bootstrap; cut-offs are those that each was measured by.

    Raises:
        ConfigError: an evaluation did not measure what a column names, or not on the queries of the others and among
            as many items; or it is no plain mean over queries.
        Corrupt: a table cannot be read.
    """
    found = {name: [_outcomes(artifact) for artifact in artifacts] for name, artifacts in runs.items()}
    cells = tuple(
        tuple(_cell(method, column, found, settings) for column in config.columns) for method in config.methods
    )
    return MethodTable(config=config, cells=cells, confidence=settings.bootstrap.confidence)


def _outcomes(artifact: Artifact) -> Mapping[Key, Outcome]:
    """Of all units; what two units measure alike is that of the later one."""
    merged: dict[Key, Outcome] = {}
    for unit_id in artifact.description.units:
        merged |= read_unit(artifact, unit_id)
    return merged


def _cell(
    method: MethodConfig,
    column: ColumnConfig,
    found: Mapping[str, Sequence[Mapping[Key, Outcome]]],
    settings: ProtocolSettings,
) -> Cell:
    protocol, measured = _measured(method.name, column, found[method.name])
    values = _values(method.name, measured, measured[0])
    seed = f"{method.name}/{column.label}"
    score = crossed_bootstrap(values, rng=settings.generator(seed), settings=settings.bootstrap)
    above = None
    if method.baseline is not None:
        _, theirs = _measured(method.baseline, column, found[method.baseline])
        baseline = _values(method.baseline, theirs, measured[0])
        rng = settings.generator(f"{seed}/{method.baseline}")
        above = crossed_bootstrap(values - baseline, rng=rng, settings=settings.bootstrap)
    return Cell(
        protocol=protocol,
        score=score,
        per_seed=tuple(float(seed_mean) for seed_mean in values.mean(axis=1)),
        num_queries=values.shape[1],
        above=above,
    )


def _measured(name: str, column: ColumnConfig, seeds: Sequence[Mapping[Key, Outcome]]) -> tuple[str, Sequence[Outcome]]:
    """The protocol that is read, and what each seed measured by it."""
    measured = [protocol for protocol in column.protocols if all((protocol, column.metric) in seed for seed in seeds)]
    if not measured:
        raise ConfigError(
            f"{name} has not measured {column.metric} of {' or '.join(column.protocols)} with every seed; known are "
            f"{', '.join(sorted({'/'.join(key) for seed in seeds for key in seed}))}"
        )
    return measured[0], [seed[measured[0], column.metric] for seed in seeds]


def _values(name: str, seeds: Sequence[Outcome], like: Outcome) -> F64:
    """(S, N) values of each seed, by the queries of another outcome.

    Raises:
        ConfigError: they are of other queries or galleries, or weighted or grouped, of which a table knows nothing.
    """
    for outcome in seeds:
        if sorted(outcome.unit_ids) != sorted(like.unit_ids):
            raise ConfigError(
                f"{name}: {outcome.metric} was measured on other queries; compare runs of one corpus and split"
            )
        if outcome.gallery_size != like.gallery_size:
            raise ConfigError(
                f"{name}: {outcome.metric} was measured among {outcome.gallery_size} items, elsewhere among "
                f"{like.gallery_size}; compare runs that embed and measure alike"
            )
        if np.unique(outcome.weights).size > 1 or len(set(outcome.groups)) > 1:
            raise ConfigError(
                f"{name}: {outcome.metric} is a weighted mean, or one over groups, and a table takes plain means over "
                "queries; leave the column out, and set two runs side by side with `fabula compare`"
            )
    return np.stack([of_units(outcome, like.unit_ids).values for outcome in seeds])


def table_lines(table: MethodTable) -> list[str]:
    """Return what a person reads on a terminal: a paragraph a method, a line a column."""
    lines = [f"{table.config.title} ({_interval_words(table)})"]
    width = max(len(column.label) for column in table.config.columns)
    for method, cells in zip(table.config.methods, table.cells, strict=True):
        against = f", against {_label(table, method.baseline)}" if method.baseline else ""
        lines.append(f"{method.label}{against}")
        for column, cell in zip(table.config.columns, cells, strict=True):
            above = "" if cell.above is None else f"   difference {_points(cell.above)}{_mark(cell.above)}"
            lines.append(f"  {column.label:{width}}  {_score(column, cell.score):26}{above}")
    return lines


def markdown_lines(table: MethodTable) -> list[str]:
    """Return the table in Markdown: a row a method; below a score what it is above the baseline, in points."""
    heads = [column.label for column in table.config.columns]
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    for method, cells in zip(table.config.methods, table.cells, strict=True):
        texts = [
            _score(column, cell.score) + ("" if cell.above is None else f"; {_points(cell.above)}{_mark(cell.above)}")
            for column, cell in zip(table.config.columns, cells, strict=True)
        ]
        lines.append(f"| {method.label} | " + " | ".join(texts) + " |")
    return lines


def markdown_text(tables: Sequence[MethodTable]) -> str:
    """Return a page of tables in Markdown."""
    parts = [[f"## {table.config.title}", _interval_words(table), "\n".join(markdown_lines(table))] for table in tables]
    return "\n\n".join(text for part in parts for text in part) + "\n"


def _interval_words(table: MethodTable) -> str:
    return f"{table.confidence:.0%} intervals over queries and seeds; * the interval of a difference excludes 0"


def _label(table: MethodTable, name: str) -> str:
    return next(method.label for method in table.config.methods if method.name == name)


def _score(column: ColumnConfig, score: Estimate) -> str:
    value, low, high = (write_number(column.metric, end) for end in (score.value, score.low, score.high))
    return f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def _points(above: Estimate) -> str:
    return f"{100 * above.value:+.1f} ({100 * above.low:+.1f} to {100 * above.high:+.1f})"


def _mark(above: Estimate) -> str:
    return "" if above.low <= 0 <= above.high else " *"
