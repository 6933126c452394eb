"""One benchmark measured: its files read and joined, the encoder opened if the protocol asks for it, numbers made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.artifacts.manifest import read_members
from stages.artifacts.sealed import Artifact
from stages.datasets.membership import Membership, find_members, unit_of_videos
from stages.errors import Corrupt
from stages.evaluation.benchmarks import THUMBNAILS, Benchmark, failures_of
from stages.evaluation.encoding import DatasetEncoder
from stages.evaluation.features import FeatureSource
from stages.evaluation.fitting.workspace import Workspace
from stages.evaluation.material import Material
from stages.evaluation.protocols.registry import PROTOCOLS
from stages.evaluation.records import EncoderFacts, ProtocolResult, Subject
from stages.evaluation.report import FailureCount, Provenance, ReportContent
from stages.evaluation.scoring import ProtocolSettings
from stages.media.thumbnail_reader import Thumbnails
from stages.training.batch_encoder import OpenedEncoder
from stages.training.choice import EncoderSettings, describe_features
from stages.training.trained_on import UNRECORDED

_FEATURES = "features."


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTools:
    """What a benchmark is measured with.

    Attributes:
        artifacts: sealed, by label.
        open_encoder: opens the run's encoder; called only for a protocol that asks for one.
        encoder_settings: how it is fed.
        trained_on: manifest ids of the videos that the encoder was trained on, given whether its weights are random;
            UNRECORDED among them if nobody wrote down all.
        workspace: of protocols that fit something.
    """

    artifacts: Mapping[str, Artifact]
    open_encoder: Callable[[], OpenedEncoder]
    encoder_settings: EncoderSettings
    trained_on: Callable[[bool], frozenset[str]]
    workspace: Workspace


def measure_benchmark(
    benchmark: Benchmark, labels: Sequence[str], tools: BenchmarkTools, settings: ProtocolSettings
) -> ReportContent:
    """Measure one benchmark.

    Args:
        benchmark: which.
        labels: of the artifacts that its protocol reads, the features first.
        tools: what it is measured with.
        settings: bootstrap and index.

    Returns:
        Everything that the files of the unit hold; a set that cannot be measured says so.

    Raises:
        ConfigError: a file is not what the data set distributes, or the protocol's numbers do not suit the encoder.
        Corrupt: a vector gives a score that is no number.
    """
    artifacts = {label: tools.artifacts[label] for label in labels}
    units = [unit_of_videos(artifact) for artifact in artifacts.values()]
    found = find_members(benchmark.dataset, benchmark.split, read_members(tools.artifacts["manifest"]), units)
    features = FeatureSource(artifacts[labels[0]], found.usable) if labels[0].startswith(_FEATURES) else None
    if features is not None:
        found = _without_damaged(found, features.damaged_throughout())
    encoder = None
    if benchmark.protocol.asks_encoder and features is not None:
        encoder = DatasetEncoder(tools.open_encoder(), tools.encoder_settings, features)
    material = Material(
        dataset=found.annotations,
        usable=found.annotations.only(found.usable),
        split=benchmark.split,
        video_ids=found.usable,
        feature_source=features,
        encoder=encoder,
        artifacts=artifacts,
        workspace=tools.workspace,
    )
    return _content(benchmark, found, material, tools, settings)


def _without_damaged(found: Membership, damaged: frozenset[str]) -> Membership:
    usable = {source_id: video_id for source_id, video_id in found.usable.items() if source_id not in damaged}
    return replace(found, joined=found.joined.without_damaged(damaged), usable=usable)


def _run(benchmark: Benchmark, material: Material, settings: ProtocolSettings) -> list[ProtocolResult]:
    try:
        return PROTOCOLS[type(benchmark.protocol)](material, benchmark.protocol, settings)
    except ValueError as error:
        raise Corrupt(f"{benchmark.where} cannot be scored: {error}; run `fabula verify`") from error


def _content(
    benchmark: Benchmark,
    found: Membership,
    material: Material,
    tools: BenchmarkTools,
    settings: ProtocolSettings,
) -> ReportContent:
    results = _run(benchmark, material, settings)
    encoder = benchmark.protocol.encoder_facts() or _encoder_facts(material)
    trained = tools.trained_on(encoder.random_weights) if material.encoder else _trained_frozen(encoder)
    seen = tuple(source_id for source_id, video_id in found.joined.video_ids.items() if video_id in trained)
    return ReportContent(
        subject=Subject(
            title=f"{benchmark.name}: {found.annotations.name}",
            split=benchmark.split,
            source=found.joined.sentence(),
            encoder=encoder,
            num_videos=len(found.joined.video_ids),
            missing=found.joined.missing,
            trained_on=seen,
            training_known=UNRECORDED not in trained,
        ),
        results=results,
        settings=settings,
        thumbnails=Thumbnails(tools.artifacts[THUMBNAILS]) if _has_pictures(benchmark, tools) else None,
        failures=_failures(found, {"manifest": tools.artifacts["manifest"], **material.artifacts}),
        provenance=_provenance(benchmark, found),
    )


def _has_pictures(benchmark: Benchmark, tools: BenchmarkTools) -> bool:
    return benchmark.protocol.shows_pictures and THUMBNAILS in tools.artifacts


def _encoder_facts(material: Material) -> EncoderFacts:
    """The encoder, or the frozen features alone where a protocol asks for no encoder."""
    described = [describe_features(artifact) for label, artifact in material.artifacts.items() if _is_features(label)]
    features = "; ".join(described)
    if material.encoder is not None:
        return material.encoder.facts(features)
    random = any("random" in words for words in described)
    return EncoderFacts(
        description="none: frozen features alone", random_weights=random, features=features, normalised=False
    )


def _trained_frozen(encoder: EncoderFacts) -> frozenset[str]:
    """Videos that frozen weights have seen: nobody says what trained ones did."""
    return frozenset(() if encoder.random_weights else (UNRECORDED,))


def _is_features(label: str) -> bool:
    return label.startswith(_FEATURES)


def _failures(found: Membership, artifacts: Mapping[str, Artifact]) -> list[FailureCount]:
    messages: dict[tuple[str, str], list[str]] = {}
    for label, cause, message in failures_of(found, artifacts):
        messages.setdefault((label, cause), []).append(message)
    return [
        FailureCount(artifact=label, cause=cause, count=len(said), example=said[0])
        for (label, cause), said in messages.items()
    ]


def _provenance(benchmark: Benchmark, found: Membership) -> list[Provenance]:
    """What was read: files by name and hash, never by where they lie."""
    files = [
        Provenance(name=f"{field}: {name}", value=f"xxh3 {digest[:12]}")
        for field, hashes in benchmark.dataset.content().items()
        for name, digest in list(hashes.items())[:3]
    ]
    numbers = ", ".join(f"{name} {value}" for name, value in _flat(benchmark.protocol.identity()))
    remarks = [Provenance(name="remark", value=remark) for remark in found.annotations.remarks[:10]]
    counts = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in found.joined.counts().items())
    return [*files, Provenance(name="protocol", value=numbers), Provenance(name="videos", value=counts), *remarks]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of settings, those of a section behind its own name."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", found) for inner, found in _flat(value))
        else:
            yield name, value
