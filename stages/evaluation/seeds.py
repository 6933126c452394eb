"""One number from the runs of several seeds: the mean over seeds, and an interval over queries or pairs and seeds.

Reads `ranks.parquet` of each run, nothing else. All seeds answer the same queries, and one that is hard is hard for
every seed: queries and seeds are each drawn whole (`crossed_bootstrap`), so more seeds are no more queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.errors import SchemaMismatch
from stages.evaluation.bootstrap import crossed_bootstrap
from stages.evaluation.outcomes import of_units, read_ranked
from stages.evaluation.records import Outcome
from stages.evaluation.scoring import ProtocolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledScore:
    """A metric over several seeds.

    Attributes:
        protocol: As in `metrics.json`.
        name: `R@1`, `MRR`, `mean_rank`, `accuracy`, `accuracy_minus_caption_average`.
        value: Mean over seeds.
        low: Lower end of the interval over queries or pairs and seeds.
        high: Upper end.
        per_seed: The value of each seed, in the order given.
        num_units: Queries or pairs, the same for every seed.
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
        SchemaMismatch: the runs do not hold the same protocols, or not the same queries.
    """
    runs = [read_ranked(path, settings.ks) for path in ranks_paths]
    for path, run in zip(ranks_paths, runs, strict=True):
        if run.keys() != runs[0].keys():
            raise SchemaMismatch(
                f"{path} holds {sorted({name for name, _ in run})}, {ranks_paths[0]} holds "
                f"{sorted({name for name, _ in runs[0]})}: pool runs of one configuration that differ in the seed only"
            )
    return [_pool(key, ranks_paths, [run[key] for run in runs], settings) for key in runs[0]]


def _pool(
    key: tuple[str, str], paths: Sequence[Path], seeds: Sequence[Outcome], settings: ProtocolSettings
) -> PooledScore:
    protocol, name = key
    unit_ids = seeds[0].unit_ids
    for path, seed in zip(paths, seeds, strict=True):
        if only_one := sorted(set(seed.unit_ids) ^ set(unit_ids)):
            raise SchemaMismatch(
                f"{path} and {paths[0]} measured {protocol} on other queries ({len(only_one)} in one only, such as "
                f"{only_one[0]!r}): pool runs of one corpus and split that differ in the seed only"
            )
    values = np.stack([of_units(seed, unit_ids).values for seed in seeds])
    rng = settings.generator(f"seeds/{protocol}/{name}")
    found = crossed_bootstrap(values, rng=rng, settings=settings.bootstrap)
    return PooledScore(
        protocol=protocol,
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        per_seed=tuple(float(seed_mean) for seed_mean in values.mean(axis=1)),
        num_units=len(unit_ids),
    )
