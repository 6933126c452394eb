"""Whatever the vectors: flat search is brute force, IVF with all lists is flat, bytes and rows survive a round trip."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.retrieval.ivf import IvfSettings
from stages.retrieval.vectors import build_flat, load_index
from tests.retrieval_samples import build_ivf, bytes_of

worlds = st.tuples(st.integers(1, 120), st.integers(1, 12), st.integers(0, 2**16))


def vectors_of(world: tuple[int, int, int]) -> np.ndarray:
    num_rows, dim, seed = world
    # Few distinct values: equal scores and equal rows are common.
    return np.random.default_rng(seed).integers(-2, 3, (num_rows, dim)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(worlds, st.integers(1, 20))
def test_flat_search_finds_the_scores_of_a_brute_force(world: tuple[int, int, int], k: int) -> None:
    vectors = vectors_of(world)
    scores, rows = build_flat(vectors).search(vectors[:3], k)
    exact = vectors[:3] @ vectors.T
    np.testing.assert_array_equal(scores, -np.sort(-exact, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(exact, rows, 1), scores)
    assert all(len(set(found.tolist())) == len(found) for found in rows)


@settings(deadline=None, max_examples=40)
@given(worlds, st.integers(0, 5))
def test_ivf_over_all_lists_is_exact_and_survives_its_bytes(world: tuple[int, int, int], seed: int) -> None:
    vectors = vectors_of(world)
    index, facts = build_ivf(vectors, IvfSettings(nprobe=10**6, seed=seed, target_recall=1.0))
    assert facts.recall == 1.0
    np.testing.assert_array_equal(index.search(vectors, 7)[0], build_flat(vectors).search(vectors, 7)[0])
    with TemporaryDirectory() as folder:
        path = Path(folder, "clips.faiss")
        path.write_bytes(bytes_of(index))
        again = load_index(path, dim=vectors.shape[1], nprobe=facts.nprobe)
        assert bytes_of(again) == bytes_of(index)
        np.testing.assert_array_equal(again.reconstruct(range(len(vectors))), vectors)
