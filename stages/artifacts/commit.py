"""Atomicity: a unit's files become visible all at once, or not at all.

Files are written in `staging/` while they are hashed, synced, renamed to names that hold their hash, and then one
record is published with a hard link, which fails if another process was first: the first committer wins, and since
the same inputs give the same bytes, the loser has nothing to say.
"""

import contextlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import xxhash

from stages.artifacts.durable import link_or_copy, make_dir, publish, sync_dir
from stages.artifacts.layout import FILE_DIGITS, ArtifactDir
from stages.artifacts.records import CommitRecord, CommittedFile, Member, read_record
from stages.contract import Failure
from stages.errors import Corrupt

_LOGICAL_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class StagedFile(io.RawIOBase):
    """A file that is being written in staging: forward only, hashed as it grows.

    Attributes:
        name: the logical name.
        members: what a tar writer says that it put in; it ends up in the commit record.
    """

    def __init__(self, name: str, path: Path) -> None:
        super().__init__()
        self.name = name
        self.path = path
        self.members: list[Member] = []
        self._file: BinaryIO = path.open("wb")
        self._state = xxhash.xxh3_128()
        self._size = 0

    def writable(self) -> bool:
        """It is a file to write."""
        return True

    def write(self, content: Any) -> int:
        """Append bytes."""
        self._state.update(content)
        written = self._file.write(content)
        self._size += written
        return written

    def tell(self) -> int:
        """How many bytes were written."""
        return self._size

    def close(self) -> None:
        """Make the bytes durable. Closing twice is allowed."""
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        super().close()

    def committed(self, unit_id: str) -> CommittedFile:
        """The entry for the commit record; the final name holds the unit and the hash."""
        digest = self._state.hexdigest()
        logical = PurePosixPath(self.name)
        final = logical.with_name(f"{logical.stem}-{unit_id}-{digest[:FILE_DIGITS]}{logical.suffix}")
        return CommittedFile(
            name=self.name, path=str(final), size_bytes=self._size, hash=digest, members=tuple(self.members)
        )


class StagedOutput:
    """What one attempt at a unit writes: the `Out` of the contract.

    Attributes:
        unit_id: whose attempt it is.
    """

    def __init__(
        self, unit_id: str, targets: Mapping[str, ArtifactDir], on_progress: Callable[[float, str], None] | None = None
    ) -> None:
        self.unit_id = unit_id
        self._on_progress = on_progress
        self._targets = dict(targets)
        self._token = uuid.uuid4().hex
        self._files: dict[str, dict[str, StagedFile]] = {label: {} for label in targets}
        self._info: dict[str, dict[str, Any]] = {label: {} for label in targets}

    @property
    def wanted(self) -> frozenset[str]:
        """Labels that this attempt has to make."""
        return frozenset(self._targets)

    def create(self, label: str, name: str) -> StagedFile:
        """Open a staged file; see `stages.contract.Out`."""
        if not _LOGICAL_NAME.fullmatch(name) or ".." in PurePosixPath(name).parts:
            raise ValueError(
                f"{name!r} is no name for a file in an artifact: use letters, digits, '_', '.', '-' and '/'"
            )
        if name in self._files[label]:
            raise ValueError(f"unit {self.unit_id} makes {label} file {name!r} twice")
        folder = self._staging_dir(label)
        folder.mkdir(parents=True, exist_ok=True)
        staged = StagedFile(name, folder / f"{len(self._files[label]):04d}")
        self._files[label][name] = staged
        return staged

    def describe(self, label: str, info: Mapping[str, Any]) -> None:
        """Add facts to the record of a label."""
        self._info[label].update(info)

    def report(self, done: float, text: str = "") -> None:
        """Pass progress on, if anybody listens."""
        if self._on_progress:
            self._on_progress(done, text)

    def scratch_dir(self, label: str) -> Path:
        """The unit's own folder that survives a kill."""
        path = self._targets[label].scratch_dir(self.unit_id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def attempts_path(self, label: str) -> Path:
        """The unit's attempts file."""
        path = self._targets[label].attempts_path(self.unit_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def commit(self, fingerprints: Mapping[str, str], inputs: Sequence[str], failures: Iterable[Failure]) -> list[str]:
        """Make every label's files visible.

        Args:
            fingerprints: of the unit, by label.
            inputs: the names that must be accounted for.
            failures: those that failed.

        Returns:
            The labels that this call committed; a label that another process committed first is not among them.

        Raises:
            ValueError: the failures do not add up with the inputs.
        """
        failures = tuple(sorted(failures, key=lambda failure: failure.input_id))
        _check_accounts(self.unit_id, inputs, failures)
        won = [
            label
            for label, target in self._targets.items()
            if self._commit_label(label, target, fingerprints[label], len(inputs), failures)
        ]
        self.discard()
        for target in self._targets.values():
            shutil.rmtree(target.scratch_dir(self.unit_id), ignore_errors=True)
        return won

    def _commit_label(
        self, label: str, target: ArtifactDir, fingerprint: str, num_inputs: int, failures: tuple[Failure, ...]
    ) -> bool:
        entries = []
        for staged in self._files[label].values():
            staged.close()
            entry = staged.committed(self.unit_id)
            final = target.path / entry.path
            make_dir(final.parent)
            staged.path.replace(final)
            sync_dir(final.parent)
            entries.append(entry)
        record = CommitRecord(
            unit_id=self.unit_id,
            fingerprint=fingerprint,
            num_inputs=num_inputs,
            failures=failures,
            files=tuple(sorted(entries, key=lambda entry: entry.name)),
            info=self._info[label],
        )
        return publish(target.commit_path(self.unit_id), record.to_bytes())

    def discard(self) -> None:
        """Delete what is still staged."""
        for label, files in self._files.items():
            for staged in files.values():
                with contextlib.suppress(OSError):
                    staged.close()
            shutil.rmtree(self._staging_dir(label), ignore_errors=True)

    def _staging_dir(self, label: str) -> Path:
        return self._targets[label].staging_dir / f"{self.unit_id}.{self._token}"


def _check_accounts(unit_id: str, inputs: Sequence[str], failures: Sequence[Failure]) -> None:
    failed = [failure.input_id for failure in failures]
    if len(set(failed)) != len(failed) or not set(failed) <= set(inputs):
        raise ValueError(
            f"unit {unit_id}: the failures {failed} do not add up with its {len(inputs)} inputs: "
            "each input must end once, as a success or as one failure"
        )


def is_adoptable(source: ArtifactDir, unit_id: str, fingerprint: str) -> bool:
    """Whether a unit is committed with this fingerprint and its files are there, as long as they should be."""
    try:
        record = read_record(source.commit_path(unit_id))
        sizes = [(source.path / file.path).stat().st_size for file in record.files]
    except (OSError, Corrupt):
        return False
    return record.fingerprint == fingerprint and sizes == [file.size_bytes for file in record.files]


def adopt(source: ArtifactDir, record: CommitRecord, target: ArtifactDir) -> bool:
    """Take a committed unit of another artifact over, by hard link (a copy where there is none) and record.

    Returns:
        True when this call did it, False when the unit was there already.
    """
    for file in record.files:
        link_or_copy(source.path / file.path, target.path / file.path)
    return publish(target.commit_path(record.unit_id), record.to_bytes())
