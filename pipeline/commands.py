"""What the commands do, between the command line and the engine."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import upkeep
from pipeline.config import ExecutorConfig, RunConfig, load_config, load_tables
from pipeline.executors.base import Executor, num_cores
from pipeline.locks import unused
from pipeline.plan import build_stages, check_files, earlier_artifacts, plan_run, resolve, select_stages
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, run_stages
from pipeline.runs import Run, planned_artifacts, sealed_by_label, start_run
from stages.artifacts.layout import ArtifactDir, Store
from stages.artifacts.sealed import Artifact, require_sealed
from stages.errors import ConfigError, NotSealed
from stages.extract import ExtractConfig
from stages.import_features import ImportFeatures, ImportFeaturesConfig
from stages.index import BUNDLE
from stages.ingest import IngestConfig
from stages.train import RUN

if TYPE_CHECKING:
    from stages.doctor.compare import Comparison
    from stages.doctor.records import Diagnosis
    from stages.evaluation.comparison import Difference
    from stages.evaluation.method_table import MethodTable
    from stages.evaluation.scoring import ProtocolSettings
    from stages.evaluation.seeds import PooledScore


_EXPORTED_UNITS = {"index": BUNDLE, "checkpoint": RUN}
"""The unit of each artifact that stands on its own outside of a store."""


def plan(config: RunConfig) -> list[dict[str, Any]]:
    """See `pipeline.plan.plan_run`."""
    config = resolve(config)
    stages = build_stages(config)
    check_files(stages)
    return plan_run(config, stages)


def run(config: RunConfig, *, only: str | None, until: str | None, rehash: bool) -> Outcome:
    """Run what is not done."""
    if only and until:
        raise ConfigError("--only and --until: give one of them")
    config = resolve(config)
    stages = build_stages(config, rehash=rehash)
    selected = select_stages(stages, only=only, until=until)
    check_files(selected)
    store = Store(config.root)
    with LineProgress() as view:
        context = RunContext(
            name=config.name,
            store=store,
            run=start_run(store, config.fingerprint(), config.to_toml()),
            make_executor=lambda: _make_executor(config.executor),
            view=view,
            makes=[output.label for stage in stages for output in stage.outputs()],
            previous=earlier_artifacts(config),
        )
        return run_stages(selected, context, only=only)


def _make_executor(config: ExecutorConfig) -> Executor:
    if config.kind == "inline":
        from pipeline.executors.inline import InlineExecutor

        return InlineExecutor(num_retries=config.retries)
    from pipeline.executors.ray import RayExecutor

    return RayExecutor(num_workers=config.workers or None, num_retries=config.retries)


def import_features(config: RunConfig, imported: ImportFeaturesConfig) -> Outcome:
    """Make a features artifact of files that others made, for runs whose configuration has this `imported`.

    The store does not put it into other configurations: what a run does is said by its own, and so can be taken back.
    """
    config = config.model_copy(update={"imported": imported})
    return run(config, only=None, until=ImportFeatures.name, rehash=False)


def doctor(path: Path | None, config: RunConfig | None, *, full: bool, seconds: float) -> "Diagnosis":
    """Examine a media folder, by default that of a configuration, as that would use it, or as the defaults would."""
    from pipeline.doctor import DoctorSettings, diagnose

    if config is not None:
        elsewhere = {} if path is None else {"media": path}
        config = resolve(config.model_copy(update={"ingest": config.ingest.model_copy(update=elsewhere)}))
        check_files(build_stages(config.model_copy(update={"imported": None})))  # whose files need not be hashed here
        ingest = config.ingest
    elif path is not None:
        ingest = IngestConfig(media=path.absolute())
    else:
        raise ConfigError("doctor: say what to examine: a media folder, or --config FILE")
    executor = config.executor if config else ExecutorConfig()
    settings = DoctorSettings(
        ingest=ingest,
        extract=config.extract if config else ExtractConfig(),
        executor=executor,
        full=full,
        calibration_s=seconds,
    )
    with LineProgress() as view:
        return diagnose(settings, make_executor=lambda: _make_executor(executor), view=view)


def compare(first: Path, second: Path) -> "Comparison":
    """Cosine statistics between two features artifacts."""
    from stages.doctor.compare import compare_features, open_features

    return compare_features(open_features(first), open_features(second))


def status(config: RunConfig) -> dict[str, Any]:
    """State of the newest run's artifacts."""
    artifacts = upkeep.newest_artifacts(Store(config.root), config.name)
    return {"name": config.name, "artifacts": [upkeep.artifact_status(artifact) for artifact in artifacts]}


def verify(config: RunConfig) -> dict[str, Any]:
    """Hash everything that the newest run's sealed artifacts hold."""
    artifacts = upkeep.newest_artifacts(Store(config.root), config.name)
    return upkeep.verify_artifacts(artifact for artifact in artifacts if artifact.is_sealed)


def retry(config: RunConfig) -> list[str]:
    """Reopen units that hold failures."""
    config = resolve(config)
    store = Store(config.root)
    newest = {label: artifacts[0] for label, artifacts in earlier_artifacts(config).items() if artifacts}
    return upkeep.reopen_failed(store, build_stages(config), newest)


def prune(config: RunConfig, *, delete: bool) -> dict[str, Any]:
    """Find, and if told delete, what no newest run needs."""
    store = Store(config.root)
    if not store.root.is_dir():
        raise ConfigError(f"root = {config.root}: there is no such store; nothing was made yet")
    with unused(store) if delete else nullcontext():
        garbage = upkeep.find_garbage(store)
        size = sum(upkeep.num_bytes(path) for path in garbage)
        if delete:
            upkeep.delete(garbage)
    return {"paths": [str(path.relative_to(store.root)) for path in garbage], "bytes": size, "deleted": delete}


def newest_artifact(config: RunConfig, label: str) -> Artifact:
    """The newest sealed artifact of a configuration.

    Raises:
        NotSealed: there is none.
    """
    return _newest_of(Store(config.root), config.name, label)


def find_newest(config: RunConfig, label: str) -> Artifact | None:
    """The newest sealed artifact of a configuration, if there is one."""
    return next(iter(sealed_by_label(Store(config.root), config.name).get(label, ())), None)


def _newest_of(store: Store, name: str, label: str) -> Artifact:
    found = sealed_by_label(store, name).get(label)
    if not found:
        raise NotSealed(f"{name}: there is no sealed {label} in {store.root}; run `fabula run` first")
    return found[0]


def export(config: RunConfig, label: str, folder: Path) -> list[str]:
    """Copy the newest artifact of a label into a folder, its files under their own names.

    Raises:
        ConfigError: the folder holds something already, or this artifact is nothing to take out.
        NotSealed: there is no such artifact.
    """
    artifact = newest_artifact(config, label)
    record = artifact.record(_EXPORTED_UNITS.get(label, "")) if label in _EXPORTED_UNITS else None
    if record is None:
        raise ConfigError(f"--label {label}: what can be taken out is {' or '.join(sorted(_EXPORTED_UNITS))}")
    _require_new(folder)
    for file in record.files:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path(file), target)
    return [file.name for file in record.files]


def import_checkpoint(file: Path, folder: Path, tokenizer: Path | None) -> tuple[str, list[str]]:
    """Write published weights in our layout into a folder.

    Returns:
        What they are, and the names of the files.

    Raises:
        ConfigError: the folder holds something already, or the file is of no layout that is known.
    """
    from stages.training.published import write_published

    _require_new(folder)
    what = write_published(file, folder, tokenizer)
    return what, sorted(path.name for path in folder.iterdir())


def import_captions(file: Path, folder: Path) -> dict[str, int]:
    """Write HowTo100M's captions as one transcript a video into a folder; how much there was.

    Raises:
        ConfigError: the folder holds something already, or the file is of no layout that is known.
    """
    from stages.datasets.howto100m import write_transcripts

    _require_new(folder)
    return asdict(write_transcripts(file, folder))


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--to {folder}: this is a file, or a folder that is not empty; name a new one")


def render(config: RunConfig, on_video: Callable[[int, int], None]) -> dict[str, Any]:
    """Render the generated corpus into the folder above the media folder."""
    from stages.corpus.render import VIDEOS_DIR, render_corpus

    if config.corpus is None:
        raise ConfigError(f"{config.name}: the configuration has no section [corpus]: there is nothing to render")
    if config.ingest.media.name != VIDEOS_DIR:
        raise ConfigError(f"[ingest] media = {config.ingest.media}: a rendered corpus lies in a folder '{VIDEOS_DIR}'")
    workers = config.executor.workers or num_cores()
    summary = render_corpus(config.ingest.media.parent, config.corpus, workers=workers, on_video=on_video)
    return {
        "videos": summary.num_videos,
        "rendered": summary.num_rendered,
        "pairs": summary.num_pairs,
        "duration_s": round(summary.duration_s, 1),
        "bytes": summary.size_bytes,
    }


def compare_evaluations(first: Path, second: Path) -> "tuple[list[Difference], float]":
    """Compare two evaluations, each of a configuration, a store or one run, with the first's bootstrap.

    Returns:
        The differences, and the confidence of their intervals.
    """
    from stages.evaluation.comparison import compare_runs

    settings = _protocol_settings(load_config(first))
    return compare_runs(_evaluation_of(first), _evaluation_of(second), settings), settings.bootstrap.confidence


def _evaluation_of(path: Path) -> Artifact:
    """What one run made, if the path is its folder; else the newest of the configuration."""
    config = load_config(path)
    reference = planned_artifacts(Run(path).plan()).get("evaluation") if path.is_dir() else None
    if reference is None:
        return newest_artifact(config, "evaluation")
    kind, _, name = reference.partition("/")
    return require_sealed(Artifact(ArtifactDir(config.root, kind, name)))


def _protocol_settings(config: RunConfig) -> "ProtocolSettings":
    from stages.evaluation.bootstrap import BootstrapSettings
    from stages.evaluation.scoring import ProtocolSettings

    evaluate = config.evaluate
    bootstrap = BootstrapSettings(num_resamples=evaluate.num_resamples, confidence=evaluate.confidence)
    return ProtocolSettings(ks=evaluate.ks, seed=evaluate.seed, bootstrap=bootstrap)


def pool(configs: Sequence[RunConfig]) -> "list[PooledScore]":
    """Pool the newest evaluations of runs that differ in their seeds."""
    from stages.evaluation.layout import OWN_SET, RANKS
    from stages.evaluation.seeds import pool_seeds

    paths = [newest_artifact(config, "evaluation").path_in(OWN_SET, RANKS) for config in configs]
    return pool_seeds(paths, settings=_protocol_settings(configs[0]))


def tables_of_methods(path: Path) -> "list[MethodTable]":
    """Measure the methods of a file of tables by the newest evaluations of their runs.

    Raises:
        ConfigError: the file is not valid, or an evaluation has not measured what it names.
        NotSealed: a run of a method and seed has not ended.
    """
    from stages.evaluation.bootstrap import BootstrapSettings
    from stages.evaluation.method_table import measure_methods
    from stages.evaluation.scoring import ProtocolSettings

    config = load_tables(path)
    bootstrap = BootstrapSettings(num_resamples=config.num_resamples, confidence=config.confidence)
    settings = ProtocolSettings(seed=config.seed, bootstrap=bootstrap)
    store = Store(config.root)
    return [
        measure_methods(
            table,
            {
                method.name: [_newest_of(store, f"{method.name}-seed{seed}", "evaluation") for seed in config.seeds]
                for method in table.methods
            },
            settings,
        )
        for table in config.tables
    ]
