"""Looking at a store and keeping it: status, verify, retry, prune."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.runs import list_runs, planned_artifacts
from pipeline.units import Generations, base_fingerprint
from stages.artifacts.layout import ArtifactDir, Store
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Stage

_NO_ARTIFACTS = frozenset({"runs", "stat-cache"})


def newest_artifacts(store: Store, name: str) -> list[Artifact]:
    """The artifacts, sealed or not, of the newest run of a configuration that planned any, in stage order."""
    for run in list_runs(store):
        plan = run.plan()
        if plan.get("name") == name and plan["stages"]:
            directories = (_directory(store, reference) for reference in planned_artifacts(plan).values())
            return [Artifact(directory) for directory in directories if directory.description_path.is_file()]
    return []


def artifact_status(artifact: Artifact) -> dict[str, Any]:
    """What is committed, open and failed in an artifact."""
    records = [record for unit_id in artifact.description.units if (record := artifact.record(unit_id))]
    failures = [failure for record in records for failure in record.failures]
    return {
        "label": artifact.label,
        "artifact": artifact.directory.reference,
        "sealed": artifact.is_sealed,
        "units": len(artifact.description.units),
        "open": len(artifact.description.units) - len(records),
        "inputs": sum(unit.num_inputs for unit in artifact.description.units.values()),
        "successes": sum(record.num_successes for record in records),
        "failures": [{"input": f.input_id, "cause": f.cause, "state": f.state, "message": f.message} for f in failures],
        "about": dict(artifact.about),
    }


def verify_artifacts(artifacts: Iterable[Artifact]) -> dict[str, Any]:
    """Hash every committed file again."""
    problems: list[str] = []
    num_files = num_bytes = 0
    for artifact in artifacts:
        files = [file for record in artifact.records for file in record.files]
        num_files += len(files)
        num_bytes += sum(file.size_bytes for file in files)
        problems += artifact.damaged_files()
    return {"files": num_files, "bytes": num_bytes, "problems": problems}


def reopen_failed(store: Store, stages: Sequence[Stage], artifacts: dict[str, Artifact]) -> list[str]:
    """Raise the generation of every unit that holds a failure.

    Args:
        store: where.
        stages: of the configuration.
        artifacts: its newest sealed ones, by label.

    Returns:
        `stage/unit` of what will be done again.
    """
    generations = Generations(store)
    reopened, bases = [], []
    for stage in stages:
        if any(label not in artifacts for label in (*stage.needs, *(output.label for output in stage.outputs()))):
            continue
        inputs = Inputs(
            store=store, artifacts=artifacts, previous={label: [artifact] for label, artifact in artifacts.items()}
        )
        for output in stage.outputs():
            failed = {record.unit_id for record in artifacts[output.label].records if record.failures}
            for unit in stage.units(inputs):
                if unit.unit_id in failed:
                    bases.append(base_fingerprint(stage, output, unit))
                    reopened.append(f"{stage.name}/{unit.unit_id}")
    generations.raise_all(bases)
    return sorted(set(reopened))


def find_garbage(store: Store) -> list[Path]:
    """Artifacts that the newest run of no configuration planned, and staging folders."""
    kept: set[str] = set()
    named: set[str] = set()
    for run in list_runs(store):
        plan = run.plan()
        if plan and plan["name"] not in named:
            named.add(plan["name"])
            kept.update(planned_artifacts(plan).values())
    garbage = []
    for kind in sorted(path for path in store.root.iterdir() if path.is_dir() and path.name not in _NO_ARTIFACTS):
        for folder in sorted(path for path in kind.iterdir() if path.is_dir()):
            if f"{kind.name}/{folder.name}" not in kept:
                garbage.append(folder)
            elif (staging := ArtifactDir(store.root, kind.name, folder.name).staging_dir).is_dir():
                garbage.append(staging)
    return garbage


def delete(paths: Sequence[Path]) -> None:
    """Delete folders."""
    for path in paths:
        shutil.rmtree(path)


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder; hard links count once each, as they appear."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _directory(store: Store, reference: str) -> ArtifactDir:
    kind, _, name = reference.partition("/")
    return ArtifactDir(store.root, kind, name)
