"""Numbers of an IVF index: what is asked for, and what was built and measured. No faiss here: planning reads it.

Rules when a number is not given:
    nlist: 4 * sqrt(rows), at most one list a 39 training rows (below that faiss itself warns) and at least 1.
    sample: 64 rows a list (faiss#1239: 50 suffice).
    nprobe: the smallest power of two whose measured recall reaches the target; all lists if none does.

A row's window id decides by its hash whether it may be trained on or is kept for measuring (one in ten): so no row
changes sides when videos are appended, and a quantiser that is taken over is measured on rows that it never saw.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.hashing import hash_word
from stages.artifacts.report_sections import Section, Table
from stages.errors import ConfigError

RECALL_K = 10
MIN_ROWS_PER_LIST = 39
_ROWS_PER_LIST = 64
_MAX_HELD_OUT = 256
_ONE_HELD_OUT_IN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfSettings:
    """How an IVF index is built.

    Attributes:
        nlist: Lists of the quantiser; 0 = by the rule.
        nprobe: Lists visited by a search; 0 = the smallest power of two that reaches `target_recall`.
        target_recall: Least recall@10 against exact search that is accepted, 0 to 1.
        seed: Seed of the training sample, of the held-out rows and of k-means.
    """

    nlist: int = 0
    nprobe: int = 0
    target_recall: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfFacts:
    """What was built and what was measured; stored with the index.

    Attributes:
        nlist: Lists of the quantiser.
        nprobe: Lists that a search visits.
        sample_rows: Rows that the quantiser was trained on.
        seed: Of that sample and of k-means.
        recall: Share of the exact k nearest rows that are found, the row itself left out, mean over `held_out`.
        recall_k: That k.
        held_out: Rows that were asked; none of them was trained on unless the index is too small.
    """

    nlist: int
    nprobe: int
    sample_rows: int
    seed: int
    recall: float
    recall_k: int
    held_out: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which rows an index is trained on and which it is measured on; each (M,) int64, ascending.

    Attributes:
        sample: To train on.
        held_out: To ask.
        nlist: Lists for that sample.
    """

    sample: NDArray[np.int64]
    held_out: NDArray[np.int64]
    nlist: int


def default_nlist(num_rows: int) -> int:
    """Lists of the quantiser for an index of `num_rows` when the config gives none."""
    return max(1, min(round(4 * math.sqrt(num_rows)), num_rows // MIN_ROWS_PER_LIST))


def draw_rows(window_ids: Sequence[str], settings: IvfSettings) -> Draw:
    """Choose rows to train on and to measure on, by the hash of each window's id and the seed.

    Args:
        window_ids: N >= 1 ids in row order.
        settings: `nlist` and `seed`.

    Raises:
        ConfigError: more lists than rows to train on.
    """
    hashes = np.array([hash_word(window_id, settings.seed) for window_id in window_ids], np.uint64)
    order = np.argsort(hashes, kind="stable").astype(np.int64)
    kept = hashes[order] % _ONE_HELD_OUT_IN == 0
    # An index that is too small to spare a row is asked with all of them and trained on all.
    held_out, rest = (order[kept], order[~kept]) if kept.any() and not kept.all() else (order, order)
    nlist = settings.nlist or default_nlist(len(rest))
    if nlist > len(rest):
        raise ConfigError(
            f"index.nlist is {nlist}, but there are {len(rest)} rows to train on: give at most that, or leave it out"
        )
    return Draw(sample=np.sort(rest[: _ROWS_PER_LIST * nlist]), held_out=np.sort(held_out[:_MAX_HELD_OUT]), nlist=nlist)


def choose_nprobe(recall: Callable[[int], float], nlist: int, settings: IvfSettings) -> tuple[int, float]:
    """Choose the number of lists to visit by the recall that it has.

    Args:
        recall: Measures it for a number of lists.
        nlist: Lists there are.
        settings: `nprobe` and `target_recall`.

    Returns:
        The number and its recall.

    Raises:
        ConfigError: the given `nprobe` misses `target_recall`.
    """
    if settings.nprobe:
        nprobe = min(settings.nprobe, nlist)
        if (measured := recall(nprobe)) < settings.target_recall:
            raise ConfigError(
                f"index.nprobe = {nprobe} of {nlist} lists finds {measured:.3f} of the {RECALL_K} nearest rows, "
                f"expected at least index.target_recall = {settings.target_recall}: raise nprobe, or leave it out"
            )
        return nprobe, measured
    nprobe = 1
    while (measured := recall(nprobe)) < settings.target_recall and nprobe < nlist:
        nprobe = min(2 * nprobe, nlist)
    return nprobe, measured


def report_section(ivf: Mapping[str, Any]) -> Section:
    """What an evaluation's page says of an approximate index, whose `IvfFacts` are given as JSON."""
    row = (f"{ivf['nlist']}", f"{ivf['nprobe']}", f"{ivf['recall']:.1%}", f"{len(ivf['held_out'])}")
    return Section(
        title="The approximate index",
        note=f"Recall: how many of the {ivf['recall_k']} windows nearest to a window it finds.",
        tables=(Table(columns=("lists", "visited", "recall", "windows asked"), rows=(row,)),),
    )
