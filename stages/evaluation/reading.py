"""From sealed artifacts to an `EvaluationSet` and to what the report says about them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.artifacts.report_sections import SECTIONS, Section, section_of_json
from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import matrix, read_table
from stages.errors import SchemaMismatch
from stages.evaluation.assembly import TimedVectors, assemble_videos
from stages.evaluation.records import EncoderFacts, EvaluationSet
from stages.evaluation.report import FailureCount, Provenance
from stages.retrieval.content import EMBEDDINGS_SCHEMA, all_facts
from stages.training.embedding_tables import NARRATIONS, NARRATIONS_SCHEMA, WINDOWS, WINDOWS_SCHEMA
from stages.training.trained_on import UNRECORDED

TRAIN_VIDEOS = "train_videos"
"""Key of a checkpoint's commit record: what its `trained_on.txt` holds."""

_ENCODER = ("description", "random_weights", "features", "normalised")


def read_evaluation_set(
    embeddings: Artifact, checkpoint: Artifact | None, chosen: Mapping[str, Any], split: str
) -> EvaluationSet:
    """Read the vectors of a split; rows of other videos are dropped shard by shard.

    Args:
        embeddings: Sealed.
        checkpoint: The encoder that this run trained, if it did.
        chosen: `video_ids`, `pairs` and `source` of the split, and what a given checkpoint says that it was trained
            on, as the unit's payload holds them.
        split: Its name.

    Returns:
        The split.

    Raises:
        SchemaMismatch: an artifact has another schema, or does not say which encoder made it.
        Corrupt: a table cannot be read.
    """
    embeddings.check_schema(EMBEDDINGS_SCHEMA)
    video_ids: Sequence[str] = chosen["video_ids"]
    windows = _read_timed(embeddings, WINDOWS, "window_id", set(video_ids))
    narrations = _read_timed(embeddings, NARRATIONS, "narration_id", set(video_ids))
    shown, told = set(windows.video_ids), set(narrations.video_ids)
    encoder = read_encoder_facts(embeddings)
    trained = trained_videos(checkpoint, chosen, random_weights=encoder.random_weights)
    return EvaluationSet(
        split=split,
        split_source=chosen["source"],
        encoder=encoder,
        videos=assemble_videos(video_ids, windows, narrations),
        pairs={pair: (ids[0], ids[1]) for pair, ids in chosen["pairs"].items()},
        without_features=tuple(video_id for video_id in video_ids if video_id not in shown),
        without_narrations=tuple(video_id for video_id in video_ids if video_id in shown and video_id not in told),
        trained_on=tuple(video_id for video_id in video_ids if video_id in trained),
        training_known=UNRECORDED not in trained,
    )


def read_encoder_facts(embeddings: Artifact) -> EncoderFacts:
    """Read which encoder made the embeddings.

    Raises:
        SchemaMismatch: neither the artifact nor its units say so.
    """
    encoder = all_facts(embeddings).get("encoder", {})
    if missing := [name for name in _ENCODER if name not in encoder]:
        raise SchemaMismatch(
            f"{embeddings.directory.reference} does not say {', '.join(missing)} of its encoder: run the stage "
            f"{embeddings.description.stage!r} again"
        )
    return EncoderFacts(**{name: encoder[name] for name in _ENCODER})


def count_failures(artifacts: Mapping[str, Artifact]) -> list[FailureCount]:
    """Count the failures of every artifact by cause, with the message of the first as an example."""
    counts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for label, artifact in artifacts.items():
        for record in artifact.records:
            for failure in record.failures:
                counts[label, failure.cause].append(failure.message)
    return [
        FailureCount(artifact=label, cause=cause, count=len(messages), example=messages[0])
        for (label, cause), messages in sorted(counts.items())
    ]


def provenance(artifacts: Mapping[str, Artifact]) -> list[Provenance]:
    """Name the artifacts that were read, and how many inputs each of them used."""
    facts = []
    for label, artifact in artifacts.items():
        totals, made = artifact.totals(), artifact.description
        used = f"{totals['successes']} of {totals['inputs']} inputs used"
        facts.append(
            Provenance(name=label, value=f"{artifact.directory.reference}, {made.stage} version {made.version}, {used}")
        )
    return facts


def sections_of(artifacts: Mapping[str, Artifact]) -> list[Section]:
    """What the stages that made the artifacts want the report to show."""
    return [
        section_of_json(value)
        for artifact in artifacts.values()
        for record in artifact.records
        for value in record.info.get(SECTIONS, ())
    ]


def trained_videos(checkpoint: Artifact | None, given: Mapping[str, Any], *, random_weights: bool) -> frozenset[str]:
    """Videos that the encoder was trained on; UNRECORDED among them if there are others that nobody wrote down.

    Args:
        checkpoint: the encoder that this run trained, if it did.
        given: `trained_on`: what a checkpoint of the user's says of itself, None without one.
        random_weights: whether the encoder's weights were never trained.
    """
    if checkpoint is not None:
        listed = (record.info.get(TRAIN_VIDEOS, (UNRECORDED,)) for record in checkpoint.records)
        return frozenset(video_id for video_ids in listed for video_id in video_ids)
    if given["trained_on"] is not None:
        return frozenset(given["trained_on"])
    return frozenset(() if random_weights else (UNRECORDED,))


def _read_timed(embeddings: Artifact, name: str, id_column: str, wanted: set[str]) -> TimedVectors:
    columns: dict[str, list[Any]] = {key: [] for key in (NARRATIONS_SCHEMA if name == NARRATIONS else WINDOWS_SCHEMA)}
    vectors = []
    for path in embeddings.paths(name):
        table = read_table(path, [*columns, "vector"])
        rows = [row for row, video_id in enumerate(table.column("video_id").to_pylist()) if video_id in wanted]
        if not rows:
            continue
        table = table.take(rows)
        for key, values in columns.items():
            values += table.column(key).to_pylist()
        vectors.append(matrix(table, "vector"))
    return TimedVectors(
        ids=columns[id_column],
        video_ids=columns["video_id"],
        index=np.array(columns["index"], dtype=np.int64),
        spans=np.array([columns["start_s"], columns["end_s"]], dtype=np.float64).T.reshape(-1, 2),
        vectors=np.concatenate(vectors) if vectors else np.zeros((0, 0), dtype=np.float32),
        texts=columns.get("text", ()),
        paragraph_index=np.array(columns["paragraph_index"], dtype=np.int64) if name == NARRATIONS else None,
    )
