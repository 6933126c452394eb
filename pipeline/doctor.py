"""`fabula doctor`: examines a media folder with what ingest and extract are made of, and predicts their cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.config import ExecutorConfig
from pipeline.executors.base import Executor, num_cores
from pipeline.progress import ProgressView
from pipeline.run import RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.artifacts.manifest import read_videos
from stages.contract import Inputs, Unit, Worker
from stages.doctor.records import Check, Diagnosis, FileState, Forecast
from stages.errors import ConfigError
from stages.extract import Extract, ExtractConfig, ExtractWorker
from stages.ingest import Ingest, IngestConfig
from stages.media.candidates import Candidates, find_candidates, folder_of
from stages.media.presets import CLIP_PRESETS
from stages.media.recipes import decoder_name, make_consumer, make_recipes, required_consumers
from stages.media.settings import FRAMES, S3D, THUMBNAILS, S3DConfig

if TYPE_CHECKING:
    from stages.doctor.calibration import PlannedOutput
    from stages.media.backbones import LoadedBackbone


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings:
    """What is examined, and as whom.

    Attributes:
        ingest: names the media.
        extract: how it would be extracted.
        executor: where the units would run.
        full: decode every file.
        calibration_s: how long to measure for the forecast; 0 for no forecast.
        check_machine: look at libraries, programs and CUDA.
    """

    ingest: IngestConfig
    extract: ExtractConfig
    executor: ExecutorConfig
    full: bool = False
    calibration_s: float = 30.0
    check_machine: bool = True


def diagnose(settings: DoctorSettings, *, make_executor: Callable[[], Executor], view: ProgressView) -> Diagnosis:
    """Examine the candidate files, this machine, and what extracting would cost.

    Args:
        settings: what and how.
        make_executor: what runs the units of a full examination.
        view: told of the progress.

    Raises:
        ConfigError: the media folder is not there.
    """
    from stages.doctor.files import ExamineSettings, examine_files
    from stages.doctor.machine import check_machine

    extract = settings.extract
    candidates = find_candidates(settings.ingest.media, settings.ingest.frame_rate)
    checks = check_machine(device=extract.device, decoder=extract.decoder) if settings.check_machine else []
    examine = ExamineSettings(
        sample={"decoder": decoder_name(extract), "required": required_consumers(extract)},
        deadline_s=settings.ingest.deadline_s,
        memory_mib=extract.memory_mib,
    )
    view.start_stage("examine", len(candidates.files), len(candidates.files))
    files = examine_files(candidates, examine, lambda done, total: view.update((), done, f"{total} files"))
    if settings.full and files:
        files = decode_all(settings.ingest, extract, files, make_executor=make_executor, view=view)
    outputs, opened, load_s = open_outputs(extract)
    predicted = _predict(settings, candidates, files, outputs, load_s)
    return Diagnosis(full=settings.full, files=tuple(files), checks=(*checks, *opened), forecast=predicted)


@dataclass(frozen=True)
class DecodeOnly(Extract):
    """Extract whose networks see nothing: the same decoding, the same states, no features."""

    def units(self, inputs: Inputs) -> list[Unit]:
        """See `Extract.units`; that no file is usable is an answer here, and no error."""
        return super().units(inputs) if read_videos(inputs["manifest"]) else []

    def open(self, inputs: Inputs) -> Worker:
        """See `Extract.open`."""
        return _DecodeOnlyWorker(self.config, folder_of(self.media))


class _DecodeOnlyWorker(ExtractWorker):
    def _load(self, label: str) -> "LoadedBackbone":
        from stages.doctor.blind import blind_backbone

        return blind_backbone(CLIP_PRESETS[self._config.s3d.preset] if label == S3D else None)


def decode_all(
    ingest: IngestConfig,
    extract: ExtractConfig,
    files: Sequence[FileState],
    *,
    make_executor: Callable[[], Executor],
    view: ProgressView,
) -> list[FileState]:
    """Run ingest and extract without networks in a store that is thrown away, and give the states they come to.

    Args:
        ingest: names the media.
        extract: how it would be extracted.
        files: as examined.
        make_executor: what runs the units.
        view: told of the progress.
    """
    from stages.doctor.outcomes import apply_outcomes

    s3d = S3DConfig(preset=extract.s3d.preset, batch_size=extract.s3d.batch_size)
    blind = {"s3d": s3d, "thumbnails": False, "precision": "float32", "device": "cpu"}
    settings = extract.model_copy(update=blind)
    with TemporaryDirectory(prefix="fabula-doctor-") as folder:
        store = Store(Path(folder))
        context = RunContext(
            name="doctor", store=store, run=start_run(store, "0000", b""), make_executor=make_executor, view=view
        )
        outcome = run_stages([Ingest(ingest), DecodeOnly(settings, media=ingest.media)], context)
        if outcome.open_units:
            raise ConfigError(f"doctor: units stayed open: {outcome.open_units}; run the command again")
        made = [artifact for label, artifact in outcome.artifacts.items() if label != "manifest"]
        return apply_outcomes(files, outcome.artifacts["manifest"], made)


def open_outputs(extract: ExtractConfig) -> "tuple[list[PlannedOutput], list[Check], float]":
    """Open the networks.

    Returns:
        What extract makes, except that of networks that cannot be opened; a check for each network; the seconds.
    """
    from stages.doctor.calibration import PlannedOutput
    from stages.doctor.machine import check_weights
    from stages.media.backbones import open_backbone

    begun = time.monotonic()
    outputs, checks = [], []
    for backbone in extract.backbones:
        label, weights, error, loaded = f"features.{backbone}", "", None, None
        try:
            recipe = _recipe(extract, label)
            weights = recipe["weights"]
            loaded = open_backbone(extract, label)
        except ConfigError as problem:
            error = problem
        else:
            consumer = make_consumer(extract, label, loaded.geometry)
            outputs.append(
                PlannedOutput(label=label, consumer=consumer, batch_size=recipe["batch_size"], loaded=loaded)
            )
        checks.append(check_weights(label, weights, error, loaded.dim if loaded else None))
    pictures = [FRAMES] * (extract.frames is not None) + [THUMBNAILS] * extract.thumbnails
    outputs += [PlannedOutput(label=label, consumer=make_consumer(extract, label)) for label in pictures]
    return outputs, checks, time.monotonic() - begun


def _recipe(extract: ExtractConfig, label: str) -> dict[str, Any]:
    """That of one label alone, so that the weights of another one cannot stand in its way."""
    backbone = label.partition(".")[2]
    return make_recipes(extract.model_copy(update={"backbones": (backbone,)}))[label]


def _predict(
    settings: DoctorSettings,
    candidates: Candidates,
    files: Sequence[FileState],
    outputs: "Sequence[PlannedOutput]",
    load_s: float,
) -> Forecast | None:
    """The forecast, if one is wanted and anything can be extracted."""
    usable = [file for file in files if file.usable and file.end_s > 0]
    extract = settings.extract
    if not (
        usable and settings.calibration_s > 0 and sum(o.loaded is not None for o in outputs) == len(extract.backbones)
    ):
        return None
    from stages.doctor.calibration import CalibrationSettings, calibrate
    from stages.doctor.forecast import RunShape, forecast

    measuring = CalibrationSettings(
        budget_s=settings.calibration_s,
        decoder=decoder_name(extract),
        memory_mib=extract.memory_mib,
        load_s=load_s,
    )
    cores = num_cores()
    by_ray = settings.executor.workers or max(cores // extract.threads, 1)
    shape = RunShape(
        videos_per_shard=extract.videos_per_shard,
        num_workers=by_ray if settings.executor.kind == "ray" else 1,
        num_cores=cores,
        threads=extract.threads,
    )
    return forecast(usable, outputs, calibrate(candidates, usable, outputs, measuring), shape)
