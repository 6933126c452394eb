"""One number from the runs of several seeds: the mean over seeds, the interval over queries or pairs and seeds pooled.

Reads `ranks.parquet` of each run, nothing else. Pooling takes every (seed, query) or (seed, pair) as one draw, so the
interval holds both the spread over queries and that over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.artifacts.tables import read_table
from stages.errors import Corrupt, SchemaMismatch
from stages.evaluation.bootstrap import bootstrap, means
from stages.evaluation.records import F64
from stages.evaluation.scoring import ProtocolSettings

_PAIRS = "order_pairs."
_BASELINE = "order_pairs.caption_average"


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledScore:
    """A metric over several seeds.

    Attributes:
        protocol: As in `metrics.json`.
        name: `R@1`, `MRR`, `mean_rank`, `accuracy`, `accuracy_minus_caption_average`.
        value: Mean over seeds.
        low: Lower end of the pooled interval.
        high: Upper end.
        per_seed: The value of each seed, in the order given.
        num_units: Queries or pairs of all seeds together.
    """

    protocol: str
    name: str
    value: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    num_units: int


def pool_seeds(ranks_paths: Sequence[Path], *, settings: ProtocolSettings) -> list[PooledScore]:
    """Pool the runs of several seeds.

    Args:
        ranks_paths: One `ranks.parquet` a seed, at least one.
        settings: Cut-offs and bootstrap.

    Returns:
        Every metric of every protocol that all runs hold, in the order of the first run.

    Raises:
        Corrupt: a file is no Parquet table, or holds half a pair.
        SchemaMismatch: the runs do not hold the same protocols.
    """
    runs = [_values_of_run(path, settings) for path in ranks_paths]
    for path, run in zip(ranks_paths, runs, strict=True):
        if run.keys() != runs[0].keys():
            raise SchemaMismatch(
                f"{path} holds {sorted({name for name, _ in run})}, {ranks_paths[0]} holds "
                f"{sorted({name for name, _ in runs[0]})}: pool runs of one configuration that differ in the seed only"
            )
    return [_pool(key, [run[key] for run in runs], settings) for key in runs[0]]


def _pool(key: tuple[str, str], values: Sequence[F64], settings: ProtocolSettings) -> PooledScore:
    protocol, name = key
    per_seed = tuple(float(seed.mean()) for seed in values)
    pooled = np.concatenate(values)
    found = bootstrap(pooled, means, rng=settings.generator(f"seeds/{protocol}/{name}"), settings=settings.bootstrap)
    return PooledScore(
        protocol=protocol,
        name=name,
        value=float(np.mean(per_seed)),
        low=found.low,
        high=found.high,
        per_seed=per_seed,
        num_units=pooled.size,
    )


def _values_of_run(path: Path, settings: ProtocolSettings) -> dict[tuple[str, str], F64]:
    """Every metric's value for each query or pair of one run."""
    table = read_table(path, ["protocol", "query_id", "rank"])
    names = np.array(table.column("protocol").to_pylist(), dtype=object)
    queries = np.array(table.column("query_id").to_pylist(), dtype=object)
    ranks = np.array(table.column("rank").to_pylist(), dtype=np.float64)
    values: dict[tuple[str, str], F64] = {}
    pairs: dict[str, Mapping[str, float]] = {}
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        if name.startswith(_PAIRS):
            pairs[name] = _pair_choices(path, queries[mine].tolist(), ranks[mine])
        else:
            values |= {(name, f"R@{k}"): (ranks[mine] <= k).astype(np.float64) for k in settings.ks}
            values |= {(name, "mean_rank"): ranks[mine], (name, "MRR"): 1.0 / ranks[mine]}
    for name, choices in pairs.items():
        values[name, "accuracy"] = np.array(list(choices.values()))
        baseline = pairs.get(_BASELINE)
        if baseline is not None and name != _BASELINE and baseline.keys() == choices.keys():
            values[name, "accuracy_minus_caption_average"] = np.array(
                [choices[pair] - baseline[pair] for pair in choices]
            )
    return values


def _pair_choices(path: Path, query_ids: Sequence[str], ranks: F64) -> Mapping[str, float]:
    """Mean choice of each pair; a rank of 1, 1.5 or 2 is a choice of 1, one half or 0."""
    halves: dict[str, list[float]] = {}
    for query_id, rank in zip(query_ids, ranks.tolist(), strict=True):
        halves.setdefault(query_id.rpartition("/")[0], []).append(2.0 - rank)
    for pair, choices in halves.items():
        if len(choices) != 2:
            raise Corrupt(f"{path}: pair {pair!r} has {len(choices)} rows, expected 2; run `fabula verify`")
    return {pair: float(np.mean(choices)) for pair, choices in sorted(halves.items())}
