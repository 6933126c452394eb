"""Sequences of embeddings at length 1, ragged: how every aligner takes its input.

Letters: S sentences, N windows, E joint width, P paragraphs, V videos.
"""

from collections.abc import Sequence
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.held import HELD

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Precision = Literal["float64", "float32"]
"""Of the matrix product; sums along paths are float64 in both. float32 is twice as fast, cosines are off by 1e-7."""


def unit_rows(vectors: F32) -> F64:
    """The rows at length 1, as float64; a zero row stays zero.

    Args:
        vectors: (N, E), N at least 1.

    Raises:
        ValueError: it is no such matrix, or holds a NaN.
    """
    checked = _checked(vectors)
    unit = np.empty(checked.shape)
    place_unit_rows(checked, np.arange(len(checked)), unit)
    return unit


def lengths_of(sequences: Sequence[F32]) -> I64:
    """Check ragged sequences and return their lengths.

    Args:
        sequences: Arrays (n, E) of one width, n at least 1.

    Returns:
        (len(sequences),) int64.

    Raises:
        ValueError: one is empty or no matrix, or the widths differ.
    """
    widths = {_checked(sequence).shape[1] for sequence in sequences}
    if len(widths) > 1:
        raise ValueError(f"vectors: got widths {sorted(widths)}, expected one: one encoder made them all")
    return np.array([len(sequence) for sequence in sequences], dtype=np.int64)


def stack_unit_rows(sequences: Sequence[F32], dtype: Precision) -> NDArray[np.floating]:
    """Put the rows of all sequences under one another, at length 1.

    Args:
        sequences: At least one array (n, E), as `lengths_of` accepts them.
        dtype: Of the result.

    Returns:
        (sum of n, E); it lasts until this thread stacks others.

    Raises:
        ValueError: a row holds NaN or infinity.
    """
    lengths = lengths_of(sequences)
    stacked = HELD.array("stacked", (int(lengths.sum()), sequences[0].shape[1]), dtype)
    place_unit_rows(np.concatenate(sequences), np.arange(len(stacked)), stacked)
    return stacked


def place_unit_rows(vectors: NDArray[np.floating], rows: I64, target: NDArray[np.floating]) -> None:
    """Write vectors at length 1 into given rows; a zero vector stays zero.

    Args:
        vectors: (N, E).
        rows: (N,) int64 rows of `target`.
        target: (M, E) float32 or float64; scaled in float64, then rounded.

    Raises:
        ValueError: a vector holds NaN or infinity.
    """
    dtype = np.float64 if vectors.dtype == np.float64 else np.float32
    if not _place(np.ascontiguousarray(vectors, dtype=dtype), rows, target):
        raise ValueError("vectors: a row holds NaN or infinity; the features or the encoder are damaged")


def _checked(vectors: F32) -> F32:
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (N, E) with at least one row")
    return vectors


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _place(vectors: F32, rows: I64, target: F64) -> bool:
    """Normalise row by row; False if a norm is not finite."""
    for source in range(len(rows)):
        vector, unit = vectors[source], target[rows[source]]
        norm = np.sqrt(_sum_of_squares(vector))
        if not np.isfinite(norm):
            return False
        factor = 1.0 / norm if norm > 0.0 else 1.0
        for e in range(len(vector)):
            unit[e] = np.float64(vector[e]) * factor
    return True


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _sum_of_squares(vector: F32) -> float:
    """In whatever order the machine's vectors suggest; always the same one on one machine."""
    squares = 0.0
    for e in range(len(vector)):
        squares += np.float64(vector[e]) * np.float64(vector[e])
    return squares
