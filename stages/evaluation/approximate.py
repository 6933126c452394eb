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
from stages.retrieval.search import nominate
from stages.retrieval.vectors import VectorIndex


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

    def nominated(self, sentences: F32) -> tuple[frozenset[str], str] | None:
        """Which videos an index offers to the exact alignment of a paragraph.

        Args:
            sentences: (S, E).

        Returns:
            Video ids and a name; None if the index holds no videos.
        """


class IndexOfGallery:
    """An IVF index built over the gallery itself as the run's own is, by the same rules for lists and probes."""

    def __init__(self, settings: IvfSettings) -> None:
        self._settings = settings

    def products(self, queries: F32, gallery_ids: Sequence[str], gallery: F32) -> tuple[ScoreRows, str] | None:
        """See `ApproximateIndex`."""
        index, facts = build_ivf(gallery, gallery_ids, _for_gallery(self._settings, len(gallery)))
        columns = np.arange(len(gallery))
        return _found(index, queries, columns, len(gallery)), f"index, {facts.nprobe} of {facts.nlist} lists"

    def nominated(self, sentences: F32) -> tuple[frozenset[str], str] | None:
        """It holds no videos."""
        return None


class IndexOfRun:
    """The run's own bundle, whose gallery is a part of what it holds."""

    def __init__(self, artifact: Artifact) -> None:
        self._bundle: Bundle = open_bundle(artifact.directory.path)
        self._row_of = {window_id: row for row, window_id in enumerate(self._bundle.window_ids)}
        ivf = self._bundle.record.ivf or {}
        self._name = f"index, {ivf.get('nprobe')} of {ivf.get('nlist')} lists"

    def products(self, queries: F32, gallery_ids: Sequence[str], gallery: F32) -> tuple[ScoreRows, str] | None:
        """See `ApproximateIndex`; the bundle holds windows, so it has no answer for a gallery of sentences."""
        if not self._row_of.keys() >= set(gallery_ids):
            return None
        columns = np.full(self._bundle.clips.num_rows, -1)
        columns[[self._row_of[name] for name in gallery_ids]] = np.arange(len(gallery_ids))
        return _found(self._bundle.clips, queries, columns, len(gallery_ids)), self._name

    def nominated(self, sentences: F32) -> tuple[frozenset[str], str] | None:
        """See `ApproximateIndex`."""
        return frozenset(video.video_id for video in nominate(self._bundle, sentences)), self._name


def _for_gallery(settings: IvfSettings, num_items: int) -> IvfSettings:
    """The run's rules for so few items; what a given number of probes misses is measured here, not refused."""
    least = 0.0 if settings.nprobe else settings.target_recall
    return replace(settings, nlist=min(settings.nlist, num_items), target_recall=least)


def _found(index: VectorIndex, queries: F32, column_of: NDArray[np.int64], num_columns: int) -> ScoreRows:
    """Scores of what a search meets; `column_of` says where a row of the index stands in the gallery, -1 nowhere."""

    def score_rows(rows: slice) -> NDArray[np.float32]:
        found, met = index.search(queries[rows], index.num_rows)
        scores = np.full((len(found), num_columns), -np.inf, np.float32)
        columns = np.where(met >= 0, column_of[met], -1)
        query, place = np.nonzero(columns >= 0)
        scores[query, columns[query, place]] = found[query, place]
        return scores

    return score_rows
