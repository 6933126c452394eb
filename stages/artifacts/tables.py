"""The door to pyarrow: Parquet tables with named columns, the same bytes for the same rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.artifacts.commit import StagedFile
from stages.artifacts.sealed import Artifact
from stages.errors import Corrupt, SchemaMismatch

STRING, INT32, INT64, FLOAT64, BOOL = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
STRINGS = pa.list_(pa.string())
ColumnType = pa.DataType
Table = pa.Table
ROWS_PER_GROUP = 65_536


def vector(dim: int) -> pa.DataType:
    """The type of a column of float32 vectors of `dim` components."""
    return pa.list_(pa.float32(), dim)


def vectors_column(vectors: NDArray[np.float32], present: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of vectors from a matrix.

    Args:
        vectors: (N, E) float32.
        present: (N,) bool; False makes the row null.
    """
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    mask = None if present is None else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)


def matrix(table: pa.Table, column: str) -> NDArray[np.float32]:
    """A vector column as a matrix (N, E) float32; null rows are zero."""
    data = table.column(column).combine_chunks()
    dim = data.type.list_size
    if not len(data):
        return np.empty((0, dim), np.float32)
    values = np.array(data.values.to_numpy(zero_copy_only=False), np.float32)
    values = values[data.offset * dim : (data.offset + len(data)) * dim].reshape(-1, dim)
    values[~np.asarray(data.is_valid())] = 0
    return values


def rows_table(schema: Mapping[str, pa.DataType], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table with these columns from records."""
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(schema.items())))


def columns_table(schema: Mapping[str, pa.DataType], columns: Mapping[str, Any]) -> pa.Table:
    """A table with these columns from whole columns (sequences, numpy arrays or arrow arrays)."""
    arrays = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, type=kind)
        for column, kind in ((columns[name], kind) for name, kind in schema.items())
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(list(schema.items())))


def write_table(file: StagedFile, table: pa.Table) -> None:
    """Write a table into a staged file and close it."""
    pq.write_table(table, file, compression="zstd", row_group_size=ROWS_PER_GROUP, store_schema=True)
    file.close()


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file.

    Raises:
        Corrupt: it is not one.
        SchemaMismatch: a column that is asked for is not there.
    """
    try:
        with pq.ParquetFile(path) as file:
            if missing := set(columns or ()) - set(file.schema_arrow.names):
                raise SchemaMismatch(f"{path} lacks the columns {sorted(missing)}; it has {file.schema_arrow.names}")
            return file.read(columns=list(columns) if columns else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise Corrupt(f"{path} is not a Parquet table ({error}); run `fabula verify`") from error


def read_tables(artifact: Artifact, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The tables with a logical name of all units of an artifact, joined in the order of the units."""
    tables = [read_table(path, columns) for path in artifact.paths(name)]
    if not tables:
        raise Corrupt(f"{artifact.directory.reference} has no units")
    return pa.concat_tables(tables)


class GroupedRows(Mapping[str, list[dict[str, Any]]]):
    """The rows of a table by the value of one of its columns; a group becomes Python objects when it is asked for."""

    def __init__(self, table: pa.Table, column: str) -> None:
        self._table = table
        encoded = pc.run_end_encode(table.column(column).combine_chunks()) if table.num_rows else None
        ends = encoded.run_ends.to_pylist() if encoded is not None else []
        names = encoded.values.to_pylist() if encoded is not None else []
        self._runs: dict[str, list[tuple[int, int]]] = {}
        for start, end, name in zip([0, *ends], ends, names, strict=False):
            self._runs.setdefault(name, []).append((start, end - start))

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [row for start, length in self._runs[name] for row in self._table.slice(start, length).to_pylist()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
