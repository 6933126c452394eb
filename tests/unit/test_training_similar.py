"""Batches of similar videos: exact search, parts, earlier epochs, and that a kill changes nothing.

What is in a batch is point 5 of `test_conformance`.
"""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.errors import ConfigError
from stages.retrieval.vectors import nearest_rows
from stages.train import Train
from stages.training.history import HISTORY
from stages.training.layout import ShuffledLayout
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.similar import SimilarLayout
from tests.training_samples import do, make_inputs
from tests.unit.test_train import SMALL, with_objective

IDS = [f"v{number:04d}" for number in range(640)]
GROUPS = 10
EXACT = RetrievalSettings(lists=1)


def vectors_of(video_ids, number):
    """Ten groups far apart; within a group at random."""
    rows = np.array([int(video_id[1:]) for video_id in video_ids])
    noise = np.random.default_rng([number, 0]).standard_normal((len(IDS), 8))[rows]
    centres = 100 * np.eye(GROUPS, 8) + 30 * np.arange(GROUPS)[:, None]
    return np.ascontiguousarray(centres[rows % GROUPS] + noise, dtype=np.float32)


def open_layout(settings=EXACT, *, batch_videos=32, multiple=1, seed=3, vectors=vectors_of):
    before = ShuffledLayout(IDS, batch_videos, multiple=multiple, seed=seed)
    return SimilarLayout(IDS, before, vectors, settings, batch_videos=batch_videos, multiple=multiple, seed=seed)


def batches(layout, epoch=0):
    layout.begin_epoch(epoch)
    return [list(layout.batch(place)) for place in range(layout.batches_per_epoch)]


def test_exact_search_is_brute_force():
    vectors = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    found = nearest_rows(vectors, np.arange(200), 10, lists=1, probes=1, seed=0)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :10])
    again = nearest_rows(vectors, np.arange(200), 10, lists=512, probes=2, seed=0)
    np.testing.assert_array_equal(again, nearest_rows(vectors, np.arange(200), 10, lists=5, probes=2, seed=0))


def test_parts_never_mix():
    def mixed(video_ids, number):
        return np.random.default_rng(number).standard_normal((len(video_ids), 4)).astype(np.float32)

    layout = open_layout(RetrievalSettings(lists=1, parts=4), vectors=mixed)
    together = {video_id: {video_id} for video_id in IDS}
    for epoch in range(12):
        for batch in batches(layout, epoch):
            joined = set().union(*(together[video_id] for video_id in batch))
            together.update(dict.fromkeys(joined, joined))
    sizes = {frozenset(members) for members in together.values()}
    assert sorted(map(len, sizes)) == [160, 160, 160, 160]


def test_earlier_epochs_are_shuffled():
    layout = open_layout(RetrievalSettings(lists=1, from_epoch=3))
    plain = ShuffledLayout(IDS, 32, multiple=1, seed=3)
    for epoch in (0, 1):
        plain.begin_epoch(epoch)
        assert batches(layout, epoch) == [plain.batch(place) for place in range(20)]
    assert all(len({int(v[1:]) % GROUPS for v in batch}) == 1 for batch in batches(layout, 2))


def test_clusters_are_taken_back_and_not_found_again():
    def never(video_ids, number):
        raise AssertionError("the clusters were kept")

    layout = open_layout()
    wanted = batches(layout, 1)
    resumed = open_layout(vectors=never)
    resumed.restore(json.loads(json.dumps(layout.state())))
    assert batches(resumed, 1) == wanted


def test_an_epoch_ends_with_an_update_and_too_few_videos_are_named():
    assert open_layout(multiple=3).batches_per_epoch == 18
    with pytest.raises(ConfigError, match="16 videos can be trained on, but an update takes 32"):
        open_layout(RetrievalSettings(parts=40))


SIMILAR = with_objective(
    SMALL.model_copy(update={"checkpoint_every": 3}),
    batch_videos=4,
    retrieval=RetrievalSettings(lists=1, candidates=6, draws_per_video=2, batch_pairs=8),
)


def test_a_kill_in_the_middle_of_an_epoch_changes_nothing(tmp_path):
    """The clusters of the running epoch come from a model that is gone when the run goes on."""

    class Stop(Exception):
        pass

    def stop(done, text):
        if done >= 11 / 40:
            raise Stop

    whole, _ = do(Train(SIMILAR), make_inputs(tmp_path / "whole"))
    inputs = make_inputs(tmp_path / "killed")
    with pytest.raises(Stop):
        do(Train(SIMILAR), inputs, on_progress=stop)
    artifact, _ = do(Train(SIMILAR), inputs)
    for one, other in zip(whole.records[0].files, artifact.records[0].files, strict=True):
        assert one == other
    (path,) = artifact.paths(HISTORY)
    losses = pq.read_table(path).column("loss").to_pylist()
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    plain, _ = do(Train(with_objective(SIMILAR, retrieval=None)), make_inputs(tmp_path / "plain"))
    assert pq.read_table(plain.paths(HISTORY)[0]).column("loss").to_pylist() != losses
