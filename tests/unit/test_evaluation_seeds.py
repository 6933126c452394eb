"""Pooling the runs of several seeds."""

from pathlib import Path

import numpy as np
import pytest

from stages.artifacts.commit import StagedFile
from stages.artifacts.tables import FLOAT64, STRING, columns_table, write_table
from stages.errors import Corrupt, SchemaMismatch
from stages.evaluation.own_set import measure
from stages.evaluation.results import rank_rows
from stages.evaluation.scoring import ProtocolSettings
from stages.evaluation.seeds import PooledScore, pool_seeds
from tests.evaluation_samples import make_set

SETTINGS = ProtocolSettings()
TYPES = {"protocol": STRING, "query_id": STRING, "rank": FLOAT64, "target_id": STRING, "score": FLOAT64}


def write_rows(path: Path, rows: list[tuple[str, str, float]]) -> Path:
    columns = dict(zip(("protocol", "query_id", "rank"), map(list, zip(*rows, strict=True)), strict=True))
    blank = {"target_id": [""] * len(rows), "score": [0.0] * len(rows)}
    write_table(StagedFile("ranks.parquet", path), columns_table(TYPES, columns | blank))
    return path


def find(pooled: list[PooledScore], protocol: str, name: str) -> PooledScore:
    (score,) = (score for score in pooled if (score.protocol, score.name) == (protocol, name))
    return score


def test_mean_over_seeds_with_an_interval_over_pairs_and_seeds(tmp_path: Path) -> None:
    ranks = {0: [1.0, 1.0, 2.0, 2.0], 1: [1.0, 1.5, 1.0, 2.0]}
    paths = [
        write_rows(
            tmp_path / f"{seed}.parquet",
            [("order_pairs.dtw", f"p{i // 2}/v{i}", rank) for i, rank in enumerate(values)],
        )
        for seed, values in ranks.items()
    ]
    (score,) = pool_seeds(paths, settings=SETTINGS)
    assert (score.name, score.per_seed, score.value, score.num_units) == ("accuracy", (0.5, 0.625), 0.5625, 2)
    assert 0.0 <= score.low < score.value < score.high <= 1.0


def test_pools_what_evaluate_writes(tmp_path: Path) -> None:
    paths, values = [], []
    for seed in range(3):
        results = measure(make_set(noise=1.0, num_pairs=12, seed=seed), SETTINGS)
        path = tmp_path / f"{seed}.parquet"
        write_table(StagedFile("ranks.parquet", path), columns_table(TYPES, rank_rows(results)))
        paths.append(path)
        values.append({(r.name, s.name): s.value for r in results for s in r.scores})
    pooled = pool_seeds(paths, settings=SETTINGS)
    assert pooled == pool_seeds(paths, settings=SETTINGS)
    for score in pooled:
        expected = [run[score.protocol, score.name] for run in values]
        assert score.per_seed == pytest.approx(expected)
        assert score.value == pytest.approx(np.mean(expected))
        assert score.low <= score.value <= score.high
    assert find(pooled, "order_pairs.dtw", "accuracy_minus_caption_average").low > 0
    assert find(pooled, "paragraph_to_video.dtw", "R@1").num_units == 24


def test_one_run_given_several_times_is_no_surer(tmp_path: Path) -> None:
    rows = [("text_to_window", f"q{number}", 1.0 + number % 2) for number in range(100)]
    path = write_rows(tmp_path / "a.parquet", rows)
    width = {}
    for copies in (1, 4):
        score = find(pool_seeds([path] * copies, settings=SETTINGS), "text_to_window", "R@1")
        width[copies] = score.high - score.low
    assert width[1] == pytest.approx(2 * 1.96 * 0.05, rel=0.1)  # of a share of one half over 100 queries
    assert width[4] == pytest.approx(width[1], rel=0.1)


def test_queries_in_another_order_are_the_same_queries(tmp_path: Path) -> None:
    rows = [("text_to_window", f"q{number}", float(rank)) for number, rank in enumerate((1, 2, 1, 1, 2))]
    first, second = write_rows(tmp_path / "a.parquet", rows), write_rows(tmp_path / "b.parquet", rows[::-1])
    assert pool_seeds([first, second], settings=SETTINGS) == pool_seeds([first, first], settings=SETTINGS)


def test_runs_of_different_queries_are_refused(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.parquet", [("text_to_window", "q0", 1.0), ("text_to_window", "q1", 1.0)])
    second = write_rows(tmp_path / "b.parquet", [("text_to_window", "q0", 1.0)])
    with pytest.raises(SchemaMismatch, match="on other queries \\(1 in one only, such as 'q1'\\)"):
        pool_seeds([first, second], settings=SETTINGS)


def test_runs_of_different_protocols_are_refused(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.parquet", [("text_to_window", "q", 1.0)])
    second = write_rows(tmp_path / "b.parquet", [("window_to_text", "q", 1.0)])
    with pytest.raises(SchemaMismatch, match="differ in the seed only"):
        pool_seeds([first, second], settings=SETTINGS)


def test_half_a_pair_is_corrupt(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.parquet", [("order_pairs.dtw", "p/v", 1.0)])
    with pytest.raises(Corrupt, match="pair 'p' has 1 rows"):
        pool_seeds([path], settings=SETTINGS)
