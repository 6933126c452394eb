"""One number from the runs of several seeds: the mean over seeds, the interval over queries or pairs and seeds pooled.

Reads `ranks.parquet` of each run, nothing else. Pooling takes every (seed, query) or (seed, pair) as one draw, so the
interval holds both the spread over queries and that over seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.errors import SchemaMismatch
from stages.evaluation.bootstrap import bootstrap, means
from stages.evaluation.outcomes import read_ranked
from stages.evaluation.records import F64
from stages.evaluation.scoring import ProtocolSettings


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
    runs = [read_ranked(path, settings.ks) for path in ranks_paths]
    for path, run in zip(ranks_paths, runs, strict=True):
        if run.keys() != runs[0].keys():
            raise SchemaMismatch(
                f"{path} holds {sorted({name for name, _ in run})}, {ranks_paths[0]} holds "
                f"{sorted({name for name, _ in runs[0]})}: pool runs of one configuration that differ in the seed only"
            )
    return [_pool(key, [run[key].values for run in runs], settings) for key in runs[0]]


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
