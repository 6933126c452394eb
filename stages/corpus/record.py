"""`corpus.json`: what a folder of rendered videos holds, so that a finished corpus is recognised without drawing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from stages.corpus.settings import CorpusSettings
from stages.errors import ConfigError

RECORD_NAME = "corpus.json"
SCHEMA = 1
_OURS = re.compile(r"[a-z_]+\.(csv|txt)|videos/demo-[0-9]+\.(mp4|vtt)")
RENDERER = 1  # raised when the bytes of a rendered file would change


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRecord:
    """The record of one corpus.

    Attributes:
        settings: dump of the CorpusSettings, with the renderer's version.
        duration_s: total length of all videos in seconds.
        complete: every file is there.
        files: relative path -> xxh3-128 hex, or '' while it is not known to be rendered.
    """

    settings: Mapping[str, Any]
    duration_s: float
    complete: bool
    files: Mapping[str, str]


def describe(settings: CorpusSettings) -> dict[str, Any]:
    """What decides the bytes of a corpus: its settings and the renderer's version."""
    return {"renderer": RENDERER, **settings.model_dump(mode="json")}


def read_record(folder: Path) -> CorpusRecord | None:
    """The record of `folder`, or None where there is none.

    Raises:
        ConfigError: the file is there but is no record that this version reads.
    """
    path = folder / RECORD_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise ConfigError(
                f"{path}: got schema {raw['schema']}, expected {SCHEMA}: delete the folder or name another"
            )
        # What it names may be deleted later, so it may name nothing but what a renderer writes.
        foreign = [name for name in raw["files"] if not _OURS.fullmatch(name)]
        if foreign:
            raise ConfigError(f"{path}: names {foreign[0]!r}, which no corpus holds: delete the folder or name another")
        return CorpusRecord(
            settings=raw["settings"], duration_s=raw["duration_s"], complete=raw["complete"], files=raw["files"]
        )
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a record of a corpus ({error!r}): delete the folder or name another") from error


def write_record(folder: Path, record: CorpusRecord) -> None:
    """Publish `record` in one atomic step."""
    content = {
        "schema": SCHEMA,
        "settings": dict(record.settings),
        "duration_s": record.duration_s,
        "complete": record.complete,
        "files": dict(sorted(record.files.items())),
    }
    write_whole(folder / RECORD_NAME, (json.dumps(content, indent=1) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that it is there whole or not at all."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(content)
    aside.replace(path)


def hash_file(path: Path) -> str:
    """xxh3-128 hex of a file's bytes, '' if there is no such file."""
    try:
        return xxhash.xxh3_128_hexdigest(path.read_bytes())
    except FileNotFoundError:
        return ""
