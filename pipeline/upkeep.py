"""Looking at a store and keeping it: status, verify, retry, prune."""

import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.runs import list_runs, planned_artifacts
from pipeline.units import Generations, base_fingerprint
from stages.artifacts.durable import left_aside
from stages.artifacts.layout import DOOMED, ArtifactDir, Store
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Stage
from stages.errors import ConfigError


def newest_artifacts(store: Store, name: str) -> list[Artifact]:
    """The newest artifact of each label that a configuration makes, sealed or not, in stage order.

    A run that stopped before a stage, or was told to, says nothing of what later stages made before.
    """
    plans = [plan for run in list_runs(store) if (plan := run.plan()).get("name") == name and plan["stages"]]
    found: dict[str, Artifact] = {}
    for plan in plans:
        for label, artifact in _planned(store, plan):
            found.setdefault(label, artifact)
    return [found[label] for label in (plans[0]["makes"] if plans else ()) if label in found]


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
    """Artifacts that no configuration needs, what kills left in the others, and what an earlier deletion left.

    A configuration needs, of each label that it makes, the newest sealed artifact and what newer runs have begun.
    Folders that hold no artifact are not ours: the user may have put the store among other things.

    Raises:
        ConfigError: no run is recorded, so nobody knows what is needed.
    """
    plans = [plan for run in list_runs(store) if (plan := run.plan())]
    if not plans:
        raise ConfigError(
            f"root = {store.root}: its folder runs/ records no run, so all artifacts look unneeded; do `fabula run` "
            "first, which adopts what is there"
        )
    kept = _needed(store, plans)
    garbage: list[Path] = []
    for kind in store.kinds():
        garbage += sorted((store.root / kind).glob(f"{DOOMED}*"))
        for directory in store.artifacts(kind):
            if directory.reference not in kept:
                garbage.append(directory.path)
            else:
                garbage += _left_in(directory)
    return garbage


def _left_in(directory: ArtifactDir) -> list[Path]:
    """What kills have left in an artifact that is needed; the scratch of a unit that is still open is not among it."""
    left = [*left_aside(directory.path), *sorted(directory.path.glob(f"{DOOMED}*"))]
    if directory.staging_dir.is_dir() and any(directory.staging_dir.iterdir()):
        left.append(directory.staging_dir)
    scratches = sorted(directory.scratches_dir.glob("*"))
    return left + [path for path in scratches if directory.commit_path(path.name).is_file()]


def _needed(store: Store, plans: Sequence[Mapping[str, Any]]) -> set[str]:
    """References of the artifacts that some configuration needs, by the plans of its runs, newest first."""
    open_labels: dict[str, set[str]] = {}
    needed: set[str] = set()
    for plan in plans:
        if not plan["stages"]:
            continue
        wanted = open_labels.setdefault(plan["name"], set(plan["makes"]))
        for label, artifact in _planned(store, plan):
            if label in wanted:
                needed.add(artifact.directory.reference)
                if artifact.is_sealed:
                    wanted.discard(label)
    return needed


def delete(paths: Sequence[Path]) -> None:
    """Delete folders and files: a folder loses its name first, so that a kill leaves none that looks whole."""
    for path in paths:
        if path.is_file():
            path.unlink()
            continue
        doomed = path if path.name.startswith(DOOMED) else path.with_name(f"{DOOMED}{path.name}-{uuid.uuid4().hex}")
        path.rename(doomed)
        shutil.rmtree(doomed)


def num_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; hard links count once each, as they appear."""
    files: Iterable[Path] = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _planned(store: Store, plan: Mapping[str, Any]) -> Iterator[tuple[str, Artifact]]:
    """The artifacts of a plan that are there, by label, in stage order."""
    for label, reference in planned_artifacts(plan).items():
        kind, _, name = reference.partition("/")
        directory = ArtifactDir(store.root, kind, name)
        if directory.description_path.is_file():
            yield label, Artifact(directory)
