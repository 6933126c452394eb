"""Arrays in files: rows that are written piece by piece, and mapped where they lie, in a tar or on their own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stages.artifacts.commit import StagedFile


def write_rows(file: StagedFile, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Write an array whose first axis comes in blocks, and close the file.

    Args:
        file: open.
        blocks: (M_i, ...), of any type that casts to `dtype`.
        shape: of all of them together.
        dtype: of the file.

    Raises:
        ValueError: the blocks do not add up to the shape.
    """
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    num_rows = 0
    for block in blocks:
        if block.shape[1:] != shape[1:]:
            raise ValueError(f"a block has shape {block.shape}, expected (M, {', '.join(map(str, shape[1:]))})")
        num_rows += len(block)
        file.write(np.ascontiguousarray(block, dtype).tobytes())
    if num_rows != shape[0]:
        raise ValueError(f"the blocks have {num_rows} rows, expected {shape[0]}")
    file.close()


def map_rows(path: Path, offset: int = 0) -> NDArray[Any]:
    """An array, memory-mapped read-only at its place in a file; its pages are read when they are touched.

    Args:
        path: the file.
        offset: where the array begins, with its header.

    Raises:
        ValueError: no array lies there, or one of Python objects.
    """
    with path.open("rb") as file:
        file.seek(offset)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if 0 in shape:  # nothing to map
            return np.empty(shape, dtype)
        return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")
