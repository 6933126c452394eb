"""From a run's configuration to its ordered stages, and to what they would do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from pipeline.config import RunConfig
from pipeline.narration import choose_encoder
from pipeline.runs import newest_of_media, sealed_by_label
from pipeline.units import plan_as_json, plan_stage
from stages.align import Align
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Stage
from stages.embed import Embed
from stages.errors import ConfigError
from stages.evaluate import Evaluate
from stages.extract import Extract
from stages.import_features import plan_import
from stages.index import Index
from stages.ingest import Ingest
from stages.media.candidates import folder_of
from stages.media.settings import FRAMES, ClipConfig
from stages.train import Train
from stages.training.choice import EncoderChoice, EncoderSettings, parse_encoder

MANIFEST = "manifest"

Model = TypeVar("Model", bound=BaseModel)


def resolve(config: RunConfig) -> RunConfig:
    """Settle what depends on the inputs: the encoder, the backbones that it needs, the preset, and where paths lie.

    Raises:
        ConfigError: the encoder, or a file to measure or fine-tune on, is not there; of `auto` also media or captions.
    """
    config = _absolute(config)
    _check_training(config)
    config.evaluate.check_files()
    encoder = choose_encoder(config) if config.encoder == "auto" else config.encoder
    choice = parse_encoder(encoder, train_backbone=config.train.objective.encoder_backbone)
    if choice.kind == "train":
        config.train.objective.check_files()
    extract = config.extract
    s3d = extract.s3d
    if choice.kind == "s3d-text" and choice.path:
        s3d = s3d.model_copy(update={"weights": Path(choice.path)})
    if "preset" not in s3d.model_fields_set:
        s3d = s3d.model_copy(update={"preset": choice.preset or ("videoclip" if s3d.weights else "demo")})
    clip = extract.clip
    if choice.kind == "clip" and clip is None:
        clip = ClipConfig(model=choice.path or "")
    needed = () if _trains_no_encoder(config, choice) or choice.kind == "none" else (choice.backbone,)
    told = "backbones" in extract.model_fields_set or choice.kind == "none"
    backbones = extract.backbones if told else needed
    if not set(needed) <= set(backbones):
        raise ConfigError(
            f"[extract] backbones = {list(backbones)}: the encoder {encoder!r} reads {choice.backbone!r} features; "
            "add it"
        )
    extract = extract.model_copy(update={"backbones": backbones, "s3d": s3d, "clip": clip})
    config = config.model_copy(update={"encoder": encoder, "extract": extract})
    _check_benchmarks(config, choice)
    return config


def _check_benchmarks(config: RunConfig, choice: EncoderChoice) -> None:
    """Refuse a benchmark that reads what the run does not make."""
    extract, imported = config.extract, config.imported
    backbones = (*extract.backbones, *((imported.backbone,) if imported else ()))
    made = {*(f"features.{backbone}" for backbone in backbones), *(("frames",) if extract.frames else ())}
    for benchmark in config.evaluate.benchmarks:
        if choice.kind == "none" and benchmark.protocol.asks_encoder:
            raise ConfigError(
                f"{benchmark.where} protocol {benchmark.protocol.name!r} compares videos with texts, but encoder = "
                "'none': name an encoder"
            )
        if missing := sorted(set(benchmark.protocol.reads(choice)) - made):
            raise ConfigError(
                f"{benchmark.where} protocol {benchmark.protocol.name!r} reads {missing[0]}, which this run does not "
                "make; name its backbone in [extract] backbones, or add [extract.frames]"
            )


def _check_training(config: RunConfig) -> None:
    """Refuse a training that this run cannot do, before anything is made for it."""
    train = config.train
    if config.executor.kind == "inline" and train.workers.count > 1:
        raise ConfigError(
            f"[train] workers.count = {train.workers.count} needs [executor] kind = 'ray': inline is one process"
        )
    if config.encoder == "train" and FRAMES in train.objective.reads and config.extract.frames is None:
        raise ConfigError(
            f"[train.objective] kind = {train.objective.kind!r} trains on pictures, but [extract.frames] is missing: "
            "add it"
        )


def _trains_no_encoder(config: RunConfig, choice: EncoderChoice) -> bool:
    """Whether the run ends with training: what it makes embeds nothing, but may extract in a next run."""
    return choice.kind == "train" and not config.train.objective.makes_encoder


def _absolute(model: Model) -> Model:
    """The same settings with absolute paths: a worker may have another working directory."""
    changed: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            changed[name] = value.absolute()
        elif isinstance(value, BaseModel):
            changed[name] = _absolute(value)
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            changed[name] = tuple(_absolute(item) for item in value)
    return model.model_copy(update=changed)


def build_stages(config: RunConfig, *, rehash: bool = False) -> list[Stage]:
    """The stages of a resolved configuration, in the order in which they run."""
    choice = parse_encoder(config.encoder, train_backbone=config.train.objective.encoder_backbone)
    trained = choice.kind == "train"
    media = config.ingest.media
    stages = [Ingest(config.ingest, rehash=rehash), *_feature_stages(config), Align(config.align, media=media)]
    if trained:
        stages.append(Train(config.train))
    if _trains_no_encoder(config, choice):
        return stages
    evaluate = Evaluate(
        config.evaluate,
        encoder=choice,
        encoder_settings=EncoderSettings(**config.embed.model_dump(include=set(EncoderSettings.model_fields))),
        reports_on=_reported(config),
        ivf=config.index.ivf,
    )
    if choice.kind == "none":
        return [*stages, evaluate] if config.evaluate.benchmarks else stages
    return [
        *stages,
        Embed(config.embed, encoder=choice),
        Index(
            config.index,
            trained_here=trained,
            checkpoint_path=_checkpoint_path(choice),
            tokenizer_path=config.embed.tokenizer,
        ),
        evaluate,
    ]


def _reported(config: RunConfig) -> tuple[str, ...]:
    """What the evaluation's page shows failures and pictures of."""
    features = tuple(f"features.{backbone}" for backbone in config.extract.backbones)
    thumbnails = ("thumbnails",) if config.extract.thumbnails and config.imported is None else ()
    return (*features, *thumbnails, "paragraphs")


def _feature_stages(config: RunConfig) -> list[Stage]:
    """Extract, without the backbone whose features are imported."""
    if config.imported is None:
        return [Extract(config.extract, media=config.ingest.media)]
    stages: list[Stage] = [plan_import(config.imported, Store(config.root))]
    rest = tuple(backbone for backbone in config.extract.backbones if backbone != config.imported.backbone)
    if rest or config.extract.frames:
        extract = config.extract.model_copy(update={"backbones": rest})
        stages.append(Extract(extract, media=config.ingest.media))
    return stages


def _checkpoint_path(choice: EncoderChoice) -> Path | None:
    return Path(choice.path) if choice.kind == "dual" and choice.path else None


def check_files(stages: Sequence[Stage]) -> None:
    """Refuse files that a stage would miss only after hours of work of those before it.

    Raises:
        ConfigError: one is not there.
    """
    for stage in stages:
        stage.check_files()


def select_stages(stages: Sequence[Stage], *, only: str | None, until: str | None) -> list[Stage]:
    """The stages up to and including the one that is asked for.

    Raises:
        ConfigError: there is no such stage in this run.
    """
    names = [stage.name for stage in stages]
    last = only or until
    if last is None:
        return list(stages)
    if last not in names:
        raise ConfigError(f"there is no stage {last!r} in this run; it has {', '.join(names)}")
    return list(stages[: names.index(last) + 1])


def earlier_artifacts(config: RunConfig) -> dict[str, list[Artifact]]:
    """What earlier runs sealed, by label, newest first: of this name, but the manifest of these media.

    Ids and positions of videos belong to the store and the folder: neither another name of a configuration nor a run on
    another folder in between may change them.
    """
    store = Store(config.root)
    folder = folder_of(config.ingest.media).resolve()
    manifest = newest_of_media(store, MANIFEST, lambda media: folder_of(media).resolve() == folder)
    return {**sealed_by_label(store, config.name), MANIFEST: [manifest] if manifest else []}


def plan_run(config: RunConfig, stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """What each stage would do, as JSON; a stage whose input is not sealed yet is `after` the one that makes it."""
    store = Store(config.root)
    previous = earlier_artifacts(config)
    sealed: dict[str, Artifact] = {}
    makers = {output.label: stage.name for stage in stages for output in stage.outputs()}
    plans: list[dict[str, Any]] = []
    for stage in stages:
        missing = [label for label in stage.needs if label not in sealed]
        if missing:
            plans.append({"stage": stage.name, "after": makers.get(missing[0], missing[0])})
            continue
        artifacts = {label: sealed[label] for label in stage.needs}
        plan = plan_stage(stage, Inputs(store=store, artifacts=artifacts, previous=previous))
        plans.append(plan_as_json(plan))
        for planned in plan.artifacts:
            artifact = Artifact(planned.directory)
            if artifact.is_sealed:
                sealed[planned.label] = artifact
    return plans
