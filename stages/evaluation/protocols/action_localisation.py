"""Temporal action localisation: where in a video are actions, and which?

A classifier is fitted to the frozen rows inside of the train split's actions; its class scores, on 100 equal steps of
each video, are what a boundary-matching network is fitted to; its proposals are measured alone (recall), and with the
classes that the classifier gives their rows (precision).

Source: VCLR (arXiv:2108.02722), papers.md 4.5; BMN (arXiv:1907.09702); measures of the ActivityNet challenge. We depart
from VCLR in that the classifier reads frozen rows, where its segment network was fine-tuned: extract features with the
weights that `fine_tuning` made to have the same.
"""

from stages.datasets.splits import TRAIN
from stages.evaluation.fitting.fit import fit_section
from stages.evaluation.frame_protocol_configs import LocalisationConfig
from stages.evaluation.localisation import (
    annotated_videos,
    class_probabilities,
    classified,
    fit_classifier,
    fit_network,
    propose,
)
from stages.evaluation.localisation_scores import labels_of, precision_scores, recall_scores, whole_video
from stages.evaluation.material import Material
from stages.evaluation.proposals import MOST_PROPOSALS
from stages.evaluation.records import ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings

_RECALL = Definition(
    name="action_proposals",
    title="Temporal action proposals",
    definition=f"of each annotated action, is it covered by one of the best 1 to {MOST_PROPOSALS} spans of its video? "
    "Averaged over overlaps (intersection over union) of 0.5, 0.55, ..., 0.95; the area is 0.99 at most",
    similarity="start x end x confidence of a boundary-matching network on class scores, soft-NMS",
)
_PRECISION = Definition(
    name="action_detection",
    title="Temporal action detection",
    definition="of each class, all spans of all videos in the order of their scores: average precision, averaged over "
    "classes; mAP is the mean over overlaps of 0.5, 0.55, ..., 0.95",
    similarity="a proposal's score x the mean class score of the rows in it; each proposal has its best classes",
)


def action_localisation(
    material: Material, config: LocalisationConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Fit both networks and measure the proposals.

    Args:
        material: a data set with segments; its train split is fitted.
        config: networks and how they are fitted.
        settings: bootstrap.

    Returns:
        `action_proposals` and `action_detection`.
    """
    train = annotated_videos(material.usable.of_split(TRAIN), material.features)
    test = annotated_videos(material.measured, material.features)
    missing = {"videos_without_actions": len(material.measured.videos) - len(test)}
    if not train or not test:
        why = f"{len(train)} train and {len(test)} measured videos have an annotated action; expected some of both"
        return [words.result(not_evaluated=why, missing=missing) for words in (_RECALL, _PRECISION)]
    num_classes = 1 + max(step.index for step in material.dataset.steps)
    work = material.workspace
    head, of_head = fit_classifier(train, num_classes, config, work.part("classifier", 0.0, 0.3))
    probabilities = class_probabilities(head, [*train, *test], config.classifier.threads)
    network, of_network = fit_network(train, probabilities, config, work.part("proposals", 0.3, 0.9))
    proposals = propose(network, test, probabilities, config)
    whole = {video.source_id: whole_video(video) for video in test}
    detected, by_whole = (
        {
            video.source_id: classified(
                found[video.source_id], video, probabilities[video.source_id], config.classes_per_proposal
            )
            for video in test
        }
        for found in (proposals, whole)
    )
    fits = (fit_section("The classifier's fit", of_head), fit_section("The proposal network's fit", of_network))
    recall = recall_scores(test, proposals, config.num_steps, settings, settings.generator(_RECALL.name))
    precision = precision_scores(test, detected, by_whole, settings, settings.generator(_PRECISION.name))
    return [
        _RECALL.result(scores=recall, unit="video", num_units=len(test), missing=missing, sections=fits),
        _PRECISION.result(scores=precision, unit="class", num_units=len(labels_of(test)), missing=missing),
    ]
