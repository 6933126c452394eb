"""Linear probe, video retrieval and few-shot recognition on sets whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from stages.datasets.records import Annotations, Labelled
from stages.evaluation.bootstrap import BootstrapSettings
from stages.evaluation.classification import (
    ClassScores,
    LabelledVideos,
    class_names,
    classification_result,
    labelled_videos,
)
from stages.evaluation.frame_protocol_configs import FewShotConfig, LinearProbeConfig, VideoRetrievalConfig
from stages.evaluation.protocols.few_shot import few_shot, score_pairs
from stages.evaluation.protocols.linear_probe import linear_probe
from stages.evaluation.protocols.video_retrieval import video_retrieval
from stages.evaluation.records import ProtocolResult, Score
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings
from tests.frame_samples import DIM, labelled_set, material, ordered_set, rows_of

SETTINGS = ProtocolSettings(bootstrap=BootstrapSettings(num_resamples=200))
PROBE = LinearProbeConfig(name="linear_probe")
RETRIEVAL = VideoRetrievalConfig(name="video_retrieval", ks=(1, 5))
FEW = FewShotConfig(name="few_shot", num_episodes=300)


def score(result: ProtocolResult, name: str) -> Score:
    return next(found for found in result.scores if found.name == name)


def only(results: list[ProtocolResult]) -> ProtocolResult:
    (result,) = results
    return result


def without_class(annotations: Annotations, split: str, label: int) -> Annotations:
    gone = {v.source_id for v in annotations.videos if v.split == split and v.group == f"class{label}"}
    return annotations.only({v.source_id for v in annotations.videos} - gone)


def test_what_is_linearly_readable_is_read() -> None:
    result = only(linear_probe(material(*labelled_set()), PROBE, SETTINGS))
    assert score(result, "top-1").value == 1.0
    assert score(result, "top-1").chance == pytest.approx(0.25)
    assert score(result, "top-1").baselines == {"majority class": 0.25}
    assert score(result, "top-5").value == score(result, "top-5").chance == 1.0
    assert result.ranked is not None
    assert result.ranked.query_ids[0] == "test0x0"
    assert result.ranked.answer_ids[0] == "0 class0"
    assert (result.unit, result.num_units) == ("video", 20)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_read_at_chance(seed: int) -> None:
    annotations, rows = labelled_set(num_classes=4, train=20, test=40, seed=seed)
    rng = np.random.default_rng(seed)
    noise = {name: rows_of(3 + rng.standard_normal(found.features.shape)) for name, found in rows.items()}
    found = score(only(linear_probe(material(annotations, noise), PROBE, SETTINGS)), "top-1")
    assert found.low - 0.05 <= 0.25 <= found.high + 0.05


def test_the_majority_class_is_that_of_the_train_split() -> None:
    annotations, rows = labelled_set(num_classes=3, train=4, test=6)
    fewer = annotations.only(set(rows) - {"train0x0", "train2x0", "test1x0", "test1x1", "test1x2"})
    result = only(linear_probe(material(fewer, rows), PROBE, SETTINGS))
    assert score(result, "top-1").baselines == {"majority class": 3 / 15}


def test_classes_and_videos_that_cannot_take_part_are_counted() -> None:
    annotations, rows = labelled_set()
    twice = replace(annotations, labelled=(*annotations.labelled, Labelled(source_id="test3x0", label_index=0)))
    lacking = without_class(twice, "train", 2)
    probed = only(linear_probe(material(lacking, rows), PROBE, SETTINGS))
    assert probed.missing == {"videos_with_several_classes": 1, "videos_of_a_class_without_training": 5}
    assert score(probed, "top-1").value == pytest.approx(14 / 19)
    retrieved = only(video_retrieval(material(lacking, rows), RETRIEVAL, SETTINGS))
    assert retrieved.missing == {"videos_with_several_classes": 1, "videos_without_class_in_gallery": 5}
    assert retrieved.num_units == 14


@pytest.mark.parametrize(("answered", "warned"), [((0, 0, 0, 0), True), ((0, 0, 1, 1), False), ((0, 0, 0, 1), True)])
def test_a_classifier_that_knows_one_answer_is_named(answered: tuple[int, ...], warned: bool) -> None:
    videos = LabelledVideos(source_ids=("a", "b", "c", "d"), labels=np.array([0, 0, 1, 1]))
    found = ClassScores(
        videos=videos,
        scores=np.eye(2)[list(answered)],
        class_names=("yes", "no"),
        train_labels=np.array([0, 1]),
    )
    definition = Definition(name="x", title="", definition="", similarity="")
    result = classification_result(definition, found, SETTINGS, missing={})
    assert bool(result.warnings) is warned


def test_damaged_rows_take_no_part() -> None:
    annotations, rows = labelled_set()
    spoilt = {}
    for name, found in rows.items():
        features = np.concatenate([found.features, np.full((3, DIM), 1e4, np.float32)])
        spoilt[name] = rows_of(features, damaged=tuple(range(len(found.features), len(features))))
    for protocol, config in ((linear_probe, PROBE), (video_retrieval, RETRIEVAL)):
        clean = only(protocol(material(annotations, rows), config, SETTINGS))
        assert only(protocol(material(annotations, spoilt), config, SETTINGS)).scores == clean.scores


def test_a_video_finds_its_class() -> None:
    result = only(video_retrieval(material(*labelled_set(noise=0.2)), RETRIEVAL, SETTINGS))
    assert score(result, "R@1").value == 1.0
    # One of the 6 right among 24 first; five drawn without one of them: C(18, 5) / C(24, 5).
    assert score(result, "R@1").chance == pytest.approx(6 / 24)
    assert score(result, "R@5").chance == pytest.approx(1 - (18 * 17 * 16 * 15 * 14) / (24 * 23 * 22 * 21 * 20))
    assert result.ranked is not None
    assert (result.ranked.gallery_size, set(result.ranked.num_relevant.tolist())) == (24, {6})


def test_videos_are_compared_by_direction_alone() -> None:
    annotations, rows = labelled_set(noise=8.0)
    scaled = {
        name: rows_of(found.features * (0.1 + number)) for number, (name, found) in enumerate(sorted(rows.items()))
    }
    plain, other = (only(video_retrieval(material(annotations, r), RETRIEVAL, SETTINGS)) for r in (rows, scaled))
    assert plain.scores == other.scores
    assert 0.1 < score(plain, "MRR").value < 1.0


def test_videos_with_too_few_rows_are_named() -> None:
    annotations, rows = labelled_set()
    cut = {name: rows_of(found.features[: 4 if name.startswith("test0") else 40]) for name, found in rows.items()}
    few = LinearProbeConfig(name="linear_probe", num_frames=5)
    (warning,) = only(linear_probe(material(annotations, cut), few, SETTINGS)).warnings
    assert warning.startswith("5 of 44 videos have fewer than 5 intact rows")
    assert not only(linear_probe(material(annotations, rows), few, SETTINGS)).warnings


def test_order_tells_classes_apart_that_show_the_same() -> None:
    results = {result.name: result for result in few_shot(material(*ordered_set()), FEW, SETTINGS)}
    assert list(results) == [
        f"few_shot.{shots}_shot.{scorer}" for shots in (1, 5) for scorer in ("mean_row", "otam", "dtw")
    ]
    for shots in (1, 5):
        mean_row = results[f"few_shot.{shots}_shot.mean_row"]
        assert score(mean_row, "accuracy").chance == 0.2
        assert score(mean_row, "accuracy").value < 0.5  # it forgets order
        for scorer in ("otam", "dtw"):
            aligned = results[f"few_shot.{shots}_shot.{scorer}"]
            assert score(aligned, "accuracy").value > 0.97
            assert score(aligned, "accuracy_minus_mean_row").low > 0.4
            assert (aligned.unit, aligned.num_units) == ("episode", 300)


def test_appearance_alone_needs_no_order() -> None:
    annotations, rows = labelled_set(num_classes=6, test=7, noise=0.3)
    results = few_shot(material(annotations, rows), FEW, SETTINGS)
    assert all(score(result, "accuracy").value > 0.97 for result in results)


def test_noise_gives_one_in_five() -> None:
    annotations, rows = labelled_set(num_classes=8, test=40)
    rng = np.random.default_rng(0)
    noise = {name: rows_of(rng.standard_normal(found.features.shape)) for name, found in rows.items()}
    config = FEW.model_copy(update={"shots": (1,), "num_episodes": 3000})
    for result in few_shot(material(annotations, noise), config, SETTINGS):
        assert score(result, "accuracy").value == pytest.approx(0.2, abs=0.04), result.name


def test_videos_that_are_all_alike_are_misses() -> None:
    annotations, rows = labelled_set(num_classes=5, test=3)
    alike = dict.fromkeys(rows, rows_of(np.ones((8, DIM))))
    config = FEW.model_copy(update={"shots": (1,)})
    assert {score(r, "accuracy").value for r in few_shot(material(annotations, alike), config, SETTINGS)} == {0.0}


def test_too_few_classes_say_so() -> None:
    annotations, rows = labelled_set(num_classes=4)
    for result in few_shot(material(annotations, rows), FEW, SETTINGS):
        assert not result.scores
        needed = 2 if "1_shot" in result.name else 6
        usable = 4 if needed == 2 else 0
        assert result.not_evaluated == f"{usable} of 4 classes have at least {needed} videos; 5 ways need as many"


def test_pair_scores_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((8, DIM)).astype(np.float32) for _ in range(9)]
    whole, part = score_pairs(sequences), score_pairs(sequences[:4])
    for scorer, scores in part.items():
        np.testing.assert_allclose(whole[scorer][:4, :4], scores, atol=1e-6)
        assert (np.diag(scores) >= scores.max(axis=1) - 1e-6).all()


@pytest.mark.parametrize(("split", "why"), [("train", "train split has 0 usable videos"), ("test", "no video")])
def test_a_split_without_videos_says_so(split: str, why: str) -> None:
    annotations, rows = labelled_set()
    kept = {v.source_id for v in annotations.videos if v.split != split}
    found = material(annotations, {name: rows[name] for name in kept})
    assert why in only(linear_probe(found, PROBE, SETTINGS)).not_evaluated
    assert only(video_retrieval(found, RETRIEVAL, SETTINGS)).not_evaluated


def test_labels_come_from_the_records() -> None:
    annotations, _ = labelled_set(num_classes=2, train=1, test=1)
    found = labelled_videos(annotations)
    assert dict(zip(found.source_ids, found.labels.tolist(), strict=True)) == {
        "train0x0": 0, "train1x0": 1, "test0x0": 0, "test1x0": 1,
    }  # fmt: skip
    assert class_names(annotations) == ("class0", "class1")
