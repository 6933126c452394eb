"""What the approximate index costs stands beside the exact numbers: the run's own bundle, or one built as it is."""

from pathlib import Path

import numpy as np
import pytest

from stages.evaluation import approximate
from stages.evaluation.approximate import IndexOfGallery, IndexOfRun
from stages.evaluation.own_set import measure
from stages.evaluation.scoring import ProtocolSettings
from stages.retrieval.ivf import IvfSettings
from stages.retrieval.ivf_build import build_ivf
from stages.retrieval.vectors import VectorIndex
from tests.benchmark_samples import CorpusConfig, SmallBenchmarks, metrics_of
from tests.evaluation_samples import make_set
from tests.small_run import SmallRun, copy_run
from tests.training_samples import STEPS
from tests.unit.test_evaluation_benchmarks import VIDEOS, clip_benchmark, youcook2


def test_all_lists_find_everything_and_one_list_loses_what_lies_elsewhere() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((400, 16)).astype(np.float32)
    queries = gallery[:50] + 0.1 * rng.standard_normal((50, 16)).astype(np.float32)
    ids = [f"w{row}" for row in range(400)]
    exact = queries @ gallery.T
    everything = IndexOfGallery(IvfSettings(nlist=8, nprobe=8)).products(queries, ids, gallery)
    assert everything is not None
    assert everything[1] == "index, 8 of 8 lists"
    np.testing.assert_allclose(everything[0](slice(0, 50)), exact, rtol=1e-4, atol=1e-4)
    one_list = IndexOfGallery(IvfSettings(nlist=8, nprobe=1)).products(queries, ids, gallery)
    assert one_list is not None
    found = one_list[0](slice(10, 30))
    met = np.isfinite(found)
    assert 0.02 < met.mean() < 0.4
    np.testing.assert_allclose(found[met], exact[10:30][met], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cells", [400, 1000, 3])
def test_no_search_answers_with_more_rows_than_may_stand_at_once(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery of 40 in an index of 400: the searches are as small as the index asks, their scores the same."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((400, 16)).astype(np.float32)
    queries = rng.standard_normal((7, 16)).astype(np.float32)
    index, _ = build_ivf(vectors, [f"w{row}" for row in range(400)], IvfSettings(nlist=8, nprobe=3, target_recall=0.0))
    columns = np.full(400, -1)
    columns[rng.permutation(400)[:40]] = np.arange(40)
    whole = approximate._found(index, queries, columns, 40)(slice(0, 7))
    answered: list[int] = []

    class Counted(VectorIndex):
        def search(self, queries, k, without=range(0)):
            found = super().search(queries, k, without)
            answered.append(found[0].size)
            return found

    monkeypatch.setattr(approximate, "_BLOCK_CELLS", cells)
    counted = Counted(index._index, index.nprobe)
    np.testing.assert_array_equal(approximate._found(counted, queries, columns, 40)(slice(0, 7)), whole)
    assert max(answered) <= max(cells, 400)
    assert sum(answered) == 7 * 400
    assert 0 < np.isfinite(whole).mean() < 1


def test_an_index_offers_the_videos_whose_windows_are_nearest() -> None:
    """The oracle is the exact order of all windows; visiting every list finds it, visiting one does not."""
    rng = np.random.default_rng(3)
    videos = [rng.standard_normal((4, 16)).astype(np.float32) for _ in range(150)]
    ids = [f"v{number:03d}" for number in range(150)]
    texts = [rng.standard_normal((1, 16)).astype(np.float32) for _ in range(5)]
    all_lists, name = IndexOfGallery(IvfSettings(nlist=8, nprobe=8)).offers(texts, ids, videos)
    one_list, _ = IndexOfGallery(IvfSettings(nlist=8, nprobe=1)).offers(texts, ids, videos)
    assert name == "index, 8 of 8 lists"
    nearest = [np.argsort(-(np.concatenate(videos) @ text[0]))[:400] // 4 for text in texts]  # 100, then 400 windows
    np.testing.assert_array_equal(all_lists, [np.isin(np.arange(150), owners) for owners in nearest])
    assert (all_lists.sum(axis=1) >= 100).all()
    assert (one_list.sum(axis=1) < 100).all()
    assert one_list.any(axis=1).all()


def test_its_numbers_stand_beside_the_exact_ones_and_change_none() -> None:
    evaluation = make_set(noise=0.6, num_pairs=20)
    plain = measure(evaluation, ProtocolSettings())
    with_index = measure(evaluation, ProtocolSettings(index=IndexOfGallery(IvfSettings(nlist=16, nprobe=1))))
    for exact, beside in zip(plain, with_index, strict=True):
        assert [score.value for score in exact.scores] == [score.value for score in beside.scores]
    window = next(result for result in with_index if result.name == "text_to_window")
    recall = next(score for score in window.scores if score.name == "R@10")
    assert recall.baselines["index, 1 of 16 lists"] < recall.value
    by_dtw = next(result for result in with_index if result.name == "paragraph_to_video.dtw")
    assert by_dtw.scores[0].baselines == {"index, 1 of 16 lists": by_dtw.scores[0].value}  # few: all are aligned


def test_a_benchmark_is_asked_through_an_index_like_the_run_s(tmp_path: Path, step_encoder: Path) -> None:
    told = youcook2(tmp_path / "y.json", {f"v{i}": [(0, 5, STEPS[i])] for i in range(6)})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))
    settings = {"index": {"kind": "ivf", "nlist": 3, "nprobe": 3}}
    whole = {**clip_benchmark(told, "whole"), "protocol": {"name": "full_video_retrieval"}}
    outcome = small.run(clip_benchmark(told), whole, **settings)
    for name, protocol in (("cooking", "text_to_clip"), ("whole", "full_video.dtw")):
        score = metrics_of(outcome, name)["protocols"][protocol]["scores"]["R@1"]
        assert score["baselines"] == {"index, 3 of 3 lists": score["value"]}


@pytest.mark.timeout(900)
def test_the_run_s_own_bundle_is_asked(small_run: SmallRun, tmp_path: Path) -> None:
    run = copy_run(small_run, tmp_path)
    run.write(index__kind="ivf", index__nlist=4, index__nprobe=4)
    run.fabula("run")
    from stages.artifacts.layout import Store
    from stages.artifacts.sealed import Artifact

    metrics = run.metrics("set")
    recall = metrics["protocols"]["text_to_window"]["scores"]["R@10"]
    assert recall["baselines"] == {"index, 4 of 4 lists": pytest.approx(recall["value"], abs=1e-6)}
    by_dtw = metrics["protocols"]["paragraph_to_video.dtw"]["scores"]["R@1"]
    assert by_dtw["baselines"] == {"index, 4 of 4 lists": by_dtw["value"]}  # few enough videos: all are aligned
    (bundle,) = (
        Artifact(found)
        for found in Store(run.store).artifacts("index")
        if "quantiser" in Artifact(found).description.units
    )
    vectors = np.zeros((1, IndexOfRun(bundle)._bundle.record.dim), np.float32)
    assert IndexOfRun(bundle).products(vectors, ["no window"], vectors) is None
