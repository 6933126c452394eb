"""Reading artifacts: what they are, what their units committed, and whether they are sealed."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.artifacts.durable import publish
from stages.artifacts.hashing import hash_file, pretty_json
from stages.artifacts.layout import ArtifactDir, Store
from stages.artifacts.records import CommitRecord, CommittedFile, read_record
from stages.errors import Corrupt, NotSealed, SchemaMismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUnit:
    """What an artifact's description says of a unit.

    Attributes:
        fingerprint: of everything that decides its bytes.
        parts: a short hash of each named part of that, so that `plan` can say what changed.
        num_inputs: how many inputs it has.
    """

    fingerprint: str
    parts: Mapping[str, str]
    num_inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an artifact is; written before its first unit."""

    label: str
    stage: str
    version: int
    schema: int
    fingerprint: str
    about: Mapping[str, Any]
    units: Mapping[str, PlannedUnit]

    def to_bytes(self) -> bytes:
        """The file's content."""
        units = {
            unit_id: {"fingerprint": unit.fingerprint, "parts": dict(unit.parts), "inputs": unit.num_inputs}
            for unit_id, unit in self.units.items()
        }
        fields = {name: getattr(self, name) for name in ("label", "stage", "version", "schema", "fingerprint")}
        return pretty_json({**fields, "about": dict(self.about), "units": units})


def read_description(path: Path) -> Description:
    """Read an artifact.json.

    Raises:
        Corrupt: it is not one.
    """
    try:
        raw = json.loads(path.read_bytes())
        units = {
            unit_id: PlannedUnit(fingerprint=unit["fingerprint"], parts=unit["parts"], num_inputs=unit["inputs"])
            for unit_id, unit in raw.pop("units").items()
        }
        return Description(units=units, **raw)
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} does not describe an artifact ({error}); delete its folder and run again") from error


class Artifact:
    """A described artifact: its units in order and the files that they committed."""

    def __init__(self, directory: ArtifactDir) -> None:
        self.directory = directory

    @cached_property
    def description(self) -> Description:
        """What it is."""
        return read_description(self.directory.description_path)

    @property
    def label(self) -> str:
        """Its name in a run."""
        return self.description.label

    @property
    def fingerprint(self) -> str:
        """Of all its units."""
        return self.description.fingerprint

    @property
    def about(self) -> Mapping[str, Any]:
        """Facts of the whole."""
        return self.description.about

    @property
    def is_sealed(self) -> bool:
        """Whether every unit is committed and the counts add up."""
        return self.directory.seal_path.is_file()

    def record(self, unit_id: str) -> CommitRecord | None:
        """A unit's commit record, or None while it is open."""
        path = self.directory.commit_path(unit_id)
        return read_record(path) if path.is_file() else None

    @cached_property
    def records(self) -> Sequence[CommitRecord]:
        """The records of all units, in the order of their ids.

        Raises:
            NotSealed: a unit is still open.
        """
        found = []
        for unit_id in sorted(self.description.units):
            record = self.record(unit_id)
            if record is None:
                raise NotSealed(f"{self.directory.reference}: unit {unit_id} is not committed; run the stage again")
            found.append(record)
        return found

    def path(self, file: CommittedFile) -> Path:
        """Where a committed file lies."""
        return self.directory.path / file.path

    def paths(self, name: str) -> list[Path]:
        """The files with a logical name, one a unit, in the order of the units."""
        return [self.path(record.file(name)) for record in self.records]

    def path_in(self, unit_id: str, name: str) -> Path:
        """The file of one unit with a logical name.

        Raises:
            NotSealed: the unit is not committed.
            Corrupt: it has no such file.
        """
        record = self.record(unit_id)
        if record is None:
            raise NotSealed(f"{self.directory.reference}: unit {unit_id} is not committed; run the stage again")
        return self.path(record.file(name))

    def check_schema(self, expected: int) -> None:
        """Refuse an artifact of another schema.

        Raises:
            SchemaMismatch: it has another version.
        """
        if self.description.schema != expected:
            raise SchemaMismatch(
                f"{self.directory.reference} has schema {self.description.schema} of {self.label}, this version reads "
                f"{expected}: run the stage {self.description.stage!r} again"
            )

    def totals(self) -> dict[str, Any]:
        """Counts over all units: inputs, successes, failures, and failures by cause."""
        causes = Counter(failure.cause for record in self.records for failure in record.failures)
        inputs = sum(record.num_inputs for record in self.records)
        failures = sum(causes.values())
        return {
            "units": len(self.records),
            "inputs": inputs,
            "successes": inputs - failures,
            "failures": failures,
            "causes": dict(sorted(causes.items())),
        }

    def seal(self) -> dict[str, Any]:
        """Check that every planned unit is committed with the planned fingerprint and number of inputs, and seal.

        Returns:
            The totals.

        Raises:
            NotSealed: a unit is open.
            Corrupt: a record is not the one that was planned.
        """
        for record in self.records:
            planned = self.description.units[record.unit_id]
            if (record.fingerprint, record.num_inputs) != (planned.fingerprint, planned.num_inputs):
                raise Corrupt(
                    f"{self.directory.commit_path(record.unit_id)}: fingerprint {record.fingerprint} with "
                    f"{record.num_inputs} inputs, planned were {planned.fingerprint} with {planned.num_inputs}; "
                    "delete the file and run again"
                )
        totals = self.totals()
        publish(self.directory.seal_path, pretty_json(totals))
        return totals

    def damaged_files(self) -> list[str]:
        """Re-hash everything that is committed.

        Returns:
            One line for each file that is missing, cannot be read or differs: what, where, got, expected, what to do.
        """
        problems = []
        for record in self.records:
            for file in record.files:
                if problem := self._problem(record, file):
                    records = " and ".join(map(str, self._records_of(record)))
                    problems.append(
                        f"{self.path(file)}: {problem}; delete {records} and run again: its unit is then redone"
                    )
        return problems

    def _problem(self, record: CommitRecord, file: CommittedFile) -> str:
        """What is wrong with a committed file; '' if nothing is."""
        try:
            found = hash_file(self.path(file))
        except FileNotFoundError:
            return f"missing, unit {record.unit_id} committed it"
        except OSError as error:
            return f"cannot be read ({error.strerror}: check the disk and the permissions first)"
        return "" if found == file.hash else f"hash {found}, committed was {file.hash}"

    def _records_of(self, record: CommitRecord) -> list[Path]:
        """This unit's commit record and those of all artifacts that share it: its file would be adopted from them."""
        others = (
            directory.commit_path(record.unit_id)
            for directory in Store(self.directory.root).artifacts(self.directory.kind)
        )
        shared = [path for path in others if path.is_file() and path.read_bytes() == record.to_bytes()]
        own = self.directory.commit_path(record.unit_id)
        return [own, *(path for path in shared if path != own)]


def require_sealed(artifact: Artifact) -> Artifact:
    """The artifact, if it may be read.

    Raises:
        NotSealed: it is unfinished.
    """
    if not artifact.is_sealed:
        raise NotSealed(f"{artifact.directory.reference} is not finished: run `fabula run` to the end first")
    return artifact
