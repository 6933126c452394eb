"""What commit records hold, and their JSON form. Only files that a record names exist."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stages.artifacts.hashing import pretty_json
from stages.contract import Failure
from stages.errors import Corrupt


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a committed tar: its payload lies at [offset, offset + size) of the file."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedFile:
    """One file of a unit.

    Attributes:
        name: logical name, as the worker gave it (`shards/s3d.tar`).
        path: final path, relative to the artifact's folder, POSIX.
        size_bytes: its length.
        hash: xxh3-128, hex.
        members: for a tar, what it holds, in order.
    """

    name: str
    path: str
    size_bytes: int
    hash: str
    members: tuple[Member, ...] = ()

    def samples(self) -> dict[str, dict[str, Member]]:
        """The members of a tar by sample and suffix, in the order of the tar."""
        found: dict[str, dict[str, Member]] = {}
        for member in self.members:
            key, _, suffix = member.name.partition(".")
            found.setdefault(key, {})[suffix] = member
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecord:
    """What one committed unit is: num_inputs = num_successes + len(failures)."""

    unit_id: str
    fingerprint: str
    num_inputs: int
    failures: tuple[Failure, ...]
    files: tuple[CommittedFile, ...]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_successes(self) -> int:
        """Inputs that the unit's files hold."""
        return self.num_inputs - len(self.failures)

    def file(self, name: str) -> CommittedFile:
        """The file with a logical name.

        Raises:
            Corrupt: there is none, so the record was not written by this stage.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise Corrupt(
            f"unit {self.unit_id} has no file {name!r}: its record names {[file.name for file in self.files]}"
        )

    def to_bytes(self) -> bytes:
        """The record as it lies on disk."""
        return pretty_json(
            {
                "unit": self.unit_id,
                "fingerprint": self.fingerprint,
                "inputs": self.num_inputs,
                "successes": self.num_successes,
                "failures": [
                    {"input": f.input_id, "cause": f.cause, "message": f.message, "state": f.state}
                    for f in self.failures
                ],
                "files": [
                    {
                        "name": f.name,
                        "path": f.path,
                        "bytes": f.size_bytes,
                        "xxh3_128": f.hash,
                        "members": [[m.name, m.offset, m.size] for m in f.members],
                    }
                    for f in self.files
                ],
                "info": dict(self.info),
            }
        )


def read_record(path: Path) -> CommitRecord:
    """Read a commit record.

    Raises:
        Corrupt: the file is not one.
    """
    try:
        raw = json.loads(path.read_bytes())
        return CommitRecord(
            unit_id=raw["unit"],
            fingerprint=raw["fingerprint"],
            num_inputs=raw["inputs"],
            failures=tuple(
                Failure(input_id=f["input"], cause=f["cause"], message=f["message"], state=f["state"])
                for f in raw["failures"]
            ),
            files=tuple(
                CommittedFile(
                    name=_inside(f["name"]),
                    path=_inside(f["path"]),
                    size_bytes=f["bytes"],
                    hash=f["xxh3_128"],
                    members=tuple(Member(*member) for member in f["members"]),
                )
                for f in raw["files"]
            ),
            info=raw["info"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{path} is not a commit record ({type(error).__name__}: {error}); delete the file and run again: "
            "its unit will be redone"
        ) from error


def _inside(path: str) -> str:
    """The path, if it cannot leave the folder that it is joined to: an artifact may come from anywhere.

    Raises:
        ValueError: it can.
    """
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} does not stay in the artifact's folder")
    return path
