"""Linear probe: how much of a frozen backbone's rows a linear classifier can read.

A video is the mean of 30 rows spread evenly over it, as they are; a linear support vector machine is fitted to the
train split, one class against the rest.

Source: VCLR (arXiv:2108.02722), papers.md 4.5: liblinear's L2-loss machine in the primal, C = 1. We depart from it in
that damaged rows are left out, that pictures keep their ratio (there they are stretched to 340 x 256 before the crop),
and in a solution that is ten times as precise as liblinear's default.
"""

from dataclasses import replace

import torch

from models.actions.linear_svm import fit_linear_svm, svm_scores
from stages.datasets.splits import TRAIN
from stages.evaluation.classification import (
    ClassScores,
    class_names,
    classification_result,
    labelled_videos,
    why_not_classifiable,
)
from stages.evaluation.frame_protocol_configs import LinearProbeConfig
from stages.evaluation.frame_rows import EvenRows
from stages.evaluation.material import Material
from stages.evaluation.records import F32, I64, ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings
from stages.training.loop import fixed_arithmetic


def linear_probe(material: Material, config: LinearProbeConfig, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure the one classifier.

    Args:
        material: a data set whose videos have classes; its train split is fitted.
        config: the mean and the machine.
        settings: bootstrap.

    Returns:
        `linear_probe`.
    """
    train, test = labelled_videos(material.usable.of_split(TRAIN)), labelled_videos(material.measured)
    missing = {"videos_with_several_classes": train.num_ambiguous + test.num_ambiguous}
    if why := why_not_classifiable(train, test):
        return [_definition(config).result(not_evaluated=why, missing=missing)]
    names, reader = class_names(material.dataset), EvenRows(material.features, config.num_frames)
    train_rows, test_rows = reader.means(train.source_ids), reader.means(test.source_ids)
    scores = probe_scores(train_rows, train.labels, test_rows, num_classes=len(names), config=config)
    found = ClassScores(videos=test, scores=scores, class_names=names, train_labels=train.labels)
    result = classification_result(_definition(config), found, settings, missing=missing)
    return [replace(result, warnings=(*result.warnings, *reader.warnings))]


def probe_scores(train: F32, labels: I64, test: F32, *, num_classes: int, config: LinearProbeConfig) -> F32:
    """Fit a linear machine to some rows and let it judge others.

    Args:
        train: (n, D) float32.
        labels: (n,) int64.
        test: (V, D) float32.
        num_classes: C.
        config: of the machine.

    Returns:
        (V, C) float32 decision values.
    """
    with fixed_arithmetic(config.threads):
        weights = fit_linear_svm(
            torch.from_numpy(train),
            torch.from_numpy(labels),
            num_classes,
            cost=config.cost,
            tolerance=config.tolerance,
        )
        scores: F32 = svm_scores(torch.from_numpy(test), weights).float().numpy()
    return scores


def _definition(config: LinearProbeConfig) -> Definition:
    return Definition(
        name="linear_probe",
        title="Linear probe",
        definition=f"query = a video, the mean of {config.num_frames} rows spread over it; gallery = all classes; "
        "fitted to the train split",
        similarity=f"decision value of a linear SVM, squared hinge, C = {config.cost:g}, one class against the rest",
    )
