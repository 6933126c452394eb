"""What weights are called in artifacts: by their content, or by the seed that made them. Planning reads this."""

import hashlib
from pathlib import Path

from stages.errors import ConfigError

_MODEL_FILES = {".safetensors", ".bin", ".json"}


def name_weights(path: Path | None, sha256: str | None, seed: int) -> str:
    """Name the weights of a network of ours.

    Args:
        path: the file, if there is one.
        sha256: its checksum as configured; it is believed here and compared when the file is loaded.
        seed: of the initialisation without a file.

    Returns:
        `sha256:<64 hex>`, or `random:seed=N`.

    Raises:
        ConfigError: there is no such file.
    """
    if path is None:
        return f"random:seed={seed}"
    return f"sha256:{sha256.lower() if sha256 else _sha256(path)}"


def name_clip_weights(model: str) -> str:
    """Name a CLIP model: `sha256:` over the weights and settings in its folder, or `hub:` and its id."""
    if not Path(model).is_dir():
        return f"hub:{model}"
    files = sorted(path for path in Path(model).iterdir() if path.suffix in _MODEL_FILES)
    listing = "\n".join(f"{path.name} {_sha256(path)}" for path in files)
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"weights: there is no file {path}; give the path of a downloaded file, or none")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
