"""A run's configuration: one strict TOML file, one whole run.

An unknown key, a wrong type or a value out of range is an error that names the file, the key and the nearest valid
name. Values that depend on the machine or on the inputs ("auto") are resolved before anything is planned, and the
resolved configuration is what is kept with the run.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, Field, ValidationError

from stages.align import AlignConfig
from stages.artifacts.hashing import fingerprint
from stages.artifacts.layout import Store
from stages.contract import StageConfig
from stages.corpus.settings import CorpusSettings
from stages.embed import EmbedConfig
from stages.errors import ConfigError
from stages.evaluate import EvaluateConfig
from stages.evaluation.method_table_config import TablesConfig
from stages.extract import ExtractConfig
from stages.import_features import ImportFeaturesConfig
from stages.index import IndexConfig
from stages.ingest import IngestConfig
from stages.train import TrainConfig

_ROW_FIELDS_OF_NO_RESULT = {"root", "executor"}


class ExecutorConfig(StageConfig):
    """How units run. Nothing of it changes a byte of what is made.

    Attributes:
        kind: `ray`, or `inline` in this process.
        workers: most units at once; 0 for as many as the machine or cluster holds.
        retries: how often a unit is tried again after a failure that may pass.
    """

    kind: Literal["ray", "inline"] = "ray"
    workers: int = Field(default=0, ge=0)
    retries: int = Field(default=2, ge=0)


class RunConfig(StageConfig):
    """One whole run.

    Attributes:
        name: of the configuration: later commands find what its runs made by it.
        root: the store.
        encoder: what embeds windows and sentences: `auto` (train if the narrated videos make an update, else s3d-text),
            `train`, `s3d-text[:WEIGHTS]`, `clip:MODEL`, the path of a checkpoint, or `none`: frame backbones alone are
            measured.
        imported: features that others made, instead of extracting those of this backbone.
        corpus: the generated corpus that `fabula corpus` renders into the media folder, if it is one.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    root: Path
    encoder: str = "auto"
    executor: ExecutorConfig = ExecutorConfig()
    corpus: CorpusSettings | None = None
    ingest: IngestConfig
    extract: ExtractConfig = ExtractConfig()
    imported: ImportFeaturesConfig | None = None
    align: AlignConfig = AlignConfig()
    train: TrainConfig = TrainConfig()
    embed: EmbedConfig = EmbedConfig()
    index: IndexConfig = IndexConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def fingerprint(self) -> str:
        """Of everything that may change a result."""
        return fingerprint(self.model_dump(mode="json", exclude=_ROW_FIELDS_OF_NO_RESULT))

    def to_toml(self) -> bytes:
        """The configuration as a file that can be run again."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True)).encode()


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        path: a TOML file (`name` defaults to its stem), a run's folder, or a store: then its newest run. Of a folder,
            the store is the one that it lies in, wherever it was when the run wrote its configuration.
        overrides: `section.key=value`: of a path or a text the value as it stands, else in TOML's spelling.

    Raises:
        ConfigError: it is not there, is no TOML, or a key or value is not valid.
    """
    store = None
    if path.is_dir():
        path, store = _config_of_run(path)
    if not path.is_file():
        known = sorted(str(found) for found in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise ConfigError(f"--config {path}: there is no such file; found beside it: {', '.join(known) or 'nothing'}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    raw.setdefault("name", path.stem)
    if store is not None:
        raw["root"] = str(store)
    for override in overrides:
        _apply(raw, override)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path, problem) for problem in error.errors())) from error


def load_tables(path: Path) -> TablesConfig:
    """Read a file of tables of methods.

    Raises:
        ConfigError: it is not there, is no TOML, or a key or value is not valid.
    """
    try:
        return TablesConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"{path}: there is no such file; expected one of tables of methods") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path, problem, TablesConfig) for problem in error.errors())) from error


def check_import(**settings: Any) -> ImportFeaturesConfig:
    """The settings of `fabula import features`.

    Raises:
        ConfigError: one is not valid.
    """
    try:
        return ImportFeaturesConfig.model_validate(settings)
    except ValidationError as error:
        problems = (_explain("fabula import features", problem, ImportFeaturesConfig) for problem in error.errors())
        raise ConfigError("\n".join(problems)) from error


def section_toml(name: str, settings: StageConfig) -> str:
    """A section as a configuration spells it, without what is the default."""
    return tomli_w.dumps({name: settings.model_dump(mode="json", exclude_defaults=True)})


def _config_of_run(folder: Path) -> tuple[Path, Path | None]:
    """The resolved configuration of a run, or of the newest run of a store, and that store; None if it is in none."""
    folder = folder.resolve()
    runs = sorted(Store(folder).runs_dir.glob("*/config.toml"))
    if runs:
        return runs[-1], folder
    store = folder.parent.parent
    return folder / "config.toml", store if Store(store).runs_dir == folder.parent else None


def _apply(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override}: expected section.key=value")
    if any("\ud800" <= letter <= "\udfff" for letter in override):  # bytes of the command line that are no UTF-8
        raise ConfigError(
            f"--set {override!a}: this is no UTF-8 and cannot be written into a file; rename what it names"
        )
    *sections, last = key.strip().split(".")
    table = raw
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {section!r} is a value, not a section")
    table[last] = text if _holds_text([*sections, last]) else _parse_value(text)


def _holds_text(location: Sequence[str]) -> bool:
    """Whether a key's value is a path or a text: a folder may be called 2024, true, or have quotes in its name."""
    models = _located(location, RunConfig)[1]
    fields = [model.model_fields[location[-1]] for model in models if location[-1] in model.model_fields]
    kinds = [get_args(found) if isinstance(found, UnionType) else (found,) for found in (f.annotation for f in fields)]
    return bool(kinds) and all(set(kind) <= {str, Path, NoneType} for kind in kinds)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(path: Path | str, problem: Any, root: type[BaseModel] = RunConfig) -> str:
    location, models = _located([str(part) for part in problem["loc"]], root)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        valid = list(dict.fromkeys(name for model in models for name in model.model_fields))
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(sorted(valid))}"
        return f"{path}: {key}: there is no such key; {hint}"
    if problem["type"] == "union_tag_not_found":
        tag = problem["ctx"]["discriminator"].strip("'")
        tags = [value for model in _located([*location, tag], root)[1] for value in _tags(model)]
        return f"{path}: {key}.{tag}: this key is missing; add it, one of {', '.join(tags)}"
    if problem["type"] == "missing":
        return f"{path}: {key}: this key is missing; add it"
    return f"{path}: {key}: got {problem['input']!r}; {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _located(location: Sequence[str], root: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """A problem's place as the file spells it, and the models that its section may have.

    pydantic names, within the path, the tag that chose one of several sections; the file does not.
    """
    models: list[type[BaseModel]] = [root]
    spelt = []
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        chosen = [model for model in models if part in _tags(model)]
        if chosen and not is_last:
            models = chosen
            continue
        spelt.append(part)
        if not is_last and not part.isdigit():  # a number is a place in a list
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)]
    return spelt, models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type holds, alone, in a list, or in a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """By which values a union tells this model from its others."""
    fields = (model.model_fields.get(name) for name in ("kind", "name"))
    return tuple(tag for field in fields if field for tag in get_args(field.annotation))
