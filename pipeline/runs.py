"""The history of a store: one folder a run, with its resolved configuration, its plan and its events."""

import contextlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.artifacts.durable import replace
from stages.artifacts.hashing import pretty_json
from stages.artifacts.layout import ArtifactDir, Store
from stages.artifacts.sealed import Artifact


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a configuration.

    Attributes:
        path: its folder below `runs/`.
    """

    path: Path

    @property
    def events_path(self) -> Path:
        """What happened."""
        return self.path / "events.jsonl"

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def plan_path(self) -> Path:
        """What it planned: written stage by stage, before the stage's first unit."""
        return self.path / "plan.json"

    def plan(self) -> dict[str, Any]:
        """What was planned so far; empty for a run that was killed before it planned anything."""
        try:
            plan: dict[str, Any] = json.loads(self.plan_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return {"makes": list(planned_artifacts(plan)), **plan}

    def media(self) -> Path | None:
        """Where the configuration says that its media lie; None if it cannot be read."""
        try:
            return Path(tomllib.loads(self.config_path.read_text(encoding="utf-8"))["ingest"]["media"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_plan(self, name: str, stages: Sequence[dict[str, Any]], makes: Sequence[str]) -> None:
        """Record the plan.

        Args:
            name: the configuration's.
            stages: as planned so far.
            makes: labels of all that the configuration makes, also by stages that are not planned yet or not wanted.
        """
        replace(self.plan_path, pretty_json({"name": name, "makes": list(makes), "stages": list(stages)}))


def start_run(store: Store, config_fingerprint: str, config_toml: bytes) -> Run:
    """Make the folder of a new run; no two share one, even if they begin in the same millisecond."""
    store.runs_dir.mkdir(parents=True, exist_ok=True)
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        run = Run(store.runs_dir / f"{stamp}-{config_fingerprint[:4]}")
        with contextlib.suppress(FileExistsError):
            run.path.mkdir()
            break
    replace(run.config_path, config_toml)
    return run


def list_runs(store: Store) -> list[Run]:
    """All runs of a store, newest first."""
    if not store.runs_dir.is_dir():
        return []
    return [Run(path) for path in sorted(store.runs_dir.iterdir(), reverse=True) if path.is_dir()]


def planned_artifacts(plan: Mapping[str, Any]) -> dict[str, str]:
    """`kind/name` of every artifact of a plan, by label."""
    return {
        artifact["label"]: artifact["artifact"] for stage in plan.get("stages", ()) for artifact in stage["artifacts"]
    }


def sealed_by_label(store: Store, name: str) -> dict[str, list[Artifact]]:
    """Sealed artifacts that runs of a configuration made, by label, newest first.

    Args:
        store: where.
        name: the configuration's name.
    """
    found: dict[str, list[Artifact]] = {}
    seen: set[str] = set()
    for run in list_runs(store):
        plan = run.plan()
        if plan.get("name") != name:
            continue
        for label, reference in planned_artifacts(plan).items():
            artifact = _artifact(store, reference)
            if reference not in seen and artifact.is_sealed:
                found.setdefault(label, []).append(artifact)
            seen.add(reference)
    return found


def newest_of_media(store: Store, label: str, is_theirs: Callable[[Path], bool]) -> Artifact | None:
    """The newest sealed artifact of a label that a run on some media made, whatever its configuration is called.

    Args:
        store: where.
        label: which.
        is_theirs: whether the media of a run are those.
    """
    for run in list_runs(store):
        reference = planned_artifacts(run.plan()).get(label)
        if reference is None or not (artifact := _artifact(store, reference)).is_sealed:
            continue
        if (media := run.media()) is not None and is_theirs(media):
            return artifact
    return None


def _artifact(store: Store, reference: str) -> Artifact:
    kind, _, directory = reference.partition("/")
    return Artifact(ArtifactDir(store.root, kind, directory))
