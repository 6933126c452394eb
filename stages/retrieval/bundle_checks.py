"""What has to hold before a bundle may answer: each check with a message that says which table or file is wrong.

Vectors and ids of a FAISS index are joined by row number only. clip-retrieval#213 and #304 show what that costs when
a table is re-ordered, so the order of every id column is part of the record.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.artifacts.hashing import hash_file
from stages.artifacts.layout import ArtifactDir
from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import read_table
from stages.errors import Corrupt, NotSealed
from stages.retrieval.bundle_record import ENCODER_DIR, ID_COLUMNS, RECORD_FILE, BundleRecord, FileRecord, ids_checksum


def locate_files(folder: Path) -> Mapping[str, Path]:
    """The bundle's files by logical name.

    Args:
        folder: An `index` artifact of a store, or a plain folder in which the files have their logical names.

    Raises:
        NotSealed: there is no bundle in the folder, or it is not finished.
        Corrupt: bundle.json is not what was committed.
    """
    folder = folder.resolve()
    directory = ArtifactDir(folder.parent.parent, folder.parent.name, folder.name)
    if not directory.description_path.is_file():
        if not (folder / RECORD_FILE).is_file():
            raise NotSealed(f"{folder} holds no {RECORD_FILE}: give the folder of an index, or run `fabula run` first")
        return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    artifact = Artifact(directory)
    if not artifact.is_sealed:
        raise NotSealed(f"{folder} is not finished: run `fabula run` to the end first")
    # Of an IVF index other units made what the bundle was joined from; it is not part of it.
    bundle = next((record for record in artifact.records if RECORD_FILE in [file.name for file in record.files]), None)
    committed = bundle.files if bundle else ()
    files = {file.name: artifact.path(file) for file in committed}
    expected = {file.name: file.hash for file in committed}.get(RECORD_FILE)
    if expected is None or not files[RECORD_FILE].is_file() or hash_file(files[RECORD_FILE]) != expected:
        raise Corrupt(f"{folder}: {RECORD_FILE} is missing or differs from its commit record; index again")
    return files


def check_files(files: Mapping[str, Path], record: BundleRecord, *, encoder: bool) -> None:
    """Compare length and hash of files with the record.

    Args:
        files: By logical name.
        record: What bundle.json says.
        encoder: True checks the encoder's files, False all others.

    Raises:
        Corrupt: a file is missing or differs; for a table, the message says what is wrong with its ids.
    """
    for name, expected in record.files.items():
        if name.startswith(f"{ENCODER_DIR}/") != encoder:
            continue
        path = files.get(name)
        if path is None or not path.is_file():
            raise Corrupt(f"the bundle's file {name} is missing; copy the whole bundle again, or index again")
        found = FileRecord(size_bytes=path.stat().st_size, xxh3_128=hash_file(path))
        if found != expected:
            raise Corrupt(_diagnosis(path, name, record) or _difference(path, found, expected))


def check_ids(path: Path, name: str, record: BundleRecord, columns: Mapping[str, Sequence[Any]]) -> None:
    """Compare a table's id column with the record: the order of ids is what ties vectors to them.

    Args:
        path: Where the table lies, for the message.
        name: Its logical name.
        record: What bundle.json says.
        columns: Its columns; the id column, and `row` if it has one.

    Raises:
        Corrupt: rows were re-ordered, or the table belongs to another index.
    """
    ids, count = columns[ID_COLUMNS[name]], record.counts[name]
    if len(ids) != count:
        raise Corrupt(
            f"{path} is stale: it has {len(ids)} rows, the index was made with {count}; copy the whole bundle again"
        )
    if ids_checksum(ids) != record.id_columns[name]:
        rows = list(columns.get("row", ()))
        if rows != sorted(rows) == list(range(count)):
            raise Corrupt(f"the rows of {path} are shuffled, so ids and vectors do not match: sort it by `row` again")
        raise Corrupt(
            f"{path} holds other ids than the index was made with (column {ID_COLUMNS[name]!r}, {count} rows): "
            "it was edited or belongs to another index; copy the whole bundle again"
        )


def _diagnosis(path: Path, name: str, record: BundleRecord) -> str:
    """What is wrong with the ids of a table whose bytes differ from the record; '' if they are right or unreadable."""
    if name not in ID_COLUMNS:
        return ""
    try:
        check_ids(path, name, record, read_table(path).to_pydict())
    except Corrupt as error:
        return str(error)
    except (KeyError, ValueError, NotImplementedError):
        # Damaged Parquet fails in many ways, none of which says more than that the hash differs.
        return ""
    return ""


def _difference(path: Path, found: FileRecord, expected: FileRecord) -> str:
    if found.size_bytes != expected.size_bytes:
        return f"{path} has {found.size_bytes} bytes, recorded are {expected.size_bytes}; copy the bundle again"
    return f"{path} has hash {found.xxh3_128}, recorded is {expected.xxh3_128}; copy the bundle again"
