"""Whole paragraphs and whole videos as one vector each: which video does a paragraph tell, and the other way round.

Source: papers.md 7.2 (ActivityNet Captions as TACo, arXiv:2108.09980, measures it: a paragraph is all captions of a
video joined by spaces, R@1, R@5, R@50, median rank). The papers leave open how an encoder of short windows sees a long
video: here it is the mean of its windows' vectors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from stages.datasets.records import Annotations, paragraphs
from stages.evaluation.encoding import DatasetEncoder
from stages.evaluation.frame_rows import unit_length
from stages.evaluation.material import Material
from stages.evaluation.protocol_configs import WholeParagraphConfig
from stages.evaluation.records import F32, ProtocolResult
from stages.evaluation.retrieval import Definition, Items, similarity_words, vector_retrieval, with_published_ties
from stages.evaluation.scoring import ProtocolSettings

_TITLES = {
    "whole_paragraph_to_video": "Whole paragraph → whole video",
    "video_to_whole_paragraph": "Whole video → whole paragraph",
}
_PARAGRAPH = {"joined": "its sentences joined by spaces", "mean": "the mean of its sentences' vectors"}


def whole_paragraph_retrieval(
    material: Material, config: WholeParagraphConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure both directions.

    Args:
        material: a data set with captions.
        config: what a paragraph and a video are.
        settings: bootstrap and index; the cut-offs are those of `config`.

    Returns:
        `whole_paragraph_to_video` and `video_to_whole_paragraph`.
    """
    encoder, measured = material.open_encoder, material.measured
    texts = paragraphs(measured.captions)
    missing = {"videos_without_captions": len(measured.videos) - len(texts)}
    normalised = encoder.facts("").normalised
    words = [_definition(name, config, normalised=normalised) for name in _TITLES]
    if len(texts) < 2:
        why = f"{len(texts)} videos have captions; retrieval needs at least 2"
        return [definition.result(not_evaluated=why, missing=missing) for definition in words]
    ids = tuple(texts)
    told = Items(ids=ids, vectors=_paragraph_vectors(encoder, measured, texts, config), texts=texts)
    windows = (
        encoder.windows(source_id, window_s=config.window_s, stride_s=config.stride_s).vectors for source_id in ids
    )
    shown = Items(ids=ids, vectors=mean_vectors(windows, normalised=normalised))
    own, settings = [np.array([row]) for row in range(len(ids))], replace(settings, ks=config.ks)
    results = [
        vector_retrieval(definition, queries, gallery, own, settings, missing=missing)
        for definition, queries, gallery in zip(words, (told, shown), (shown, told), strict=True)
    ]
    return [with_published_ties(result) for result in results]


def _paragraph_vectors(
    encoder: DatasetEncoder, measured: Annotations, texts: Mapping[str, str], config: WholeParagraphConfig
) -> F32:
    if config.paragraph == "joined":
        return encoder.texts(list(texts.values()))
    sentences = encoder.texts([caption.text for caption in measured.captions])
    owners = np.array([caption.source_id for caption in measured.captions])
    parts = (sentences[owners == source_id] for source_id in texts)
    return mean_vectors(parts, normalised=encoder.facts("").normalised)


def mean_vectors(parts: Iterable[F32], *, normalised: bool) -> F32:
    """The mean of the vectors of each part, (n, E) each, at unit length if the encoder's own are: (P, E)."""
    means = np.stack([vectors.mean(axis=0) for vectors in parts])
    return unit_length(means) if normalised else means


def _definition(name: str, config: WholeParagraphConfig, *, normalised: bool) -> Definition:
    query, gallery = ("paragraph", "video") if name == "whole_paragraph_to_video" else ("video", "paragraph")
    return Definition(
        name=name,
        title=_TITLES[name],
        definition=f"query = a whole {query}; gallery = every {gallery} of the split; a paragraph is "
        f"{_PARAGRAPH[config.paragraph]}, a video the mean of its windows of {config.window_s:g} s",
        similarity=similarity_words(normalised=normalised),
    )
