"""Paragraph to video on the run's own narrations: which video shows these things, in this order."""

from collections.abc import Sequence

import numpy as np

from stages.evaluation.records import F32, EvaluatedVideo, EvaluationSet, ProtocolResult
from stages.evaluation.scoring import ProtocolSettings, missing_counts, too_small
from stages.evaluation.sequence_retrieval import SequenceGallery, SequenceQueries, SequenceWords, sequence_retrieval

OWN_WORDS = SequenceWords(
    prefix="paragraph_to_video",
    title="Paragraph → video",
    definition="query = a paragraph's sentences in order; gallery = every video of the split, all of its windows",
)


def paragraphs_of(video: EvaluatedVideo) -> list[tuple[str, F32]]:
    """Split a video's narrations into its paragraphs.

    Args:
        video: A video of the split.

    Returns:
        (paragraph id, vectors (n, E)) in order; empty without narrations.
    """
    found = []
    for index in np.unique(video.paragraph_index).tolist():
        found.append((f"{video.video_id}/p{index:03d}", video.narrations[video.paragraph_index == index]))
    return found


def paragraph_retrieval(
    evaluation: EvaluationSet, settings: ProtocolSettings, words: SequenceWords = OWN_WORDS
) -> list[ProtocolResult]:
    """Measure paragraph -> video by every sequence scorer.

    Args:
        evaluation: The split.
        settings: Cut-offs, bootstrap, scorers and index.
        words: What it is called.

    Returns:
        `paragraph_to_video.` `caption_average`, `dtw`, `otam`, `drop_dtw`, or as `words` call them.
    """
    missing = missing_counts(evaluation)
    if why := too_small(evaluation):
        return words.not_evaluated(why, missing)
    videos = evaluation.videos
    gallery = SequenceGallery(
        ids=tuple(video.video_id for video in videos), windows=tuple(video.windows for video in videos)
    )
    return sequence_retrieval(words, _queries(videos), gallery, settings, missing)


def _queries(videos: Sequence[EvaluatedVideo]) -> SequenceQueries:
    asked = [
        (paragraph_id, vectors, position)
        for position, video in enumerate(videos)
        for paragraph_id, vectors in paragraphs_of(video)
    ]
    said: dict[str, str] = {}
    for video in videos:
        for text, index in zip(video.texts, video.paragraph_index.tolist(), strict=True):
            paragraph_id = f"{video.video_id}/p{index:03d}"
            said[paragraph_id] = f"{said[paragraph_id]} {text}" if paragraph_id in said else text
    ids, sentences, targets = zip(*asked, strict=True)
    return SequenceQueries(ids=ids, sentences=sentences, targets=targets, texts=said)
