"""Episodes: what is drawn is what is said, evenly; a class score is the mean over the videos shown of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.datasets.fewshot import read_fewshot
from stages.evaluation.classification import labelled_videos
from stages.training.episodes import Episodes, EpisodeShape, class_scores, draw_episodes

LABELS = np.repeat(np.arange(8), [6, 6, 6, 6, 6, 6, 6, 2])
SHAPE = EpisodeShape(ways=5, shots=3, queries=2, num_episodes=4000)
FEW = EpisodeShape(ways=3, shots=1, num_episodes=50)


def test_episodes_are_of_different_classes_and_videos() -> None:
    drawn = draw_episodes(LABELS, SHAPE, np.random.default_rng(0))
    assert drawn.support.shape == (4000, 5, 3)
    assert drawn.query.shape == (4000, 5, 2)
    shown, asked = LABELS[drawn.support], LABELS[drawn.query]
    assert (shown == shown[:, :, :1]).all()
    assert (asked == shown[:, :, :1]).all()
    videos = np.concatenate([drawn.support, drawn.query], axis=2).reshape(4000, -1)
    for episode in videos[:200].tolist():
        assert len(set(episode)) == 25
    for classes in shown[:200, :, 0].tolist():
        assert len(set(classes)) == 5


def test_every_class_with_enough_videos_and_every_video_is_drawn_alike() -> None:
    drawn = draw_episodes(LABELS, SHAPE, np.random.default_rng(1))
    classes = Counter(LABELS[drawn.support[:, :, 0]].ravel().tolist())
    assert set(classes) == set(range(7))  # the last has 2 videos, 5 are needed
    assert min(classes.values()) > 0.93 * max(classes.values())
    first = Counter(drawn.support[:, :, 0].ravel().tolist())
    assert len(first) == 42
    assert min(first.values()) > 0.75 * max(first.values())


def test_one_seed_is_reproducible() -> None:
    one, again, other = (draw_episodes(LABELS, FEW, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one.support, again.support)
    assert not np.array_equal(one.query, other.query)


def test_too_few_classes_are_an_error() -> None:
    with pytest.raises(ValueError, match="7 of 8 classes have at least 5 videos; 8 ways need as many"):
        draw_episodes(LABELS, EpisodeShape(ways=8, shots=3, queries=2), np.random.default_rng(0))


def test_class_scores_are_means_over_shots() -> None:
    pair_scores = np.random.default_rng(0).standard_normal((7, 7))
    episodes = Episodes(support=np.array([[[0, 1], [2, 3]]]), query=np.array([[[4], [5]]]))
    got = class_scores(pair_scores, episodes)
    assert got.shape == (1, 2, 1, 2)
    for way, asked in ((0, 4), (1, 5)):
        for other, shown in ((0, [0, 1]), (1, [2, 3])):
            assert got[0, way, 0, other] == pytest.approx(np.mean([pair_scores[asked, video] for video in shown]))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "classes"), [("ssv2_OTAM_test.txt", 24), ("kinetics100_CMN_test.list", 24), ("hmdb_ARN_test.txt", 10)]
)
def test_published_lists_give_episodes(shared_dir: Path, name: str, classes: int) -> None:
    path = shared_dir / "data" / "annotations" / "fewshot" / name
    videos = labelled_videos(read_fewshot(name, {"test": path}))
    shape = EpisodeShape(ways=5, shots=5, num_episodes=500)
    drawn = draw_episodes(videos.labels, shape, np.random.default_rng(0))
    assert videos.num_ambiguous == 0
    assert len(np.unique(videos.labels[drawn.query])) == classes
