"""A benchmark: one data set measured by one protocol, as one unit of the evaluation.

Planning reads its annotation files and joins them with the manifest, so that its fingerprint holds the videos that it
measures and nothing of the others: a corpus with one more video that it does not name leaves it as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from stages.artifacts.manifest import read_members
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, StageConfig
from stages.datasets.catalogue import AnyDataset
from stages.datasets.files import Split
from stages.datasets.membership import Membership, find_members, unit_of_videos
from stages.evaluation.expected import PublishedConfig
from stages.evaluation.layout import OWN_SET
from stages.evaluation.protocol_choice import AnyProtocol

THUMBNAILS = "thumbnails"
"""Label of the artifact that holds pictures of the videos."""


class Benchmark(StageConfig):
    """One data set and how it is measured.

    Attributes:
        name: of the unit, its files and its page.
        dataset: which files.
        protocol: how, with its numbers.
        split: which of the data set's videos are measured.
        published: rows of published tables to compare with.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    dataset: AnyDataset
    protocol: AnyProtocol
    split: Split = "test"
    published: tuple[PublishedConfig, ...] = ()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == OWN_SET:
            raise ValueError(f"{OWN_SET!r} is the run's own set of narrations; choose another name")
        return name

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"[[evaluate.benchmarks]] {self.name}:"


def failures_of(found: Membership, artifacts: Mapping[str, Artifact]) -> list[tuple[str, str, str]]:
    """Why measured videos have no features: (label, cause, message) of what failed in the artifacts that made them."""
    return sorted(
        (label, failure.cause, failure.message)
        for label, artifact in artifacts.items()
        for record in artifact.records
        for failure in record.failures
        if failure.input_id in found.unread
    )


def benchmark_identity(benchmark: Benchmark, labels: Sequence[str], inputs: Inputs) -> dict[str, Any]:
    """What decides a benchmark's numbers, beside the encoder and how sure they are.

    Args:
        benchmark: which.
        labels: of the artifacts that its protocol reads.
        inputs: sealed.

    Raises:
        ConfigError: as `find_members`.
    """
    unit_of = {label: unit_of_videos(inputs[label]) for label in labels}
    found = find_members(benchmark.dataset, benchmark.split, read_members(inputs["manifest"]), list(unit_of.values()))
    dataset = benchmark.dataset
    return {
        "dataset": dataset.model_dump(mode="json", exclude=set(dataset.paths())) | {"files": dataset.content()},
        "protocol": benchmark.protocol.identity(),
        "split": benchmark.split,
        "videos": [sorted(found.usable.items()), found.joined.counts()],
        "missing": {reason: list(source_ids) for reason, source_ids in found.joined.missing.items()},
        "failures": failures_of(found, {label: inputs[label] for label in ("manifest", *labels)}),
        "features": {label: _fingerprints(inputs[label], units, found.usable) for label, units in unit_of.items()},
        "pictures": _pictures(benchmark, inputs, found),
    }


def _pictures(benchmark: Benchmark, inputs: Inputs, found: Membership) -> list[str]:
    """The units whose thumbnails the page may show."""
    if not benchmark.protocol.shows_pictures or THUMBNAILS not in inputs.artifacts:
        return []
    thumbnails = inputs[THUMBNAILS]
    return _fingerprints(thumbnails, unit_of_videos(thumbnails), found.usable)


def _fingerprints(artifact: Artifact, unit_of: Mapping[str, str], usable: Mapping[str, str]) -> list[str]:
    wanted = {unit_of.get(video_id) for video_id in usable.values()}
    return [record.fingerprint for record in artifact.records if record.unit_id in wanted]
