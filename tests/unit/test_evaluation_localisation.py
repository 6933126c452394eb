"""Action localisation on videos whose actions are known, through both fits; and its scores by hand."""

from dataclasses import replace

import numpy as np
import pytest

from stages.evaluation.bootstrap import BootstrapSettings
from stages.evaluation.frame_protocol_configs import BmnSizes, ClassifierFit, LocalisationConfig, ProposalFit
from stages.evaluation.localisation import AnnotatedVideo, annotated_videos, classified, rows_inside
from stages.evaluation.localisation_scores import precision_scores, recall_scores, whole_video
from stages.evaluation.proposals import Proposals
from stages.evaluation.protocols.action_localisation import action_localisation
from stages.evaluation.records import ProtocolResult, Score
from stages.evaluation.scoring import ProtocolSettings
from tests.frame_samples import action_set, material

SETTINGS = ProtocolSettings(bootstrap=BootstrapSettings(num_resamples=100))
CONFIG = LocalisationConfig(
    name="action_localisation",
    num_segments=3,
    dropout=0.2,
    classifier=ClassifierFit(epochs=20, learning_rate=0.05, drops=()),
    num_steps=30,
    sizes=BmnSizes(hidden=16, pair_hidden=16, map_hidden=8, num_samples=8),
    proposals=ProposalFit(epochs=25, batch_size=10, learning_rate=5e-3, drops=(20,)),
    classes_per_proposal=1,
)


def value(scores: tuple[Score, ...], name: str) -> Score:
    return next(score for score in scores if score.name == name)


@pytest.fixture(scope="module")
def results() -> list[ProtocolResult]:
    return action_localisation(material(*action_set(), split="val"), CONFIG, SETTINGS)


def test_actions_that_stand_out_are_found(results: list[ProtocolResult]) -> None:
    recall, _ = results
    assert [score.name for score in recall.scores] == ["AR@1", "AR@5", "AR@10", "AR@100", "AUC"]
    few = value(recall.scores, "AR@5")
    assert few.chance is not None
    assert few.low > 3 * few.chance
    assert few.value > few.baselines["whole video"] + 0.3
    area = value(recall.scores, "AUC")
    assert area.chance is not None
    assert area.low > area.chance
    assert (recall.unit, recall.num_units) == ("video", 24)


def test_their_classes_are_named(results: list[ProtocolResult]) -> None:
    _, precision = results
    loose = value(precision.scores, "mAP@0.5")
    assert loose.value > 0.6
    assert loose.baselines["whole video"] < 0.1
    assert value(precision.scores, "mAP").value <= loose.value
    assert (precision.unit, precision.num_units) == ("class", 3)


def test_the_page_shows_how_both_fits_went(results: list[ProtocolResult]) -> None:
    titles = {section.title: section.tables[0] for section in results[0].sections}
    assert list(titles) == ["The classifier's fit", "The proposal network's fit"]
    classifier, network = titles.values()
    assert classifier.columns == ("update", "learning rate", "loss", "accuracy")
    assert float(classifier.rows[-1][2]) < 0.5 * float(classifier.rows[0][2])
    assert network.columns[3:] == ("boundaries", "confidence", "overlap")
    assert float(network.rows[-1][2]) < float(network.rows[0][2])
    assert [row[1] for row in network.rows][0::9] == ["0.005", "0.0005"]  # a tenth behind the twentieth epoch


def test_rows_of_an_action_are_those_whose_middle_lies_in_it() -> None:
    spans = np.stack([np.arange(5.0), np.arange(5.0) + 1], axis=1)
    assert rows_inside(spans, np.array([0.4, 3.5])).tolist() == [0, 1, 2]
    assert rows_inside(spans, np.array([2.6, 2.9])).tolist() == [2]  # none: the nearest
    assert rows_inside(spans, np.array([90.0, 91.0])).tolist() == [4]


def test_actions_beyond_the_video_are_no_targets() -> None:
    video = AnnotatedVideo(
        source_id="a",
        rows=np.zeros((2, 1), np.float32),
        spans=np.array([[0.0, 5.0], [5.0, 10.0]]),
        duration_s=10.0,
        actions=np.array([[2.0, 5.0], [8.0, 14.0], [11.0, 12.0]]),
        labels=np.zeros(3, np.int64),
    )
    assert video.shares.tolist() == [[0.2, 0.5], [0.8, 1.0]]


def test_videos_without_actions_are_counted_and_their_split_may_be_empty() -> None:
    annotations, rows = action_set(train=2, test=2)
    silent = annotations.only({"train0x0", "val0x0", "val1x0"})
    silent = silent.__class__(
        name=silent.name,
        videos=silent.videos,
        segments=tuple(s for s in silent.segments if s.source_id == "train0x0"),
        steps=silent.steps,
    )
    for result in action_localisation(material(silent, rows, split="val"), CONFIG, SETTINGS):
        assert result.not_evaluated.startswith("1 train and 0 measured videos have an annotated action")
        assert result.missing == {"videos_without_actions": 2}
    assert len(annotated_videos(silent, material(silent, rows).features)) == 1


def test_a_proposal_has_the_classes_of_its_rows() -> None:
    shown = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.4, 0.5]], np.float32)
    spans = np.stack([np.arange(4.0), np.arange(4.0) + 1], axis=1)
    whole = replace(video("a", (0, 2)), spans=spans, rows=np.zeros((4, 1), np.float32), duration_s=4.0)
    proposals = Proposals(spans=np.array([[0.0, 2.0], [2.0, 4.0]]), scores=np.array([0.9, 0.5]))
    found = classified(proposals, whole, shown, 2)
    assert {label: part.spans.tolist() for label, part in found.items()} == {
        0: [[0.0, 2.0]], 1: [[0.0, 2.0], [2.0, 4.0]], 2: [[2.0, 4.0]],
    }  # fmt: skip
    assert found[0].scores == pytest.approx([0.9 * 0.7])
    assert found[1].scores == pytest.approx([0.9 * 0.2, 0.5 * 0.3])


def video(source_id: str, *actions: tuple[float, float], label: int = 0) -> AnnotatedVideo:
    return AnnotatedVideo(
        source_id=source_id,
        rows=np.zeros((1, 1), np.float32),
        spans=np.array([[0.0, 10.0]]),
        duration_s=10.0,
        actions=np.array(actions),
        labels=np.full(len(actions), label),
    )


def test_recall_weighs_actions_and_precision_classes_alike() -> None:
    videos = [video("a", (0, 4), (6, 8), (9, 10)), video("b", (0, 10), label=1)]
    found = {
        "a": Proposals(spans=np.array([[0.0, 4.0]]), scores=np.ones(1)),
        "b": Proposals(spans=np.array([[0.0, 5.0]]), scores=np.ones(1)),
    }
    generator = np.random.default_rng(0)
    recall = recall_scores(videos, found, 10, SETTINGS, generator)
    assert value(recall, "AR@1").value == pytest.approx((1 + 0 + 0 + 0.1) / 4)  # 0.5 is an overlap of 0.5
    assert value(recall, "AR@1").baselines == {"whole video": pytest.approx(1 / 4)}
    detected = {"a": {0: found["a"]}, "b": {1: found["b"], 0: replace(found["b"], scores=np.full(1, 0.1))}}
    by_whole = {"a": {0: whole_video(videos[0])}, "b": {1: whole_video(videos[1])}}
    precision = precision_scores(videos, detected, by_whole, SETTINGS, generator)
    assert value(precision, "mAP@0.5").value == pytest.approx((1 / 3 + 1) / 2)
    assert value(precision, "mAP@0.75").value == pytest.approx((1 / 3 + 0) / 2)
    assert value(precision, "mAP@0.5").baselines == {"whole video": pytest.approx((0 + 1) / 2)}
