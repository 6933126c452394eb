"""What an evaluation's tables say of every query, so that runs can be pooled and compared.

Ranks become R@k, mean rank and MRR; the two choices of a pair become its mean; other metrics stand in a table of their
own.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import read_table
from stages.errors import Corrupt
from stages.evaluation.layout import METRICS, OUTCOMES, RANKS
from stages.evaluation.records import F64, Outcome

_CUT_OFF = re.compile(r"(?:R@|top-)(\d+)")
_PAIRS = "order_pairs."
_BASELINE = "order_pairs.caption_average"

Key = tuple[str, str]
"""A protocol and a metric."""


def read_unit(artifact: Artifact, unit_id: str) -> dict[Key, Outcome]:
    """Read everything that a unit of an evaluation says of its queries, with the cut-offs that it was measured by.

    Raises:
        Corrupt: a table cannot be read.
    """
    protocols: Mapping[str, Any] = json.loads(artifact.path_in(unit_id, METRICS).read_bytes())["protocols"]
    scores = (name for protocol in protocols.values() for name in protocol["scores"])
    ks = sorted({int(found[1]) for found in map(_CUT_OFF.fullmatch, scores) if found})
    outcomes = read_ranked(artifact.path_in(unit_id, RANKS), ks) | read_measured(artifact.path_in(unit_id, OUTCOMES))
    return {key: replace(found, gallery_size=protocols[key[0]]["gallery_size"]) for key, found in outcomes.items()}


def read_ranked(path: Path, ks: Sequence[int]) -> dict[Key, Outcome]:
    """Read `ranks.parquet`.

    Args:
        path: the file.
        ks: cut-offs of R@k.

    Returns:
        Every metric of every protocol, in the order of the file; for pairs the accuracy, and what it is above that of
        caption average.

    Raises:
        Corrupt: it is no Parquet table, or holds half a pair.
    """
    table = read_table(path, ["protocol", "query_id", "rank"])
    names = np.array(table.column("protocol").to_pylist(), dtype=object)
    queries = np.array(table.column("query_id").to_pylist(), dtype=object)
    ranks = np.array(table.column("rank").to_pylist(), dtype=np.float64)
    found: dict[Key, Outcome] = {}
    pairs: dict[str, Mapping[str, float]] = {}
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        if name.startswith(_PAIRS):
            pairs[name] = _pair_choices(path, queries[mine].tolist(), ranks[mine])
        else:
            found |= _of_ranks(name, queries[mine].tolist(), ranks[mine], ks)
    for name, choices in pairs.items():
        found[name, "accuracy"] = _outcome("accuracy", choices)
        baseline = pairs.get(_BASELINE)
        if baseline is not None and name != _BASELINE and baseline.keys() == choices.keys():
            metric = "accuracy_minus_caption_average"
            found[name, metric] = _outcome(metric, {pair: choices[pair] - baseline[pair] for pair in choices})
    return found


def read_measured(path: Path) -> dict[Key, Outcome]:
    """Read `outcomes.parquet`: metrics that are no function of a rank, in the order of the file.

    Raises:
        Corrupt: it is no Parquet table.
    """
    rows = read_table(path, ["protocol", "metric", "unit_id", "value", "weight", "group"]).to_pylist()
    by_key: dict[Key, list[Mapping[str, object]]] = {}
    for row in rows:
        by_key.setdefault((row["protocol"], row["metric"]), []).append(row)
    return {
        (protocol, metric): Outcome(
            metric=metric,
            unit_ids=tuple(str(row["unit_id"]) for row in found),
            values=np.array([row["value"] for row in found], dtype=np.float64),
            weights=np.array([row["weight"] for row in found], dtype=np.float64),
            groups=tuple(str(row["group"]) for row in found),
        )
        for (protocol, metric), found in by_key.items()
    }


def of_units(outcome: Outcome, unit_ids: Sequence[str]) -> Outcome:
    """The same for some units alone, in this order."""
    place = {unit_id: number for number, unit_id in enumerate(outcome.unit_ids)}
    kept = [place[unit_id] for unit_id in unit_ids]
    return Outcome(
        metric=outcome.metric,
        unit_ids=tuple(unit_ids),
        values=outcome.values[kept],
        weights=outcome.weights[kept],
        groups=tuple(outcome.groups[number] for number in kept) if outcome.groups else (),
        gallery_size=outcome.gallery_size,
    )


def _of_ranks(name: str, query_ids: Sequence[str], ranks: F64, ks: Sequence[int]) -> dict[Key, Outcome]:
    values = {f"R@{k}": (ranks <= k).astype(np.float64) for k in ks} | {"mean_rank": ranks, "MRR": 1.0 / ranks}
    return {
        (name, metric): Outcome(metric=metric, unit_ids=tuple(query_ids), values=found, weights=np.ones(len(query_ids)))
        for metric, found in values.items()
    }


def _outcome(metric: str, by_unit: Mapping[str, float]) -> Outcome:
    values = np.array(list(by_unit.values()), dtype=np.float64)
    return Outcome(metric=metric, unit_ids=tuple(by_unit), values=values, weights=np.ones(len(values)))


def _pair_choices(path: Path, query_ids: Sequence[str], ranks: F64) -> Mapping[str, float]:
    """Mean choice of each pair; a rank of 1, 1.5 or 2 is a choice of 1, one half or 0."""
    halves: dict[str, list[float]] = {}
    for query_id, rank in zip(query_ids, ranks.tolist(), strict=True):
        halves.setdefault(query_id.rpartition("/")[0], []).append(2.0 - rank)
    for pair, choices in halves.items():
        if len(choices) != 2:
            raise Corrupt(f"{path}: pair {pair!r} has {len(choices)} rows, expected 2; run `fabula verify`")
    return {pair: float(np.mean(choices)) for pair, choices in sorted(halves.items())}
