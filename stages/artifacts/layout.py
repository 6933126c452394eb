"""Every path under a store's root, in one place."""

import os
from dataclasses import dataclass
from pathlib import Path

DIRECTORY_DIGITS = 12
"""Hex digits of a fingerprint that name an artifact's directory."""

FILE_DIGITS = 8
"""Hex digits of a content hash in a committed file's name."""

DOOMED = ".fabula-deleted-"
"""How the name of a folder begins that is being deleted: it is no artifact any more."""


@dataclass(frozen=True, slots=True)
class ArtifactDir:
    """The folder of one artifact.

    Attributes:
        root: the store's root.
        kind: e.g. `features`.
        name: the first digits of the artifact's fingerprint.
    """

    root: Path
    kind: str
    name: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / self.kind / self.name

    @property
    def reference(self) -> str:
        """How events and plans name it: `features/91d2...`."""
        return f"{self.kind}/{self.name}"

    @property
    def description_path(self) -> Path:
        """What the artifact is and which units it has; written before the work starts."""
        return self.path / "artifact.json"

    @property
    def seal_path(self) -> Path:
        """The totals; there only when every unit is committed."""
        return self.path / "seal.json"

    @property
    def commits_dir(self) -> Path:
        """One record a committed unit."""
        return self.path / "commits"

    def commit_path(self, unit_id: str) -> Path:
        """The record that makes the unit's files exist."""
        return self.commits_dir / f"{unit_id}.json"

    def attempts_path(self, unit_id: str) -> Path:
        """What was tried, one JSON line an attempt."""
        return self.path / "attempts" / f"{unit_id}.jsonl"

    @property
    def staging_dir(self) -> Path:
        """Half-written files; anything here may be deleted when no run is active."""
        return self.path / "staging"

    @property
    def scratches_dir(self) -> Path:
        """One scratch folder a unit that has one."""
        return self.path / "scratch"

    def scratch_dir(self, unit_id: str) -> Path:
        """What a unit keeps for itself over a kill; deleted when it commits."""
        return self.scratches_dir / unit_id


@dataclass(frozen=True, slots=True)
class Store:
    """The root folder of everything that Fabula writes."""

    root: Path

    def artifact(self, kind: str, fingerprint: str) -> ArtifactDir:
        """The folder for an artifact of this kind and fingerprint (hex, 12 digits or more)."""
        return ArtifactDir(self.root, kind, fingerprint[:DIRECTORY_DIGITS])

    def artifacts(self, kind: str) -> list[ArtifactDir]:
        """All folders of a kind that have been described, in name order."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith(DOOMED))
        found = (ArtifactDir(self.root, kind, name) for name in names)
        return [artifact for artifact in found if artifact.description_path.is_file()]

    def kinds(self) -> list[str]:
        """Every folder of the root that may hold artifacts; whether it does, `artifacts` says."""
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=True))

    @property
    def runs_dir(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def lock_path(self) -> Path:
        """Locked by whoever is at work in the store."""
        return self.runs_dir / ".lock"

    @property
    def stat_cache_dir(self) -> Path:
        """size, mtime and inode of files that were hashed: no artifact, may be deleted."""
        return self.root / "stat-cache"

    @property
    def generations_path(self) -> Path:
        """How often `fabula retry` reopened which unit."""
        return self.root / "generations.json"
