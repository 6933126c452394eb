"""The faiss door: exact against brute force, IVF measured, bytes that repeat, files that vanilla faiss opens."""

import faiss
import numpy as np
import pytest

from stages.errors import ConfigError, Corrupt, SchemaMismatch
from stages.retrieval.ivf import IvfSettings, default_nlist, draw_rows
from stages.retrieval.vectors import build_flat, fill_lists, load_index, train_lists
from tests.retrieval_samples import build_ivf, bytes_of


def clustered(num_rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    rows = centres[rng.integers(0, 20, num_rows)] + 0.5 * rng.standard_normal((num_rows, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_flat_search_is_the_brute_force_order() -> None:
    vectors, queries = clustered(300), clustered(7, seed=1)
    scores, rows = build_flat(vectors).search(queries, 10)
    expected = queries @ vectors.T
    assert (rows == np.argsort(-expected, axis=1, kind="stable")[:, :10]).all()
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, 1), atol=1e-6)


def test_equal_scores_come_in_row_order_and_k_is_cut_to_the_rows_there_are() -> None:
    index = build_flat(np.ones((4, 3), np.float32))
    scores, rows = index.search(np.ones((1, 3), np.float32), 99)
    assert rows.tolist() == [[0, 1, 2, 3]]
    assert scores.tolist() == [[3.0] * 4]


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_excluded_rows_are_never_returned_and_do_not_cost_results(kind: str) -> None:
    vectors = clustered(400)
    index = build_flat(vectors) if kind == "flat" else build_ivf(vectors, IvfSettings(target_recall=1.0, nprobe=999))[0]
    _, rows = index.search(vectors[:3], 100, without=range(0, 350))
    assert rows.shape == (3, 50)
    assert sorted(rows[0].tolist()) == list(range(350, 400))


def test_a_wider_index_visits_more_lists_and_leaves_the_one_it_comes_from_alone(tmp_path) -> None:
    vectors = clustered(400)
    narrow, _ = build_ivf(vectors, IvfSettings(nlist=6, nprobe=1, target_recall=0.0))
    before, wide = bytes_of(narrow), narrow
    for nprobe in (2, 4, 6):
        wide = wide.wider()
        assert wide.nprobe == nprobe
    assert wide.wider() is None
    assert build_flat(vectors).wider() is None
    assert (wide.search(vectors[:9], 400)[1] >= 0).all()
    assert (narrow.search(vectors[:9], 400)[1] < 0).any()
    assert bytes_of(narrow) == before


def test_an_empty_index_answers_nothing_and_survives_its_bytes(tmp_path) -> None:
    index = build_flat(np.zeros((0, 8), np.float32))
    (tmp_path / "i").write_bytes(bytes_of(index))
    again = load_index(tmp_path / "i", dim=8, nprobe=None)
    assert again.num_rows == 0
    assert again.search(np.zeros((2, 8), np.float32), 5)[0].shape == (2, 0)
    assert again.reconstruct(range(0)).shape == (0, 8)


def test_ivf_bytes_repeat_whatever_the_number_of_threads_and_depend_on_the_seed() -> None:
    vectors = clustered(3000)
    first = bytes_of(build_ivf(vectors, IvfSettings(seed=3))[0])
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        index, _ = build_ivf(vectors, IvfSettings(seed=3))
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
    index.reconstruct(range(5))
    assert bytes_of(index) == first
    assert bytes_of(build_ivf(vectors, IvfSettings(seed=4))[0]) != first


def test_the_chosen_nprobe_reaches_the_target_and_is_stored_for_other_readers(tmp_path) -> None:
    vectors = clustered(3000)
    index, facts = build_ivf(vectors, IvfSettings(target_recall=0.9))
    assert facts.nlist == default_nlist(3000 - 300) == 69
    assert facts.recall >= 0.9
    assert 1 < facts.nprobe < facts.nlist
    assert len(facts.held_out) == 256
    (tmp_path / "i").write_bytes(bytes_of(index))
    assert faiss.read_index(str(tmp_path / "i")).nprobe == facts.nprobe
    again = load_index(tmp_path / "i", dim=16, nprobe=facts.nprobe)
    assert (again.search(vectors[:9], 5)[1] == index.search(vectors[:9], 5)[1]).all()
    np.testing.assert_array_equal(again.reconstruct(range(10, 20)), vectors[10:20])


def test_an_index_joined_from_parts_is_the_one_that_was_filled_at_once() -> None:
    vectors = clustered(2000)
    (whole, facts), (joined, facts_of_parts) = (build_ivf(vectors, IvfSettings(seed=1), parts=n) for n in (1, 7))
    assert facts == facts_of_parts
    assert (joined.search(vectors[:50], 10)[1] == whole.search(vectors[:50], 10)[1]).all()
    np.testing.assert_array_equal(joined.reconstruct(range(280, 300)), vectors[280:300])
    assert bytes_of(joined) == bytes_of(whole)


def test_rows_never_change_sides_when_others_are_appended() -> None:
    ids = [f"v{n // 40}/w{n % 40:05d}" for n in range(4000)]
    few, many = (draw_rows(ids[:count], IvfSettings()) for count in (1500, 4000))
    assert len(many.held_out) == 256
    assert set(few.sample.tolist()).isdisjoint(few.held_out.tolist())
    assert set(few.sample.tolist()).isdisjoint(many.held_out.tolist())
    assert set(many.sample.tolist()).isdisjoint(few.held_out.tolist())
    assert draw_rows(ids, IvfSettings(seed=1)).held_out.tolist() != many.held_out.tolist()


def test_the_recorded_recall_is_that_of_a_brute_force_over_the_held_out_rows() -> None:
    vectors = clustered(2000)
    index, facts = build_ivf(vectors, IvfSettings(nprobe=2, target_recall=0.0))
    found = 0
    for row in facts.held_out:
        scores = vectors @ vectors[row]
        scores[row] = -np.inf
        exact = set(np.argsort(-scores)[: facts.recall_k].tolist())
        found += len(exact & set(index.search(vectors[row : row + 1], 11)[1][0].tolist()))
    assert facts.recall == pytest.approx(found / (len(facts.held_out) * facts.recall_k), abs=0.002)
    assert facts.recall < 0.999


def test_the_loaded_nprobe_is_the_recorded_one_not_the_file_s(tmp_path) -> None:
    vectors = clustered(2000)
    index, facts = build_ivf(vectors, IvfSettings())
    forgetful = faiss.deserialize_index(np.frombuffer(bytes_of(index), np.uint8))
    forgetful.nprobe = 1
    faiss.write_index(forgetful, str(tmp_path / "i"))
    again = load_index(tmp_path / "i", dim=16, nprobe=facts.nprobe)
    assert (again.search(vectors, 10)[1] == index.search(vectors, 10)[1]).all()


def test_an_nprobe_that_misses_the_target_is_refused_with_the_measured_recall() -> None:
    with pytest.raises(ConfigError, match=r"nprobe = 1 of 69 lists finds 0\.\d+ .*target_recall = 0\.99"):
        build_ivf(clustered(3000), IvfSettings(nprobe=1, target_recall=0.99))


def test_more_lists_than_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="nlist is 50, but there are 18 rows"):
        build_ivf(clustered(20), IvfSettings(nlist=50))


@pytest.mark.parametrize("num_rows", [1, 2, 9, 10, 40])
def test_tiny_ivf_indexes_are_exact(num_rows: int) -> None:
    vectors = clustered(num_rows)
    index, facts = build_ivf(vectors, IvfSettings())
    assert facts.recall == 1.0
    assert (index.search(vectors, 5)[1] == build_flat(vectors).search(vectors, 5)[1]).all()


def test_vectors_that_are_not_finite_or_not_a_matrix_are_refused() -> None:
    vectors = clustered(30)
    vectors[17, 2] = np.nan
    with pytest.raises(ValueError, match="row 17"):
        build_flat(vectors)
    with pytest.raises(ValueError, match=r"\(N, E\)"):
        build_flat(vectors[0])
    with pytest.raises(ValueError, match="at least as many rows to train on, got 0"):
        train_lists(vectors[:0], nlist=1, seed=0)
    with pytest.raises(ValueError, match="row 17"):
        fill_lists(train_lists(vectors[:9], nlist=2, seed=0), vectors)
    with pytest.raises(ValueError, match=r"\(N, 16\)"):
        fill_lists(train_lists(vectors[:9], nlist=2, seed=0), vectors[:9, :8])
    with pytest.raises(ValueError, match=r"\(Q, 16\)"):
        build_flat(clustered(3)).search(np.zeros((1, 8), np.float32), 1)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        build_flat(clustered(3)).reconstruct(range(2, 4))


def test_files_of_another_kind_width_or_metric_are_refused(tmp_path) -> None:
    path = tmp_path / "i.faiss"
    path.write_bytes(bytes_of(build_flat(clustered(30))))
    with pytest.raises(SchemaMismatch, match="vectors of 16 values, its record says 8"):
        load_index(path, dim=8, nprobe=None)
    with pytest.raises(Corrupt, match="IndexFlatIP, its record says IndexIVFFlat"):
        load_index(path, dim=16, nprobe=4)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(Corrupt, match="not an index that faiss can read"):
        load_index(path, dim=16, nprobe=None)
    faiss.write_index(faiss.IndexFlatL2(16), str(path))
    with pytest.raises(SchemaMismatch, match="inner product"):
        load_index(path, dim=16, nprobe=None)
