"""Lists that are distributed as pickles: read as data, nothing in them is run."""

from pathlib import Path
from typing import Any

from stages.errors import ConfigError


def load_pickled_list(path: Path) -> Any:
    """Read a pickle of plain containers, texts and numbers; anything else in it, arrays too, becomes inert.

    Raises:
        ConfigError: the file cannot be read, is no pickle, or asks for a function to be called.
    """
    # Here, because it brings torch along and planning reads annotations, too.
    from models.backbones import restricted_pickle

    failures: tuple[type[Exception], ...] = (ValueError, *restricted_pickle.READING_FAILURES)
    try:
        with path.open("rb") as file:
            return restricted_pickle._load(file)
    except failures as error:
        raise ConfigError(
            f"{path}: cannot be read as a pickled list ({type(error).__name__}: {error}); "
            "take the file as it is distributed, or the JSON or CSV file with the same content"
        ) from error
