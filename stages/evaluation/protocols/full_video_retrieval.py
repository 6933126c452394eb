"""Paragraphs and whole videos: which video do these sentences tell, with background removed or kept.

Removed: a video is the sequence of its annotated clips, which its captions describe one by one. Kept: the whole video
is cut into consecutive windows, of which many show nothing that is told. Beside our clean scores stand those of the
published scorer, computed on raw dot products with its scaling, padding and sign (`models.alignment.legacy`).

Source: papers.md 7.3 (TempCLR, arXiv:2212.13738, full-video retrieval; window = stride = 16 s where background is
kept). The clean columns depart from it: costs are 1 - cosine, ragged pairs are not padded, the path's length divides.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.alignment.legacy import (
    legacy_caption_average,
    legacy_dtw,
    legacy_dtw_background,
    legacy_otam,
    legacy_otam_background,
    legacy_recall,
)
from stages.artifacts.report_sections import Section, Table
from stages.datasets.records import Caption
from stages.evaluation.alignment_example import AlignmentExample
from stages.evaluation.alignments import choose_examples
from stages.evaluation.encoding import ClipSpan, DatasetEncoder
from stages.evaluation.material import Material
from stages.evaluation.numbers import write_number
from stages.evaluation.protocol_configs import FullVideoConfig
from stages.evaluation.protocols.paragraph_retrieval import paragraph_retrieval
from stages.evaluation.records import F32, EvaluatedVideo, EvaluationSet, ProtocolResult, Score
from stages.evaluation.scoring import ProtocolSettings
from stages.evaluation.sequence_retrieval import LABELS, SequenceWords

_PREFIX = "full_video"
_DEFINITIONS = {
    "removed": "query = all captions of a video in order; gallery = every video of the split as the sequence of its "
    "annotated clips (background removed)",
    "kept": "query = all captions of a video in order; gallery = every video of the split cut into consecutive windows "
    "from end to end (background kept)",
}


def full_video_retrieval(
    material: Material, config: FullVideoConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure full-video retrieval by every sequence score, clean and as published.

    Args:
        material: a data set with captions that have times.
        config: whether background is kept, and how a video is cut.
        settings: bootstrap, scorers and index; the cut-offs are those of `config`.

    Returns:
        `full_video.` `caption_average`, `dtw`, `otam`, `drop_dtw`.
    """
    evaluation, num_dropped = collect_videos(material, config)
    words = SequenceWords(
        prefix=_PREFIX,
        title=f"Paragraph → full video, background {config.background}",
        definition=_DEFINITIONS[config.background],
    )
    results = paragraph_retrieval(evaluation, replace(settings, ks=config.ks), words)
    results = [replace(result, missing={"captions_without_rows": num_dropped}) for result in results]
    if not results[0].scores:
        return results
    results = _with_legacy(results, evaluation.videos, config)
    first, *others = results
    return [replace(first, sections=(_side_by_side(results, config),)), *_with_examples(others, evaluation, material)]


def collect_videos(material: Material, config: FullVideoConfig) -> tuple[EvaluationSet, int]:
    """Encode the measured videos and their captions.

    Args:
        material: a data set with captions that have times.
        config: how a video is cut.

    Returns:
        The videos that have a caption with an intact clip, named by their source ids, each told in one paragraph; and
        the number of captions that have none.
    """
    encoder, captions = material.open_encoder, material.measured.captions
    timed = [caption for caption in captions if caption.start_s is not None]
    clips, found = encoder.clips([_span(caption) for caption in timed], max_rows=config.max_rows)
    kept = np.flatnonzero(found).tolist()
    texts = encoder.texts([timed[row].text for row in kept])
    rows_of: dict[str, list[int]] = {}
    for row, place in enumerate(kept):
        rows_of.setdefault(timed[place].source_id, []).append(row)
    asked = [timed[place] for place in kept]
    videos = [
        _video(encoder, config, [asked[row] for row in rows], texts[rows], clips[[kept[row] for row in rows]])
        for rows in rows_of.values()
    ]
    evaluation = EvaluationSet(split=material.split, split_source="", encoder=encoder.facts(""), videos=tuple(videos))
    return evaluation, len(captions) - len(kept)


def _video(
    encoder: DatasetEncoder, config: FullVideoConfig, captions: Sequence[Caption], texts: F32, clips: F32
) -> EvaluatedVideo:
    source_id = captions[0].source_id
    told = np.array([[caption.start_s, caption.end_s] for caption in captions], dtype=np.float64)
    spans, windows = told, clips
    if config.background == "kept":
        whole = encoder.windows(source_id, window_s=config.window_s, stride_s=config.stride_s)
        spans, windows = whole.spans, whole.vectors
    return EvaluatedVideo(
        video_id=source_id,
        window_ids=tuple(f"{source_id}/w{number:05d}" for number in range(len(windows))),
        window_spans=spans,
        windows=windows,
        narration_ids=tuple(f"{source_id}/c{caption.index:04d}" for caption in captions),
        narration_spans=told,
        narrations=texts,
        texts=tuple(caption.text for caption in captions),
        paragraph_index=np.zeros(len(captions), dtype=np.int64),
    )


def _span(caption: Caption) -> ClipSpan:
    return ClipSpan(source_id=caption.source_id, start_s=caption.start_s, end_s=caption.end_s)


def _with_legacy(
    results: Sequence[ProtocolResult], videos: Sequence[EvaluatedVideo], config: FullVideoConfig
) -> list[ProtocolResult]:
    """Put the published scorer's recalls beside ours; Drop-DTW was not published."""
    published = legacy_scores(videos, background=config.background)
    recalls = {
        f"{_PREFIX}.{key}": {f"R@{k}": value for k, value in legacy_recall(scores, ks=config.ks).items()}
        for key, scores in published.items()
    }

    def beside(result: ProtocolResult, score: Score) -> Score:
        return replace(score, legacy=recalls.get(result.name, {}).get(score.name))

    return [replace(result, scores=tuple(beside(result, score) for score in result.scores)) for result in results]


def legacy_scores(videos: Sequence[EvaluatedVideo], *, background: str) -> dict[str, NDArray[np.float32]]:
    """Score all pairs as published, on raw dot products.

    Args:
        videos: V, each with its captions.
        background: `removed` or `kept`.

    Returns:
        (V, V) float32 by `caption_average`, `dtw` and `otam`; rows = texts.
    """
    texts = [len(video.narrations) for video in videos]
    shown = [len(video.windows) for video in videos]
    sentences, windows = (np.concatenate([getattr(v, kind) for v in videos]) for kind in ("narrations", "windows"))
    similarity = (sentences @ windows.T).astype(np.float32)
    average = legacy_caption_average(similarity, texts, shown)
    if background == "removed":
        return {
            "caption_average": average,
            "dtw": legacy_dtw(similarity, texts),
            "otam": legacy_otam(similarity, texts),
        }
    return {
        "caption_average": average,
        "dtw": legacy_dtw_background(similarity, texts, shown),
        "otam": legacy_otam_background(similarity, texts, shown),
    }


def _with_examples(
    results: Sequence[ProtocolResult], evaluation: EvaluationSet, material: Material
) -> list[ProtocolResult]:
    """Alignments stand with DTW; their pictures are those of the manifest's video."""

    def pictured(example: AlignmentExample) -> AlignmentExample:
        return replace(example, video_id=material.video_ids[example.video_id])

    return [
        replace(result, alignments=tuple(pictured(example) for example in choose_examples(evaluation, result.ranked)))
        if result.name == f"{_PREFIX}.dtw"
        else result
        for result in results
    ]


def _side_by_side(results: Sequence[ProtocolResult], config: FullVideoConfig) -> Section:
    """Clean and published numbers of every score in one table."""

    def cells(result: ProtocolResult) -> list[str]:
        recalls = [score for score in result.scores if score.name.startswith("R@")]
        pairs = [(score.name, score.value, score.legacy) for score in recalls]
        return [
            cell
            for name, clean, legacy in pairs
            for cell in (write_number(name, clean), "–" if legacy is None else write_number(name, legacy))
        ]

    columns = ["score", *(f"R@{k} {kind}" for k in config.ks for kind in ("clean", "as published"))]
    rows = tuple((LABELS[result.name.rpartition(".")[2]], *cells(result)) for result in results)
    return Section(
        title="Clean and as published",
        note="The published scorer works on raw dot products: its DTW and OTAM depend on their scale and offset, drop "
        "the last sentence where a video is the longest, and subtract where OTAM should add.",
        tables=(Table(columns=tuple(columns), rows=rows),),
    )
