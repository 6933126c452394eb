"""Video to video: does a video find train videos of its own class?

A video is the mean of 30 rows spread evenly over it; videos are compared by cosine. A hit at k: any of the k nearest
train videos has the class of the one that asks.

Source: VCLR (arXiv:2108.02722), papers.md 4.5. We depart from it in that ties follow our own rule and damaged rows are
left out.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.datasets.splits import TRAIN
from stages.evaluation.classification import labelled_videos
from stages.evaluation.frame_protocol_configs import VideoRetrievalConfig
from stages.evaluation.frame_rows import EvenRows, unit_length
from stages.evaluation.material import Material
from stages.evaluation.records import ProtocolResult
from stages.evaluation.retrieval import Definition, Items, vector_retrieval
from stages.evaluation.scoring import ProtocolSettings


def video_retrieval(
    material: Material, config: VideoRetrievalConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure the one direction.

    Args:
        material: a data set whose videos have classes; its train split is the gallery.
        config: the mean and the cut-offs.
        settings: bootstrap.

    Returns:
        `video_to_video`.
    """
    train, test = labelled_videos(material.usable.of_split(TRAIN)), labelled_videos(material.measured)
    asked = np.flatnonzero(np.isin(test.labels, train.labels))
    missing = {
        "videos_with_several_classes": train.num_ambiguous + test.num_ambiguous,
        "videos_without_class_in_gallery": len(test) - len(asked),
    }
    definition = _definition(config)
    if not len(asked) or len(train) < 2:
        why = f"{len(asked)} videos have one of their class among the {len(train)} of the train split; expected some"
        return [definition.result(not_evaluated=why, missing=missing)]
    relevant = [np.flatnonzero(train.labels == label) for label in test.labels[asked]]
    reader = EvenRows(material.features, config.num_frames)
    queries = _items(reader, [test.source_ids[place] for place in asked])
    gallery = _items(reader, train.source_ids)
    settings = replace(settings, ks=config.ks)
    result = vector_retrieval(definition, queries, gallery, relevant, settings, missing=missing)
    return [replace(result, warnings=(*result.warnings, *reader.warnings))]


def _items(reader: EvenRows, source_ids: Sequence[str]) -> Items:
    return Items(ids=tuple(source_ids), vectors=unit_length(reader.means(source_ids)))


def _definition(config: VideoRetrievalConfig) -> Definition:
    return Definition(
        name="video_to_video",
        title="Video → video of its class",
        definition="query = a video; gallery = every video of the train split, right are those of the query's class; a "
        f"video is the mean of {config.num_frames} rows spread over it",
        similarity="cosine",
    )
