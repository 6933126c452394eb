"""Annotated clips and the sentences about them: which clip does a sentence mean, and which sentence a clip.

A clip is the feature rows over its annotation (a caption without times is about the whole video), of which the first
32 are kept. Several sentences about one clip (MSR-VTT's twenty) share one item of the gallery. A clip without an
intact row is left out, with its sentences, and counted.

Source: papers.md 7.2 (VideoCLIP, EMNLP 2021, section 5.2; text queries, video gallery). We depart from it in that both
directions are measured, that ties follow our own rule, the published one beside it, and that damaged rows are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.datasets.records import Caption
from stages.evaluation.encoding import ClipSpan
from stages.evaluation.material import Material
from stages.evaluation.protocol_configs import ClipRetrievalConfig
from stages.evaluation.records import I64, ProtocolResult
from stages.evaluation.retrieval import Definition, Items, similarity_words, vector_retrieval, with_published_ties
from stages.evaluation.scoring import ProtocolSettings

_TITLES = {"text_to_clip": "Sentence → annotated clip", "clip_to_text": "Annotated clip → sentence"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPairs:
    """Sentences and the clips that they are about.

    Attributes:
        sentences: S, with their vectors.
        clips: C, with their vectors.
        clip_of: (S,) int64, the clip of each sentence.
        num_damaged: clips that were left out, as none of their rows is intact.
    """

    sentences: Items
    clips: Items
    clip_of: I64
    num_damaged: int


def clip_retrieval(material: Material, config: ClipRetrievalConfig, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure both directions.

    Args:
        material: a data set with captions.
        config: how long a clip may be.
        settings: bootstrap; the cut-offs are those of `config`.

    Returns:
        `text_to_clip` and `clip_to_text`.
    """
    pairs = collect_pairs(material, max_rows=config.max_rows)
    normalised = material.open_encoder.facts("").normalised
    settings = replace(settings, ks=config.ks)
    missing = {"clips_without_intact_row": pairs.num_damaged}
    by_sentence = [np.array([clip]) for clip in pairs.clip_of]
    by_clip = [np.flatnonzero(pairs.clip_of == clip) for clip in range(len(pairs.clips.ids))]
    if len(pairs.clips.ids) < 2:
        why = f"{len(pairs.clips.ids)} annotated clips can be measured; retrieval needs at least 2"
        return [_definition(name, config, normalised).result(not_evaluated=why, missing=missing) for name in _TITLES]
    results = [
        vector_retrieval(_definition(name, config, normalised), queries, gallery, relevant, settings, missing=missing)
        for name, queries, gallery, relevant in (
            ("text_to_clip", pairs.sentences, pairs.clips, by_sentence),
            ("clip_to_text", pairs.clips, pairs.sentences, by_clip),
        )
    ]
    return [with_published_ties(result) for result in results]


def collect_pairs(material: Material, *, max_rows: int) -> ClipPairs:
    """Encode the sentences of the measured split and the clips that they are about.

    Args:
        material: a data set with captions.
        max_rows: feature rows of a clip that are kept.
    """
    captions = material.measured.captions
    spans = list(dict.fromkeys(map(_span, captions)))
    vectors, found = material.open_encoder.clips(spans, max_rows=max_rows)
    kept = np.flatnonzero(found)
    clip_ids = _clip_ids(captions)
    place = {spans[clip]: number for number, clip in enumerate(kept.tolist())}
    asked = [caption for caption in captions if _span(caption) in place]
    ids = tuple(f"{caption.source_id}/c{caption.index:04d}" for caption in asked)
    said = [caption.text for caption in asked]
    told = {clip_ids[_span(caption)]: f"{clip_ids[_span(caption)]}: {caption.text}" for caption in reversed(asked)}
    return ClipPairs(
        sentences=Items(ids=ids, vectors=material.open_encoder.texts(said), texts=dict(zip(ids, said, strict=True))),
        clips=Items(ids=tuple(clip_ids[spans[clip]] for clip in kept), vectors=vectors[kept], texts=told),
        clip_of=np.array([place[_span(caption)] for caption in asked], dtype=np.int64),
        num_damaged=len(spans) - len(kept),
    )


def _span(caption: Caption) -> ClipSpan:
    return ClipSpan(source_id=caption.source_id, start_s=caption.start_s, end_s=caption.end_s)


def _clip_ids(captions: Sequence[Caption]) -> dict[ClipSpan, str]:
    """A clip is called after the first sentence about it."""
    ids: dict[ClipSpan, str] = {}
    for caption in captions:
        ids.setdefault(_span(caption), f"{caption.source_id}/clip{caption.index:04d}")
    return ids


def _definition(name: str, config: ClipRetrievalConfig, normalised: bool) -> Definition:
    query, gallery = ("an annotated sentence", "clip") if name == "text_to_clip" else ("an annotated clip", "sentence")
    return Definition(
        name=name,
        title=_TITLES[name],
        definition=f"query = {query}; gallery = every annotated {gallery} of the split; a clip is the first "
        f"{config.max_rows} feature rows of its annotation",
        similarity=similarity_words(normalised=normalised),
    )
