"""The full examination: the states that ingest and extract themselves came to, file by file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from stages.artifacts.manifest import read_videos
from stages.artifacts.sealed import Artifact
from stages.contract import Failure
from stages.doctor.records import TRUNCATED, FileState, State

DAMAGED, ENDS_EARLY, DECODE_ERRORS = "damaged_clips", "ends_early", "decode_errors"


class _Outcome(NamedTuple):
    state: State
    cause: str
    message: str


def apply_outcomes(files: Iterable[FileState], manifest: Artifact, made: Sequence[Artifact]) -> list[FileState]:
    """Give each file the state that its decoding came to.

    Args:
        files: as they were examined.
        manifest: that ingest made of them.
        made: what extract made of the manifest; a file is partial if it is for one of them.

    Returns:
        The files in the same order; one that neither artifact knows stays as it is.
    """
    outcomes = {f.input_id: _of_failure(f) for record in manifest.records for f in record.failures}
    by_video = _video_outcomes(made)
    for video in read_videos(manifest):
        outcomes.update({path: by_video[video.video_id] for path in video.paths})
    return [_with_outcome(file, outcomes.get(file.path)) for file in files]


def sample_facts(artifact: Artifact) -> list[Mapping[str, Any]]:
    """The `json` members of all samples of an artifact of extract."""
    from stages.artifacts.shards import read_member

    return [
        json.loads(read_member(artifact.path(file), member))
        for record in artifact.records
        for file in record.files
        for member in file.members
        if member.name.endswith(".json")
    ]


def _with_outcome(file: FileState, outcome: _Outcome | None) -> FileState:
    if outcome is None:
        return file
    return replace(file, state=outcome.state, cause=outcome.cause, message=outcome.message)


def _video_outcomes(made: Sequence[Artifact]) -> dict[str, _Outcome]:
    outcomes: dict[str, _Outcome] = {}
    for artifact in made:
        for record in artifact.records:
            outcomes.update({failure.input_id: _of_failure(failure) for failure in record.failures})
        for facts in sample_facts(artifact):
            if facts["video_id"] not in outcomes or outcomes[facts["video_id"]].state == "ok":
                outcomes[facts["video_id"]] = _of_sample(facts)
    return outcomes


def _of_failure(failure: Failure) -> _Outcome:
    return _Outcome(cast(State, failure.state), failure.cause, failure.message)


def _of_sample(facts: Mapping[str, Any]) -> _Outcome:
    if facts["status"] == "ok":
        return _Outcome("ok", "", "")
    reasons = {
        DAMAGED: facts["num_damaged"],
        ENDS_EARLY: facts["missing_after"],
        DECODE_ERRORS: facts.get("num_errors", 0),
    }
    cause = next((name for name, number in reasons.items() if number), TRUNCATED)
    rows = f"{facts['num_clips']} clips" if "num_clips" in facts else f"{facts['num_frames']} frames"
    message = (
        f"{facts['video_id']}: {facts['num_damaged']} of {rows} are damaged and masked, "
        f"{facts['missing_after']} look-ups lie behind its last frame, {facts.get('num_errors', 0)} decode errors"
    )
    return _Outcome("partial", cause, message)
