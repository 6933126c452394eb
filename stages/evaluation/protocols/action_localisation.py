"""Temporal action localisation: where in a video are actions, and which?

A classifier is fitted to the frozen rows inside of the train split's actions; its class scores, on 100 equal steps of
each video, are what a boundary-matching network is fitted to; its proposals are measured alone (recall), and with the
classes that the classifier gives their rows (precision).

Source: VCLR (arXiv:2108.02722), papers.md 4.5; BMN (arXiv:1907.09702); measures of the ActivityNet challenge. We depart
from VCLR in that the classifier reads frozen rows, where its segment network was fine-tuned: extract features with the
weights that `fine_tuning` made to have the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.datasets.splits import TRAIN
from stages.evaluation.fitting.fit import fit_section
from stages.evaluation.frame_protocol_configs import LocalisationConfig
from stages.evaluation.localisation import (
    annotated_videos,
    class_probabilities,
    fit_classifier,
    fit_network,
    localise,
)
from stages.evaluation.localisation_scores import Measured, precision_of, recall_of
from stages.evaluation.material import Material
from stages.evaluation.proposals import MOST_PROPOSALS
from stages.evaluation.records import ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings
from stages.training.loop import fixed_arithmetic

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
    source, work = material.features, material.workspace
    train = annotated_videos(material.usable.of_split(TRAIN), source)
    test = annotated_videos(material.measured, source)
    missing = {"videos_without_actions": len(material.measured.videos) - len(test)}
    if not train or not test:
        why = f"{len(train)} train and {len(test)} measured videos have an annotated action; expected some of both"
        return [words.result(not_evaluated=why, missing=missing) for words in (_RECALL, _PRECISION)]
    num_classes = 1 + max(step.index for step in material.dataset.steps)
    head, of_head = fit_classifier(train, source, num_classes, config, work.part("classifier", 0.0, 0.3))
    network, of_network = fit_network(train, source, head, config, work.part("proposals", 0.3, 0.9))
    with fixed_arithmetic(config.proposals.threads):
        found = {
            video.source_id: localise(video, class_probabilities(head, video, source), network, config)
            for video in test
        }
    recall = _result(_RECALL, recall_of(test, found, config.num_steps), "video", settings, missing)
    fits = (fit_section("The classifier's fit", of_head), fit_section("The proposal network's fit", of_network))
    return [
        replace(recall, sections=fits),
        _result(_PRECISION, precision_of(test, found), "label", settings, missing),
    ]


def _result(
    definition: Definition,
    measured: Sequence[Measured],
    unit: str,
    settings: ProtocolSettings,
    missing: Mapping[str, int],
) -> ProtocolResult:
    generator = settings.generator(definition.name)
    return definition.result(
        scores=tuple(metric.score(settings, generator) for metric in measured),
        outcomes=tuple(metric.outcome for metric in measured),
        unit=unit,
        num_units=len(measured[0].outcome.unit_ids),
        missing=missing,
    )
