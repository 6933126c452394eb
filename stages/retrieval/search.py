"""Questions to a bundle: a sentence, another video, or a paragraph whose sentences must happen in their order.

Everything here is numpy; the encoder, which only the first and the last need, gives vectors for texts. A paragraph is
answered in two steps: FAISS nominates videos, then every window of each nominee is aligned with the sentences exactly.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.alignment.dtw import dtw_kernel, dtw_reference
from models.alignment.tiles import score_similarity
from stages.errors import ArtifactError, ConfigError
from stages.retrieval.best_moments import hit_of, ranked_moments
from stages.retrieval.bundle import Bundle, IndexedVideo
from stages.retrieval.moments import moment_around
from stages.retrieval.results import Answer, Hit, ParagraphHit, SentenceSpan
from stages.retrieval.vectors import VectorIndex, Vectors
from stages.text.encoding import is_utf8

if TYPE_CHECKING:
    from models.encoders.joint import JointEncoder

MAX_CANDIDATES = 100
_TINY = 1e-12


class Reranker(Protocol):
    """Scores windows for a sentence better than by their vectors, and slower."""

    def scores(self, sentence: str, windows: Sequence[int]) -> NDArray[np.float32]:
        """Score windows, by their rows in the clip index: float32 (len(windows),), greater is better."""


def search_sentence(
    bundle: Bundle,
    encoder: "JointEncoder",
    sentence: str,
    *,
    k: int = 10,
    rerank: int = MAX_CANDIDATES,
) -> Answer:
    """The moments that show what a sentence says.

    Args:
        bundle: The index.
        encoder: The encoder that made it.
        sentence: What to look for.
        k: Moments wanted.
        rerank: How many of the best moments an encoder that reads sentence and window together (TACo) scores again,
            each by the best of its windows; at least `k`. 0: none.

    Returns:
        At most `k` hits, best first.

    Raises:
        ArtifactError: the index is empty.
        ConfigError: the sentence is blank, or `k` is less than 1.
        SchemaMismatch: another encoder made the index.
    """
    _check_question(bundle, k, [sentence])
    vectors = _encode(bundle, encoder, [sentence])
    reranker = _open_reranker(bundle, encoder) if rerank else None
    if reranker is None:
        return _answer(bundle, sentence, _best_moments(bundle, vectors, k))
    found = ranked_moments(bundle, vectors, max(k, rerank))
    if not found:
        return _answer(bundle, sentence, ())
    windows = [np.arange(moment.first, moment.last + 1) + video.rows.start for video, moment in found]
    scores = reranker.scores(sentence, np.concatenate(windows).tolist())
    bests = np.maximum.reduceat(scores, np.cumsum([0, *map(len, windows[:-1])]))
    order = np.argsort(-bests, kind="stable")[:k].tolist()
    hits = tuple(hit_of(bundle, found[n][0], replace(found[n][1], score=float(bests[n]))) for n in order)
    return _answer(bundle, sentence, hits)


def search_like(bundle: Bundle, name: str, *, k: int = 10, by: Literal["mean", "windows"] = "windows") -> Answer:
    """The videos that are most like a video, each with its most similar moment; needs no encoder.

    Args:
        bundle: The index.
        name: The video: source id, relative path, file name, stem or id.
        k: Videos wanted.
        by: What is asked. 'windows': each window of the video, and a video's score is the mean over them of their
            best window there, so that the same steps in another order are alike. 'mean': the mean of the windows, and
            the score is that of the best window there. FAISS nominates the videos that are scored.

    Returns:
        At most `k` hits, one a video, best first; never the video itself.

    Raises:
        ArtifactError: the index is empty, or the video has no window.
        ConfigError: no video, or more than one, has this name; or `k` is less than 1.
    """
    _check_question(bundle, k, [name])
    video = bundle.find_video(name)
    if not video.rows:
        raise ArtifactError(
            f"{video.path!r} ({video.video_id}) has no window in the index {bundle.folder}, so nothing can be like it: "
            "it is shorter than a clip, or its features failed (`fabula status`)"
        )
    queries = bundle.window_vectors(video)
    if by == "mean":
        queries = queries.mean(axis=0, keepdims=True)
        queries = _unit(queries) if bundle.record.encoder.normalised else queries
    return _answer(bundle, name, _best_moments(bundle, queries, k, without=video.rows, one_a_video=True))


def search_paragraph(
    bundle: Bundle,
    encoder: "JointEncoder",
    sentences: Sequence[str],
    *,
    k: int = 10,
    max_candidates: int = MAX_CANDIDATES,
) -> Answer:
    """The videos in which the sentences happen in their order, and where each of them happens.

    The cost of a window for a sentence is 1 - cosine, the score minus the mean cost on the best DTW path over all
    windows (design, section 2). The path gives every window to some sentence, background too; so a sentence's span is
    the moment around the best of its windows, within them. It counts as found if that window is at least halfway from
    the sentence's background (its median similarity over all candidates' windows) to its best similarity to any.

    Args:
        bundle: The index.
        encoder: The encoder that made it.
        sentences: In the order in which they should happen.
        k: Videos wanted.
        max_candidates: Videos nominated, about (see `nominate`), which all are aligned; if there are no more, all
            videos are, and the answer is exact.

    Returns:
        At most `k` hits, best first.

    Raises:
        ArtifactError: the index is empty.
        ConfigError: there is no sentence, one is blank, or `k` is less than 1.
        SchemaMismatch: another encoder made the index.
    """
    _check_question(bundle, k, sentences)
    vectors = _encode(bundle, encoder, sentences)
    candidates = nominate(bundle, vectors, max(k, max_candidates), least=k)
    unit = _unit(vectors)
    similarities = [unit @ _unit(bundle.window_vectors(video)).T for video in candidates]
    hits = _align(bundle, sentences, candidates, similarities, k)
    return _answer(bundle, "\n".join(sentences), hits)


def _open_reranker(bundle: Bundle, encoder: "JointEncoder") -> Reranker | None:
    """What scores windows again, if the bundle holds what it needs; only then is torch imported."""
    if bundle.tokens is None:
        return None
    from stages.retrieval.fusion import open_reranker

    return open_reranker(encoder, bundle.tokens)


def _answer(bundle: Bundle, query: str, hits: tuple[Hit, ...] | tuple[ParagraphHit, ...]) -> Answer:
    encoder = bundle.record.encoder
    return Answer(
        encoder=encoder.description,
        random_weights=encoder.random_weights,
        features=encoder.features,
        query=query,
        hits=hits,
    )


def _check_question(bundle: Bundle, k: int, texts: Sequence[str]) -> None:
    if k < 1:
        raise ConfigError(f"the number of hits must be at least 1, got {k}")
    if not texts or not all(text.strip() for text in texts):
        raise ConfigError("the query holds no words: give a sentence, the sentences of a paragraph, or a video's name")
    if broken := [text for text in texts if not is_utf8(text)]:
        raise ConfigError(f"the query {broken[0]!a} is no UTF-8: type it again, or set the terminal's encoding")
    bundle.require_windows()


def _encode(bundle: Bundle, encoder: "JointEncoder", texts: Sequence[str]) -> Vectors:
    """Text vectors float32 (len(texts), E) from the encoder that made the index."""
    bundle.require_encoder(encoder)
    vectors: Vectors = encoder.encode_texts(list(texts)).detach().cpu().numpy().astype(np.float32)
    return vectors


def _unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, _TINY)
    return scaled


def _best_moments(
    bundle: Bundle, queries: Vectors, k: int, *, without: range = range(0), one_a_video: bool = False
) -> tuple[Hit, ...]:
    """The k best moments for any of the queries."""
    found = ranked_moments(bundle, queries, k, without=without, one_a_video=one_a_video)
    return tuple(hit_of(bundle, video, moment) for video, moment in found)


def nominate(
    bundle: Bundle, vectors: Vectors, max_candidates: int = MAX_CANDIDATES, *, least: int = 1
) -> list[IndexedVideo]:
    """Videos worth an exact alignment, in manifest order: all if they are few enough.

    Else those with a paragraph among the best for the sentences' mean, and as many again with a window near a sentence.

    Args:
        bundle: The index.
        vectors: float32 (S, E) of the sentences.
        max_candidates: Videos wanted, about.
        least: Videos for which an IVF index visits further lists than it usually does.
    """
    with_windows = [video for video in bundle.videos if video.rows]
    if len(with_windows) <= max_candidates:
        return with_windows
    paragraph_rows = bundle.paragraphs.search(vectors.mean(axis=0, keepdims=True), max_candidates)[1]
    told = {bundle.paragraph_videos[row] for row in paragraph_rows[0]}
    others = {place for place, video in enumerate(bundle.videos) if video.video_id not in told}
    near = nearest_owners(
        bundle.clips, bundle.owners, vectors, among=others, wanted=max_candidates, least=least - len(told)
    )
    nominated = told | {bundle.videos[owner].video_id for owner in near}
    return [video for video in with_windows if video.video_id in nominated]


def nearest_owners(
    index: VectorIndex, owners: NDArray[np.int64], vectors: Vectors, *, among: Set[int], wanted: int, least: int = 1
) -> Set[int]:
    """Owners of the windows that are nearest to any sentence.

    Windows are retrieved until there are enough owners, since neighbours in time are alike.

    Args:
        index: Of N windows.
        owners: (N,) int64, whose each window is.
        vectors: float32 (S, E) of the sentences.
        among: Owners that count.
        wanted: How many, about; fewer if the lists that the index visits hold no more.
        least: How many, if there are so many at all: for them further lists are visited.
    """
    num_windows = wanted
    while True:
        rows = index.search(vectors, num_windows)[1]
        found = among & set(owners[rows[rows >= 0]].tolist())
        if len(found) >= wanted:
            return found
        if num_windows < index.num_rows:
            num_windows *= 4
        elif len(found) < least and (wider := index.wider()) is not None:
            index = wider
        else:
            return found


def _align(
    bundle: Bundle, sentences: Sequence[str], videos: Sequence[IndexedVideo], similarities: Sequence[Vectors], k: int
) -> tuple[ParagraphHit, ...]:
    """The k videos of best alignment, equal ones in manifest order; similarities: float32 (S, N) a video.

    Every video is scored by the kernel; a path is traced for those alone that are answered.
    """
    everywhere = np.concatenate(similarities, axis=1)
    thresholds = (np.median(everywhere, axis=1) + everywhere.max(axis=1)) / 2
    lengths = [cosines.shape[1] for cosines in similarities]
    scores = score_similarity(dtw_kernel, everywhere.astype(np.float64), [len(sentences)], lengths)[0][0]
    hits = []
    for best in np.argsort(-scores, kind="stable")[:k].tolist():
        video, cosines = videos[best], similarities[best]
        path = np.asarray(dtw_reference(1.0 - cosines.astype(np.float64)).path)
        placed = _place(sentences, path, cosines, bundle.window_spans[video.rows.start : video.rows.stop], thresholds)
        hits.append(ParagraphHit(video_id=video.video_id, path=video.path, score=float(scores[best]), sentences=placed))
    return tuple(hits)


def _place(
    sentences: Sequence[str],
    path: NDArray[np.int64],
    cosines: Vectors,
    spans: NDArray[np.float64],
    thresholds: NDArray[np.floating],
) -> tuple[SentenceSpan, ...]:
    """The span of each sentence: the moment around the best of the windows that the path, (L, 2), gives it."""
    placed = []
    for number, sentence in enumerate(sentences):
        given = path[path[:, 0] == number, 1]
        best = int(given[cosines[number, given].argmax()])
        within = range(int(given[0]), int(given[-1]) + 1)
        moment = moment_around(cosines[number], spans, best, within=within)
        placed.append(
            SentenceSpan(
                text=sentence,
                start_s=moment.start_s,
                end_s=moment.end_s,
                score=moment.score,
                found=moment.score >= float(thresholds[number]),
            )
        )
    return tuple(placed)
