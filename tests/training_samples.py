"""A small sealed store to train and embed on: features that show steps, narrations that say them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifacts import manifest
from stages.artifacts.commit import StagedOutput
from stages.artifacts.durable import publish
from stages.artifacts.hashing import fingerprint
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact, Description, PlannedUnit
from stages.artifacts.shards import ShardWriter
from stages.artifacts.tables import rows_table, write_table
from stages.contract import Failure, Inputs, Stage, Unit
from stages.media.jpeg import encode_jpeg
from stages.text import artifact as text

STEPS = ("cut the onion", "fry the egg", "wash a plate", "bake some bread", "stir hot soup", "peel two carrots")
DIM = 16
ROW_S = 2.0
ROWS_A_SCENE = 3


def rows_of(position: int, scenes: int = 3) -> tuple[np.ndarray, list[int]]:
    """Feature rows of a video, nearly constant as those of random weights are, and its steps."""
    generator = np.random.default_rng(position)
    steps = [int(step) for step in generator.permutation(len(STEPS))[:scenes]]
    prototypes = np.random.default_rng(99).standard_normal((len(STEPS), DIM))
    shown = np.repeat(prototypes[steps], ROWS_A_SCENE, axis=0)
    return (1.0 + 0.02 * (shown + 0.1 * generator.standard_normal(shown.shape))).astype(np.float16), steps


def seal(
    store: Store,
    label: str,
    units: Mapping[str, Callable[[StagedOutput], None]],
    *,
    inputs: Mapping[str, tuple[str, ...]] | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Artifact:
    """Commit and seal an artifact whose units are written by these functions."""
    inputs = inputs or dict.fromkeys(units, ("x",))
    prints = {unit_id: (fingerprints or {}).get(unit_id, fingerprint([label, unit_id])) for unit_id in units}
    name = fingerprint([label, prints])
    directory = store.artifact(label.partition(".")[0], name)
    planned = {
        unit_id: PlannedUnit(fingerprint=prints[unit_id], parts={}, num_inputs=len(inputs[unit_id]))
        for unit_id in units
    }
    about = {"preset": {"name": "test"}, "weights": "random:seed=0"}
    description = Description(
        label=label, stage="test", version=1, schema=1, fingerprint=name, about=about, units=planned
    )
    publish(directory.description_path, description.to_bytes())
    for unit_id, write in units.items():
        out = StagedOutput(unit_id, {label: directory})
        write(out)
        out.commit({label: prints[unit_id]}, inputs[unit_id], [])
    artifact = Artifact(directory)
    artifact.seal()
    return artifact


def make_manifest(store: Store, num_videos: int) -> Artifact:
    def write(out: StagedOutput) -> None:
        rows = [
            {name: {"video_id": f"v{i:02d}", "position": i, "paths": [f"v{i:02d}.mp4"]}.get(name, default(kind))
             for name, kind in manifest.VIDEOS_SCHEMA.items()}
            for i in range(num_videos)
        ]  # fmt: skip
        write_table(out.create("manifest", manifest.VIDEOS), rows_table(manifest.VIDEOS_SCHEMA, rows))
        members = [
            {name: row.get(name, default(kind)) for name, kind in manifest.MEMBERS_SCHEMA.items()} for row in rows
        ]
        write_table(out.create("manifest", manifest.MEMBERS), rows_table(manifest.MEMBERS_SCHEMA, members))

    return seal(store, "manifest", {"00000": write})


def default(kind: Any) -> Any:
    return {"string": "", "bool": True, "list<element: string>": [], "list<item: string>": []}.get(str(kind), 1)


def make_features(
    store: Store, num_videos: int, *, per_unit: int = 8, damaged: Mapping[str, list[int]] | None = None, scenes: int = 3
) -> Artifact:
    """Feature shards of `per_unit` videos; `damaged` names rows by video id."""

    def writer(ids: list[int]) -> Callable[[StagedOutput], None]:
        def write(out: StagedOutput) -> None:
            with ShardWriter(out.create("features.s3d", "shards/s3d.tar")) as shard:
                for i in ids:
                    features, _ = rows_of(i, scenes)
                    starts = np.arange(len(features)) * ROW_S
                    mask = np.zeros(len(features), dtype=bool)
                    mask[(damaged or {}).get(f"v{i:02d}", [])] = True
                    shard.add(
                        f"v{i:02d}",
                        {
                            "s3d.npy": features,
                            "spans.npy": np.stack([starts, starts + ROW_S], axis=1),
                            "damaged.npy": mask,
                            "json": {"video_id": f"v{i:02d}"},
                        },
                    )

        return write

    groups = [list(range(start, min(start + per_unit, num_videos))) for start in range(0, num_videos, per_unit)]
    return seal(store, "features.s3d", {f"{n:05d}": writer(ids) for n, ids in enumerate(groups)})


def make_paragraphs(
    store: Store, num_videos: int, *, silent: tuple[str, ...] = (), extra: str = "", scenes: int = 3
) -> Artifact:
    """One narration a scene, all of a video in one paragraph; `extra` is said in addition in v00."""
    narrations, paragraphs = [], []
    for i in range(num_videos):
        video_id = f"v{i:02d}"
        if video_id in silent:
            continue
        _, steps = rows_of(i, scenes)
        scene_s = ROWS_A_SCENE * ROW_S
        for index, step in enumerate(steps):
            said = STEPS[step] + (extra if i == 0 and index == 0 else "")
            times = {"start_s": index * scene_s + 0.5, "end_s": (index + 1) * scene_s - 1.0}
            narrations.append(
                {"narration_id": text.narration_id(video_id, index), "video_id": video_id, "index": index,
                 "paragraph_index": 0, **times, "source_start_s": times["start_s"], "source_end_s": times["end_s"],
                 "text": said}
            )  # fmt: skip
        paragraphs.append(
            {"paragraph_id": text.paragraph_id(video_id, 0), "video_id": video_id, "index": 0, "start_s": 0.5,
             "end_s": narrations[-1]["end_s"], "first_narration": 0, "num_narrations": len(steps)}
        )  # fmt: skip

    def write(out: StagedOutput) -> None:
        write_table(out.create("paragraphs", text.NARRATIONS), rows_table(text.NARRATIONS_SCHEMA, narrations))
        write_table(out.create("paragraphs", text.PARAGRAPHS), rows_table(text.PARAGRAPHS_SCHEMA, paragraphs))

    content = fingerprint([narrations, paragraphs])
    return seal(store, "paragraphs", {"00000": write}, fingerprints={"00000": content})


def picture_of(position: int, number: int, side: int = 40) -> np.ndarray:
    """Frame `number` of a video: its own coloured pattern, drifting, which tells videos and moments apart."""
    y, x = np.mgrid[:side, :side] / side
    generator = np.random.default_rng(position)
    colours, waves = generator.uniform(0.2, 1, 3), generator.uniform(3, 14, 2)
    wave = np.sin(waves[0] * x + waves[1] * y + 0.4 * number) / 2 + 0.5
    return (255 * wave[..., None] * colours).astype(np.uint8)


def make_frames(store: Store, num_videos: int, *, num_frames: int = 9, few: tuple[str, ...] = ()) -> Artifact:
    """One shard of JPEGs; videos named by `few` have only five intact ones."""

    def write(out: StagedOutput) -> None:
        with ShardWriter(out.create("frames", "shards/frames.tar")) as shard:
            for i in range(num_videos):
                damaged = np.zeros(num_frames, dtype=bool)
                damaged[5:] = f"v{i:02d}" in few
                pictures = {f"f{n:05d}.jpg": encode_jpeg(picture_of(i, n), 90) for n in range(num_frames)}
                times = np.arange(num_frames) / 3
                shard.add(f"v{i:02d}", {**pictures, "times.npy": times, "damaged.npy": damaged, "json": {}})

    return seal(store, "frames", {"00000": write}, fingerprints={"00000": fingerprint([num_videos, num_frames, few])})


def make_inputs(root: Path, num_videos: int = 20, *, scenes: int = 3, **changes: Any) -> Inputs:
    """Sealed manifest, features and paragraphs of videos of so many scenes."""
    store = Store(root)
    features = {name: changes.pop(name) for name in ("per_unit", "damaged") if name in changes}
    artifacts = {
        "manifest": make_manifest(store, num_videos),
        "features.s3d": make_features(store, num_videos, scenes=scenes, **features),
        "paragraphs": make_paragraphs(store, num_videos, scenes=scenes, **changes),
    }
    return Inputs(store=store, artifacts=artifacts)


def do(stage: Stage, inputs: Inputs, *, on_progress: Any = None) -> tuple[Artifact, list[Failure]]:
    """Do all units of a stage in this process and seal what it makes."""
    (output,) = stage.outputs()
    units: list[Unit] = list(stage.units(inputs))
    prints = {unit.unit_id: fingerprint(unit.identities[output.label]) for unit in units}
    name = fingerprint(prints)
    directory = inputs.store.artifact(output.kind, name)
    planned = {u.unit_id: PlannedUnit(fingerprint=prints[u.unit_id], parts={}, num_inputs=len(u.inputs)) for u in units}
    description = Description(
        label=output.label, stage=stage.name, version=1, schema=1, fingerprint=name, about={}, units=planned
    )
    publish(directory.description_path, description.to_bytes())
    worker, failures = stage.open(replace(inputs, making={output.label: Artifact(directory)})), []
    for unit in units:
        out = StagedOutput(unit.unit_id, {output.label: directory}, on_progress)
        found = list(worker.process(unit, out))
        out.commit({output.label: prints[unit.unit_id]}, unit.inputs, found)
        failures += found
    worker.close()
    artifact = Artifact(directory)
    artifact.seal()
    return artifact, failures
