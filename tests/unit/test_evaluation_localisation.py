"""Action localisation on videos whose actions are known, through both fits; and its scores by hand."""

from dataclasses import replace

import numpy as np
import pytest

from stages.evaluation.bootstrap import BootstrapSettings
from stages.evaluation.frame_protocol_configs import BmnSizes, ClassifierFit, LocalisationConfig, ProposalFit
from stages.evaluation.localisation import AnnotatedVideo, Localised, annotated_videos, classified, whole_video
from stages.evaluation.localisation_scores import precision_of, recall_of
from stages.evaluation.proposals import Proposals
from stages.evaluation.protocols.action_localisation import action_localisation
from stages.evaluation.records import ProtocolResult, Score
from stages.evaluation.scoring import ProtocolSettings
from tests.frame_samples import action_set, material, rows_of

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
    assert (precision.unit, precision.num_units) == ("label", 3)


def test_the_page_shows_how_both_fits_went(results: list[ProtocolResult]) -> None:
    titles = {section.title: section.tables[0] for section in results[0].sections}
    assert list(titles) == ["The classifier's fit", "The proposal network's fit"]
    classifier, network = titles.values()
    assert classifier.columns == ("update", "learning rate", "loss", "accuracy")
    assert float(classifier.rows[-1][2]) < 0.5 * float(classifier.rows[0][2])
    assert network.columns[3:] == ("boundaries", "confidence", "overlap")
    assert float(network.rows[-1][2]) < float(network.rows[0][2])
    assert [row[1] for row in network.rows][0::9] == ["0.005", "0.0005"]  # a tenth behind the twentieth epoch


def video(source_id: str, *actions: tuple[float, float], label: int = 0, num_rows: int = 10) -> AnnotatedVideo:
    """One row a second, all intact."""
    starts = np.arange(float(num_rows))
    return AnnotatedVideo(
        source_id=source_id,
        intact=np.arange(num_rows),
        spans=np.stack([starts, starts + 1], axis=1),
        duration_s=float(num_rows),
        actions=np.array(actions),
        labels=np.full(len(actions), label),
    )


def test_rows_of_an_action_are_those_whose_middle_lies_in_it() -> None:
    five = video("a", (0, 1), num_rows=5)
    assert five.rows_inside(np.array([0.4, 3.5])).tolist() == [0, 1, 2]
    assert five.rows_inside(np.array([2.6, 2.9])).tolist() == [2]  # none: the nearest
    assert five.rows_inside(np.array([90.0, 91.0])).tolist() == [4]


def test_actions_beyond_the_video_are_no_targets() -> None:
    assert video("a", (2, 5), (8, 14), (11, 12)).shares.tolist() == [[0.2, 0.5], [0.8, 1.0]]


def test_damaged_rows_are_read_by_nobody() -> None:
    annotations, rows = action_set(train=2, test=2)
    spoilt = {}
    for name, found in rows.items():
        features, damaged = found.features.copy(), tuple(range(0, len(found.features), 7))
        features[list(damaged)] = np.nan
        spoilt[name] = rows_of(features, damaged)
    short = CONFIG.model_copy(
        update={
            "classifier": ClassifierFit(epochs=2, drops=()),
            "proposals": ProposalFit(epochs=1, batch_size=3, drops=()),
        }
    )
    for result in action_localisation(material(annotations, spoilt, split="val"), short, SETTINGS):
        assert all(np.isfinite([score.value, score.low, score.high]).all() for score in result.scores)


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
    proposals = Proposals(spans=np.array([[0.0, 2.0], [2.0, 4.0]]), scores=np.array([0.9, 0.5]))
    found = classified(proposals, video("a", (0, 2), num_rows=4), shown, 2)
    assert {label: part.spans.tolist() for label, part in found.items()} == {
        0: [[0.0, 2.0]], 1: [[0.0, 2.0], [2.0, 4.0]], 2: [[2.0, 4.0]],
    }  # fmt: skip
    assert found[0].scores == pytest.approx([0.9 * 0.7])
    assert found[1].scores == pytest.approx([0.9 * 0.2, 0.5 * 0.3])


def localised(span: tuple[float, float], source: AnnotatedVideo, *labels: int) -> Localised:
    """One proposal of some classes, the first one surest."""
    proposals = Proposals(spans=np.array([span], dtype=np.float64), scores=np.ones(1))
    by_class = {label: replace(proposals, scores=np.full(1, 1 / (1 + at))) for at, label in enumerate(labels)}
    return Localised(proposals=proposals, by_class=by_class, whole_by_class={labels[0]: whole_video(source)})


def test_recall_weighs_actions_and_precision_classes_alike() -> None:
    videos = [video("a", (0, 4), (6, 8), (9, 10)), video("b", (0, 10), label=1)]
    found = {"a": localised((0, 4), videos[0], 0), "b": localised((0, 5), videos[1], 1, 0)}
    recall = {measured.outcome.metric: measured for measured in recall_of(videos, found, 10)}
    assert recall["AR@1"].score(SETTINGS, np.random.default_rng(0)).value == pytest.approx((1 + 0 + 0 + 0.1) / 4)
    assert recall["AR@1"].baseline == pytest.approx(1 / 4)
    precision = {measured.outcome.metric: measured for measured in precision_of(videos, found)}
    assert precision["mAP@0.5"].outcome.values.tolist() == pytest.approx([1 / 3, 1])  # 0.5 is an overlap of 0.5
    assert precision["mAP@0.75"].outcome.values.tolist() == pytest.approx([1 / 3, 0])
    assert precision["mAP@0.5"].baseline == pytest.approx((0 + 1) / 2)
