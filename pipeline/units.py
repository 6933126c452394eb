"""What there is to do: fingerprints of units and artifacts, what is done, what can be adopted, and why not."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.executors.base import Job
from stages.artifacts.commit import is_adoptable
from stages.artifacts.durable import replace
from stages.artifacts.hashing import fingerprint, pretty_json
from stages.artifacts.layout import ArtifactDir, Store
from stages.artifacts.sealed import Artifact, Description, PlannedUnit, read_description
from stages.contract import Inputs, Output, Stage, Unit

_PART_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArtifact:
    """One artifact that a stage is going to make.

    Attributes:
        directory: where.
        description: what.
        adoptable: units that another artifact committed with the same fingerprint, by unit id.
        reasons: for each unit that has to be done, why, by unit id.
    """

    directory: ArtifactDir
    description: Description
    adoptable: Mapping[str, ArtifactDir]
    reasons: Mapping[str, str]

    @property
    def label(self) -> str:
        """Its name in the run."""
        return self.description.label

    @property
    def num_done(self) -> int:
        """Units that are committed already."""
        return len(self.description.units) - len(self.adoptable) - len(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage with its units and what is open of them."""

    stage: Stage
    units: Sequence[Unit]
    artifacts: Sequence[PlannedArtifact]

    def jobs(self) -> list[Job]:
        """The units that have to be done, each with the labels that are still to be made."""
        jobs = []
        for unit in self.units:
            missing = [artifact for artifact in self.artifacts if unit.unit_id in artifact.reasons]
            if missing:
                jobs.append(
                    Job(
                        unit=unit,
                        targets={artifact.label: artifact.directory for artifact in missing},
                        fingerprints={a.label: a.description.units[unit.unit_id].fingerprint for a in missing},
                    )
                )
        return jobs


class Generations:
    """How often each unit was reopened by `fabula retry`, by the fingerprint that it has at generation 0."""

    def __init__(self, store: Store) -> None:
        self._path = store.generations_path
        self._counts: dict[str, int] = json.loads(self._path.read_bytes()) if self._path.is_file() else {}

    def of(self, base: str) -> int:
        """The generation of a unit, 0 at first."""
        return self._counts.get(base, 0)

    def raise_all(self, bases: Sequence[str]) -> None:
        """Reopen units."""
        for base in bases:
            self._counts[base] = self.of(base) + 1
        replace(self._path, pretty_json(self._counts))


def plan_stage(stage: Stage, inputs: Inputs) -> StagePlan:
    """Fingerprint a stage's units and find what is open.

    Args:
        stage: whose inputs are sealed.
        inputs: those.
    """
    units = list(stage.units(inputs))
    generations = Generations(inputs.store)
    planned = []
    for output in stage.outputs():
        description = _describe(stage, output, units, generations)
        directory = inputs.store.artifact(output.kind, description.fingerprint)
        planned.append(_plan_artifact(inputs, directory, description))
    return StagePlan(stage=stage, units=units, artifacts=planned)


def waves(jobs: Sequence[Job]) -> list[list[Job]]:
    """Sort jobs by what their units come after: each wave reads only what earlier ones, or earlier runs, committed.

    Raises:
        ValueError: units wait for each other.
    """
    waiting, sorted_waves = list(jobs), list[list[Job]]()
    while waiting:
        open_units = {job.unit.unit_id for job in waiting}
        wave = [job for job in waiting if open_units.isdisjoint(job.unit.after)]
        if not wave:
            raise ValueError(f"the units {sorted(open_units)} wait for each other")
        sorted_waves.append(wave)
        waiting = [job for job in waiting if not open_units.isdisjoint(job.unit.after)]
    return sorted_waves


def base_fingerprint(stage: Stage, output: Output, unit: Unit) -> str:
    """The fingerprint of a unit for one output, at generation 0."""
    if output.label in unit.takes_over:
        return unit.takes_over[output.label]
    return fingerprint(
        {
            "stage": stage.name,
            "version": stage.version,
            "schema": output.schema,
            "output": output.label,
            "unit": unit.unit_id,
            "identity": dict(unit.identities[output.label]),
        }
    )


def _describe(stage: Stage, output: Output, units: Sequence[Unit], generations: Generations) -> Description:
    planned = {}
    for unit in units:
        base = base_fingerprint(stage, output, unit)
        generation = generations.of(base)
        parts = {name: fingerprint(part)[:_PART_DIGITS] for name, part in unit.identities[output.label].items()}
        planned[unit.unit_id] = PlannedUnit(
            fingerprint=fingerprint([base, generation]) if generation else base,
            parts=parts | ({"retry": str(generation)} if generation else {}),
            num_inputs=len(unit.inputs),
        )
    return Description(
        label=output.label,
        stage=stage.name,
        version=stage.version,
        schema=output.schema,
        fingerprint=fingerprint([output.label, {unit_id: unit.fingerprint for unit_id, unit in planned.items()}]),
        about=output.about,
        units=planned,
    )


def _plan_artifact(inputs: Inputs, directory: ArtifactDir, description: Description) -> PlannedArtifact:
    missing = [unit_id for unit_id in description.units if not directory.commit_path(unit_id).is_file()]
    if not missing:
        return PlannedArtifact(directory=directory, description=description, adoptable={}, reasons={})
    adoptable = _find_adoptable(inputs.store, directory, description, missing)
    before = next(iter(inputs.previous.get(description.label, ())), None)
    reasons = {unit_id: _reason(description, unit_id, before) for unit_id in missing if unit_id not in adoptable}
    return PlannedArtifact(directory=directory, description=description, adoptable=adoptable, reasons=reasons)


def _find_adoptable(
    store: Store, directory: ArtifactDir, description: Description, missing: Sequence[str]
) -> dict[str, ArtifactDir]:
    wanted: dict[str, str] = {description.units[unit_id].fingerprint: unit_id for unit_id in missing}
    found: dict[str, ArtifactDir] = {}
    for other in store.artifacts(directory.kind):
        if other.name == directory.name:
            continue
        for unit_id, unit in read_description(other.description_path).units.items():
            if unit_id in found or wanted.get(unit.fingerprint) != unit_id:
                continue
            if is_adoptable(other, unit_id, unit.fingerprint):
                found[unit_id] = other
    return found


def _reason(description: Description, unit_id: str, before: Artifact | None) -> str:
    if before is None:
        return "never made"
    earlier = before.description.units.get(unit_id)
    now = description.units[unit_id]
    if earlier is None:
        return "new unit"
    if before.description.version != description.version:
        return f"stage version {before.description.version} -> {description.version}"
    changed = sorted(name for name in {*earlier.parts, *now.parts} if earlier.parts.get(name) != now.parts.get(name))
    if changed:
        return f"changed: {', '.join(changed)}"
    return "not finished"


def summarise_reasons(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """The unit ids by reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for unit_id, reason in reasons.items():
        by_reason[reason].append(unit_id)
    return dict(sorted(by_reason.items()))


def plan_as_json(plan: StagePlan) -> dict[str, Any]:
    """A stage's plan for `fabula plan --json` and for a run's plan.json."""
    return {
        "stage": plan.stage.name,
        "artifacts": [
            {
                "label": artifact.label,
                "artifact": artifact.directory.reference,
                "units": len(artifact.description.units),
                "done": artifact.num_done,
                "adopt": len(artifact.adoptable),
                "run": len(artifact.reasons),
                "why": summarise_reasons(artifact.reasons),
            }
            for artifact in plan.artifacts
        ],
    }
