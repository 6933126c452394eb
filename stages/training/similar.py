"""Batches of similar videos: an epoch's layout that the model itself makes.

Source: VideoCLIP, arXiv:2109.14084, Algorithm 1, and the released code as papers.md 2.6 states it. A video's vector is
the mean over exactly aligned pairs of the mean of both sides; around drawn centres, each batch is drawn from the
nearest candidates, among which the centre is one like the others. A batch is smaller where too few are found.

Departures: which shares of the videos have an index of their own is a setting, not the number of processes; the share
of a video, the centres and the draws follow from (run seed, epoch) alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.retrieval.vectors import Vectors, nearest_rows
from stages.training.layout import EpochLayout, num_batches
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.sampling import sample_generator

SIMILAR = "/similar"
"""Name of the draws of this layout; no video can have it."""

VectorsOf = Callable[[Sequence[str], int], Vectors]
"""One vector a video, float32 (N, E), of the model as it is; the second argument numbers the draw of its pairs."""


class SimilarLayout:
    """Before its first epoch with similar videos, another layout; from then on, clusters, found anew each epoch."""

    def __init__(
        self,
        video_ids: Sequence[str],
        before: EpochLayout,
        vectors_of: VectorsOf,
        settings: RetrievalSettings,
        *,
        batch_videos: int,
        multiple: int,
        seed: int,
    ) -> None:
        """Deal the videos to parts.

        Args:
            video_ids: all of them.
            before: of the epochs before `settings.from_epoch`.
            vectors_of: encodes videos.
            settings: how candidates are found.
            batch_videos: videos a batch.
            multiple: an epoch has a multiple of so many batches.
            seed: the run's seed.

        Raises:
            ConfigError: a part has fewer videos than a batch, or an epoch fewer batches than an update.
        """
        dealt = sample_generator(seed, 0, SIMILAR, 0).permutation(len(video_ids))
        ordered = sorted(video_ids)
        self._parts = [[ordered[row] for row in dealt[part :: settings.parts]] for part in range(settings.parts)]
        self._centres = [num_batches(len(part), batch_videos, 1) for part in self._parts]
        self._num_batches = num_batches(sum(self._centres) * batch_videos, batch_videos, multiple)
        self._before, self._vectors_of, self._settings = before, vectors_of, settings
        self._batch_videos, self._seed = batch_videos, seed
        self._epoch = -1
        self._batches: list[list[str]] = []

    @property
    def batches_per_epoch(self) -> int:
        """See `EpochLayout`."""
        return min(self._num_batches, self._before.batches_per_epoch)

    def begin_epoch(self, epoch: int) -> None:
        """Find the clusters of an epoch, unless they were taken back."""
        if epoch == self._epoch:
            return
        self._epoch = epoch
        if epoch + 1 < self._settings.from_epoch:
            self._before.begin_epoch(epoch)
            self._batches = [list(self._before.batch(place)) for place in range(self.batches_per_epoch)]
            return
        found = [
            cluster
            for number, (part, centres) in enumerate(zip(self._parts, self._centres, strict=True))
            for cluster in self._clusters(part, centres, sample_generator(self._seed, epoch, SIMILAR, 1 + number))
        ]
        order = sample_generator(self._seed, epoch, SIMILAR, 0).permutation(len(found))
        self._batches = [found[place] for place in order[: self.batches_per_epoch]]

    def batch(self, place: int) -> Sequence[str]:
        """See `EpochLayout`."""
        return self._batches[place]

    def state(self) -> Mapping[str, Any]:
        """The clusters: the model that found them is gone when the epoch is half over."""
        return {"epoch": self._epoch, "batches": self._batches}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take clusters back."""
        if state:
            self._epoch, self._batches = state["epoch"], [list(batch) for batch in state["batches"]]

    def _clusters(self, part: Sequence[str], centres: int, generator: np.random.Generator) -> list[list[str]]:
        """Draw the batches of one share of the videos."""
        vectors = self._vectors_of(part, self._epoch)
        asked = generator.choice(len(part), centres, replace=False).astype(np.int64)
        wanted = self._settings
        rows = nearest_rows(
            vectors, asked, wanted.candidates, lists=wanted.lists, probes=wanted.probes, seed=self._seed % 2**31
        )
        clusters = (_draw(centre, row, self._batch_videos, generator) for centre, row in zip(asked, rows, strict=True))
        return [[part[row] for row in cluster] for cluster in clusters]


def _draw(centre: int, found: NDArray[np.int64], size: int, generator: np.random.Generator) -> list[int]:
    """Draw `size` of the candidates, or take all if there are no more: the centre first, then what was found."""
    candidates = [int(centre), *(int(row) for row in found if row not in (centre, -1))]
    if len(candidates) <= size:
        return candidates
    return [candidates[place] for place in generator.choice(len(candidates), size, replace=False)]
