"""Numbers of an IVF index: what is asked for, and what was built and measured. No faiss here: planning reads it.

Rules when a number is not given:
    nlist: 4 * sqrt(rows), at most one list a 39 training rows (below that faiss itself warns) and at least 1.
    sample: 64 rows a list (faiss#1239: 50 suffice), drawn without the held-out rows.
    nprobe: the smallest power of two whose measured recall reaches the target; all lists if none does.
"""

import math
from dataclasses import dataclass
from typing import Literal

IndexKind = Literal["flat", "ivf"]

_MIN_ROWS_PER_LIST = 39


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
        seed: Seed of the sample and of k-means.
        recall: Share of the exact k nearest rows that are found, the row itself left out, mean over `held_out`.
        recall_k: That k.
        held_out: Rows that were asked; none of them was in the training sample unless the index is too small.
    """

    nlist: int
    nprobe: int
    sample_rows: int
    seed: int
    recall: float
    recall_k: int
    held_out: tuple[int, ...]


def default_nlist(num_rows: int) -> int:
    """Lists of the quantiser for an index of `num_rows` when the config gives none."""
    return max(1, min(round(4 * math.sqrt(num_rows)), num_rows // _MIN_ROWS_PER_LIST))
