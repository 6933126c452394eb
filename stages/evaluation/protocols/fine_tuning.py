"""Fine-tuning: how well does a backbone classify videos when it is trained further on them?

A segment network: one frame from each of equal parts of a video, the mean of their rows, one linear map. Backbone and
head are fitted to the train split's frames by the loop that trains everything; a test video is scored by more frames
and fixed parts of them.

Source: VCLR (arXiv:2108.02722), papers.md 4.5; TSN (arXiv:1608.00859). We depart from them in that the frames are those
of the `frames` artifact (spread over the whole video), and that a picture's part is cut before it is resampled.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from safetensors.torch import save

from models.actions.tsn import ConsensusHead, SegmentNetwork
from models.backbones.towers import FrameTower, ResNetTower
from stages.datasets.splits import TRAIN
from stages.errors import ConfigError
from stages.evaluation.classification import (
    ClassScores,
    LabelledVideos,
    class_names,
    classification_result,
    labelled_videos,
    why_not_classifiable,
)
from stages.evaluation.fine_tuning_config import FRAMES, FineTuningConfig
from stages.evaluation.fitting.fit import fit_section
from stages.evaluation.fitting.frames import FrameItem, fit_network, video_scores
from stages.evaluation.material import Material
from stages.evaluation.records import ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings
from stages.media.backbones import open_resnet
from stages.training.frame_entries import FrameEntry, frame_entries

WEIGHTS = "weights.safetensors"


def fine_tuning(material: Material, config: FineTuningConfig, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Fit and measure.

    Args:
        material: a data set whose videos have classes; its train split is fitted.
        config: backbone, head, how they are fitted and tested.
        settings: bootstrap.

    Returns:
        `fine_tuning`.

    Raises:
        ConfigError: the backbone cannot be loaded.
    """
    labelled = labelled_videos(material.usable.of_split(TRAIN)), labelled_videos(material.measured)
    entries = frame_entries(material.artifacts[FRAMES])
    items = {name: item for videos in labelled for name, item in _items(material, entries, videos).items()}
    train, test = (videos.only(items) for videos in labelled)
    missing = {
        "videos_with_several_classes": train.num_ambiguous + test.num_ambiguous,
        "videos_without_intact_frame": sum(map(len, labelled)) - len(train) - len(test),
    }
    definition = _definition(config)
    if why := why_not_classifiable(train, test):
        return [definition.result(not_evaluated=why, missing=missing)]
    names = class_names(material.dataset)
    network = open_network(config, len(names))
    history = fit_network(network, {name: items[name] for name in train.source_ids}, config, material.workspace)
    if config.keep_weights:
        material.workspace.keep(WEIGHTS, _weights(network))
    scores = video_scores(network, {name: items[name] for name in test.source_ids}, config)
    found = ClassScores(videos=test, scores=scores, class_names=names, train_labels=train.labels)
    result = classification_result(definition, found, settings, missing=missing)
    return [replace(result, sections=(fit_section("The fit", history),))]


def open_network(config: FineTuningConfig, num_classes: int) -> SegmentNetwork:
    """Load the backbone and put a new head on it.

    Raises:
        ConfigError: the backbone cannot be loaded.
    """
    where = "[[evaluate.benchmarks]] protocol:"
    tower: FrameTower
    if config.resnet is not None:
        tower = ResNetTower(open_resnet(config.resnet, where))
    else:
        from models.backbones.clip import ClipImageTower  # transformers takes seconds to import

        try:
            tower = ClipImageTower(config.clip or "")
        except ValueError as error:
            raise ConfigError(f"{where} {error}") from error
    head = ConsensusHead(tower.dim, num_classes, dropout=config.dropout, init_std=config.init_std, seed=config.fit.seed)
    return SegmentNetwork(tower, head)


def _items(material: Material, entries: Mapping[str, FrameEntry], videos: LabelledVideos) -> dict[str, FrameItem]:
    """The videos that have an intact frame."""
    found = {}
    for source_id, label in zip(videos.source_ids, videos.labels.tolist(), strict=True):
        entry = entries[material.video_ids[source_id]]
        intact = np.flatnonzero(~entry.read_damaged())
        if intact.size:
            found[source_id] = FrameItem(entry=entry, intact=intact, label=label)
    return found


def _weights(network: SegmentNetwork) -> bytes:
    """The fitted backbone as safetensors, by the names that it was loaded with."""
    tensors = network.tower.model.state_dict()
    content: bytes = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    return content


def _definition(config: FineTuningConfig) -> Definition:
    return Definition(
        name="fine_tuning",
        title="Fine-tuned classification",
        definition=f"query = a video, {config.test_frames} frames spread over it, {config.test_crops} crops of "
        f"{config.test_side} pixels; gallery = all classes; backbone and head are fitted to {config.num_segments} "
        "frames of each train video at a time",
        similarity="mean over frames and crops of a segment network's logit",
    )
