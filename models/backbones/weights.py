"""Weights on disk: their checksum, their tensors, and their fit to a network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError  # numpy's reader of old headers lets it through
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from models.backbones.s3d import S3D
from models.backbones.s3d_text import WordList
from models.backbones.torch_pickle import load_torch_pickle


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        ValueError: There is no such file.
    """
    if not path.is_file():
        raise ValueError(f"weights: there is no file {path}; give the path of a downloaded file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str | None) -> str:
    """Return the checksum of a file after comparing it with the expected one (None: no comparison).

    Raises:
        ValueError: They differ, or there is no such file.
    """
    got = file_sha256(path)
    if expected is not None and got != expected.lower():
        raise ValueError(
            f"weights {path}: got sha256 {got}, expected {expected.lower()}; download the file again or correct sha256"
        )
    return got


def read_weights(path: Path) -> Any:
    """Read a weights file onto the CPU: `.safetensors` as such, everything else as a restricted torch pickle.

    Returns:
        For safetensors a dict of tensors; for a torch file whatever was saved (see `load_torch_pickle`).

    Raises:
        ValueError: The file is missing, damaged, or a pickle that would act.
    """
    if not path.is_file():
        raise ValueError(f"weights: there is no file {path}; give the path of a downloaded file")
    if path.suffix != ".safetensors":
        return load_torch_pickle(path)
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: cannot be read as safetensors ({error})") from error


def tensors_of(saved: object, *, source: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict, bare or under the keys `model` or `state_dict`.

    Raises:
        ValueError: There are none.
    """
    if isinstance(saved, Mapping):
        for key in ("model", "state_dict"):
            if isinstance(saved.get(key), Mapping):
                saved = saved[key]
                break
    items = saved.items() if isinstance(saved, Mapping) else ()
    found = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not found:
        raise ValueError(f"{source}: got no tensors by name, expected a state dict, or one under 'model'")
    return found


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Copy tensors into a network, cast to the network's own types.

    Raises:
        ValueError: A key is missing or left over, or a shape differs; the message names it, what was got and what
            was expected.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    if missing or unknown:
        parts = [f"{what} {_some(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
        raise ValueError(f"weights {source}: got {len(tensors)} tensors, expected {len(wanted)}: {'; '.join(parts)}")
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            got, expected = tuple(tensors[name].shape), tuple(value.shape)
            raise ValueError(f"weights {source}: {name} got shape {got}, expected {expected}: this is another network")
    module.load_state_dict({name: tensors[name].to(value.dtype) for name, value in wanted.items()})


def load_s3d(path: Path, *, sha256: str | None = None) -> S3D:
    """Return S3D-G with the weights of a file in the HowTo100M layout, in eval mode.

    Args:
        path: `s3d_howto100m.pth`, or the same tensors as safetensors.
        sha256: Expected checksum; None accepts any.

    Raises:
        ValueError: The checksum, the names or the shapes differ, or the file is not weights.
    """
    check_sha256(path, sha256)
    with torch.device("meta"):
        model = S3D()
    model.to_empty(device="cpu")
    load_tensors(model, tensors_of(read_weights(path), source=str(path)), source=str(path))
    return model.eval()


def load_word_list(path: Path) -> WordList:
    """Return the sentence tower's dictionary from `s3d_dict.npy` (an array of strings) or a text file, a word a line.

    Raises:
        ValueError: The file is something else. An array of Python objects is a pickle and is never read.
    """
    if not path.is_file():
        raise ValueError(f"word list: there is no file {path}")
    if path.suffix != ".npy":
        return WordList(read_lines(path))
    try:
        with path.open("rb") as file:
            words = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TypeError, TokenError) as error:
        raise ValueError(
            f"word list {path}: {error}. If it is an array of Python objects and you trust it, convert it once: "
            "numpy.save(new, numpy.load(old, allow_pickle=True).astype(str))"
        ) from error
    if words.ndim != 1 or words.dtype.kind != "U":
        raise ValueError(f"word list {path}: got {words.dtype} of shape {words.shape}, expected a row of strings")
    return WordList([str(word) for word in words])


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, a word a line; only line feeds end a line, as some words are separators.

    Raises:
        ValueError: It is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as UTF-8 text ({error}); expected a word a line") from error
    return text.removesuffix("\n").split("\n")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
