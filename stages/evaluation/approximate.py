"""What an approximate index would have answered: the effect of the index on a number is measured with it.

An item that lies in a list which is not visited is not found; it scores minus infinity, and so shares the places behind
all that are found. Letters: Q queries, G items of the gallery, E joint width, S sentences.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.sealed import Artifact
from stages.evaluation.records import F32
from stages.evaluation.scoring import ScoreRows
from stages.retrieval.bundle import Bundle, open_bundle
from stages.retrieval.ivf import IvfSettings
from stages.retrieval.ivf_build import build_ivf
from stages.retrieval.search import MAX_CANDIDATES, nearest_owners, nominate
from stages.retrieval.vectors import VectorIndex

_BLOCK_CELLS = 4_000_000
"""Rows that searches answer with at once: a run's index may hold many times the rows of a gallery."""


class ApproximateIndex(Protocol):
    """An index that does not look at everything."""

    def products(self, queries: F32, gallery_ids: Sequence[str], gallery: F32) -> tuple[ScoreRows, str] | None:
        """Score a gallery by inner product as the index finds it.

        Args:
            queries: (Q, E).
            gallery_ids: G ids.
            gallery: (G, E).

        Returns:
            The scores, and a name with the numbers of lists and probes; None if the index does not hold these items.
        """

    def offers(
        self, texts: Sequence[F32], video_ids: Sequence[str], videos: Sequence[F32]
    ) -> tuple[NDArray[np.bool_], str]:
        """Which videos are offered to the exact alignment with a text; all if they are few.

        Args:
            texts: P arrays (S, E).
            video_ids: V ids.
            videos: V arrays (N, E), their windows.

        Returns:
            (P, V) bool, and a name with the numbers of lists and probes.
        """


class IndexOfGallery:
    """An IVF index built over the gallery itself as the run's own is, by the same rules for lists and probes."""

    def __init__(self, settings: IvfSettings) -> None:
        self._settings = settings

    def products(self, queries: F32, gallery_ids: Sequence[str], gallery: F32) -> tuple[ScoreRows, str] | None:
        """See `ApproximateIndex`."""
        index, name = self._build(gallery_ids, gallery)
        return _found(index, queries, np.arange(len(gallery)), len(gallery)), name

    def offers(
        self, texts: Sequence[F32], video_ids: Sequence[str], videos: Sequence[F32]
    ) -> tuple[NDArray[np.bool_], str]:
        """See `ApproximateIndex`: by their windows alone, as no paragraphs of the gallery are indexed."""
        owners = np.repeat(np.arange(len(videos)), [len(windows) for windows in videos])
        window_ids = [f"{video_ids[owner]}/{row}" for row, owner in enumerate(owners.tolist())]
        index, name = self._build(window_ids, np.concatenate(list(videos)))
        offered = np.full((len(texts), len(videos)), len(videos) <= MAX_CANDIDATES)
        if len(videos) > MAX_CANDIDATES:
            everyone = frozenset(range(len(videos)))
            for row, sentences in zip(offered, texts, strict=True):
                row[list(nearest_owners(index, owners, sentences, among=everyone, wanted=MAX_CANDIDATES))] = True
        return offered, name

    def _build(self, ids: Sequence[str], vectors: F32) -> tuple[VectorIndex, str]:
        index, facts = build_ivf(vectors, ids, _for_gallery(self._settings, len(vectors)))
        return index, _name(facts.nprobe, facts.nlist)


class IndexOfRun:
    """The run's own bundle, whose gallery is a part of what it holds."""

    def __init__(self, artifact: Artifact) -> None:
        self._bundle: Bundle = open_bundle(artifact.directory.path)
        self._row_of = {window_id: row for row, window_id in enumerate(self._bundle.window_ids)}
        ivf = self._bundle.record.ivf or {}
        self._name = _name(ivf.get("nprobe"), ivf.get("nlist"))

    def products(self, queries: F32, gallery_ids: Sequence[str], gallery: F32) -> tuple[ScoreRows, str] | None:
        """See `ApproximateIndex`; the bundle holds windows, so it has no answer for a gallery of sentences."""
        if not self._row_of.keys() >= set(gallery_ids):
            return None
        columns = np.full(self._bundle.clips.num_rows, -1)
        columns[[self._row_of[name] for name in gallery_ids]] = np.arange(len(gallery_ids))
        return _found(self._bundle.clips, queries, columns, len(gallery_ids)), self._name

    def offers(
        self, texts: Sequence[F32], video_ids: Sequence[str], videos: Sequence[F32]
    ) -> tuple[NDArray[np.bool_], str]:
        """See `ApproximateIndex`: as a query does it."""
        named = [{video.video_id for video in nominate(self._bundle, sentences)} for sentences in texts]
        return np.array([[video_id in ids for video_id in video_ids] for ids in named]), self._name


def _name(nprobe: object, nlist: object) -> str:
    return f"index, {nprobe} of {nlist} lists"


def _for_gallery(settings: IvfSettings, num_items: int) -> IvfSettings:
    """The run's rules for so few items; what a given number of probes misses is measured here, not refused."""
    least = 0.0 if settings.nprobe else settings.target_recall
    return replace(settings, nlist=min(settings.nlist, num_items), target_recall=least)


def _found(index: VectorIndex, queries: F32, column_of: NDArray[np.int64], num_columns: int) -> ScoreRows:
    """Scores of what a search meets; `column_of` says where a row of the index stands in the gallery, -1 nowhere."""
    block = max(1, _BLOCK_CELLS // max(1, index.num_rows))

    def score_rows(rows: slice) -> NDArray[np.float32]:
        asked = queries[rows]
        scores = np.full((len(asked), num_columns), -np.inf, np.float32)
        for start in range(0, len(asked), block):
            found, met = index.search(asked[start : start + block], index.num_rows)
            columns = np.where(met >= 0, column_of[met], -1)
            query, place = np.nonzero(columns >= 0)
            scores[start + query, columns[query, place]] = found[query, place]
        return scores

    return score_rows
