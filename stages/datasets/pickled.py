"""Lists that are distributed as pickles: read as data, nothing in them is run."""

from pathlib import Path
from typing import Any

from models.backbones.restricted_pickle import READING_FAILURES, load_plain_pickle
from stages.errors import ConfigError


def load_pickled_list(path: Path) -> Any:
    """Read a pickle of plain containers, texts and numbers; anything else in it, arrays too, becomes inert.

    Raises:
        ConfigError: the file cannot be read, is no pickle, or asks for a function to be called.
    """
    failures: tuple[type[Exception], ...] = (ValueError, *READING_FAILURES)
    try:
        with path.open("rb") as file:
            return load_plain_pickle(file)
    except failures as error:
        raise ConfigError(
            f"{path}: cannot be read as a pickled list ({type(error).__name__}: {error}); "
            "take the file as it is distributed, or the JSON or CSV file with the same content"
        ) from error
