"""Arrays of feature rows as others leave them: `.npy` files, read as numbers and never as Python objects."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import SampleError

NO_FEATURES, NOT_NPY, OBJECT_ARRAY, WRONG_SHAPE = "no_features", "not_npy", "object_array", "wrong_shape"
WRONG_TYPE, NOT_FINITE, WRONG_LENGTH, UNREADABLE = "wrong_type", "not_finite", "wrong_length", "unreadable"

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BAD_HEADER = (ValueError, EOFError, OverflowError, SyntaxError, TypeError, RecursionError, MemoryError)


class UnusableFeatures(SampleError):
    """A feature file that cannot be used."""


def refuse(cause: str, message: str) -> UnusableFeatures:
    """Make the error whose Failure row names `cause`."""
    error = UnusableFeatures(message)
    error.cause = cause
    return error


def read_npy(path: str, content: bytes) -> NDArray[Any]:
    """Read an array of numbers.

    Args:
        path: how messages name the file.
        content: its bytes.

    Raises:
        SampleError: it is no `.npy` file (cause `not_npy`), or holds Python objects (`object_array`): those are a
            pickle, which is never read.
    """
    file = io.BytesIO(content)
    try:
        shape, fortran, dtype = read_header(file)
    except _BAD_HEADER as error:
        raise refuse(NOT_NPY, f"{path}: not a .npy array ({error}); export it again with numpy.save") from error
    if dtype.hasobject:
        raise refuse(
            OBJECT_ARRAY,
            f"{path}: holds Python objects, which may run code when they are read; expected numbers: save it again "
            "with numpy.save(path, array.astype('float32'))",
        )
    expected, got = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if expected != got or not dtype.itemsize:
        raise refuse(NOT_NPY, f"{path}: cut or damaged: its header promises {expected} bytes, got {got}")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def read_header(file: io.BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type of an array in the `.npy` format; the file is left behind them.

    Raises:
        ValueError: it is another format, or has a version (3) that arrays of numbers never need.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"format version {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    return shape, fortran, dtype


def check_rows(path: str, rows: NDArray[Any], dim: int | None) -> NDArray[np.float16]:
    """Check an array and give it as (N, D) float16.

    Raises:
        SampleError: with the cause `wrong_shape`, `wrong_type` or `not_finite`.
    """
    if rows.ndim != 2 or 0 in rows.shape or (dim is not None and rows.shape[1] != dim):
        raise refuse(
            WRONG_SHAPE, f"{path}: got shape {rows.shape}, expected (rows, {dim}) with at least one row; leave it out"
        )
    if rows.dtype.kind != "f":
        raise refuse(WRONG_TYPE, f"{path}: got {rows.dtype}, expected float16, float32 or float64")
    with np.errstate(over="ignore"):
        halves = rows.astype(np.float16)
    if not np.isfinite(halves).all():
        bad = int(np.sum(~np.isfinite(halves).all(axis=1)))
        raise refuse(NOT_FINITE, f"{path}: {bad} of {len(rows)} rows hold NaN, infinity or more than float16 can hold")
    return halves


def check_length(path: str, num_rows: int, rate: float, duration_s: float, tolerance_s: float) -> None:
    """Check that rows and video are about equally long.

    Raises:
        SampleError: they are not (cause `wrong_length`): the rate or the video is another one.
    """
    end_s = num_rows / rate
    if duration_s <= 0 or abs(end_s - duration_s) > tolerance_s + 1 / rate:
        fitting = f"; {num_rows / duration_s:.4g} rows a second would fit" if duration_s > 0 else ""
        raise refuse(
            WRONG_LENGTH,
            f"{path}: {num_rows} rows at {rate:g} a second end at {end_s:.1f} s, the video at {duration_s:.1f} s"
            f"{fitting}; state the true rate, or raise the tolerance of {tolerance_s:g} s",
        )


def row_width(file: io.BufferedIOBase) -> int | None:
    """Components of a row by an array's header alone; None if that is no header of rows of numbers."""
    try:
        shape, _, dtype = read_header(file)
    except _BAD_HEADER:
        return None
    return shape[1] or None if len(shape) == 2 and not dtype.hasobject else None
