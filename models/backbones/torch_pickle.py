"""Files of `torch.save`, read without running anything that they name; see `restricted_pickle.py`."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch

from models.backbones.restricted_pickle import READING_FAILURES, RestrictedUnpickler


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object) -> Any:
    # torch would enlarge the storage with memory that was never written.
    reach = 0 if 0 in size else 1 + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    held = storage._untyped_storage.nbytes()
    if (offset + reach) * storage.dtype.itemsize > held:
        raise ValueError(f"a tensor of shape {tuple(size)} reaches beyond the {held} bytes that it is cut from")
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(data: torch.Tensor, *_rest: object) -> torch.Tensor:
    return data


_REBUILD: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor,
    "_rebuild_parameter": _rebuild_parameter,
    "_rebuild_parameter_with_state": _rebuild_parameter,
}


class _Rebuild:
    """One of our functions as a pickle sees it: to be called, and nothing else.

    A pickle may set any attribute of what it named. On a bare function that would be `__name__` and `dump_patches`,
    with which torch's legacy reader can be made to write a file of that name.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("the pickle sets attributes of a function, which no list of weights does")


class _Unpickler(RestrictedUnpickler):
    """Builds tensors, too."""

    def find_class(self, module: str, name: str) -> Any:
        # vars, as getattr would import the submodule that a file names.
        if module == "torch" and isinstance(found := vars(torch).get(name), torch.dtype):
            return found
        if (module, name) == ("torch", "Size"):
            return torch.Size
        if module == "torch._utils" and name in _REBUILD:
            return _Rebuild(_REBUILD[name])
        return super().find_class(module, name)


def _load(file: IO[bytes], **_options: object) -> Any:
    return _Unpickler(file).load()


_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02"  # how files of torch.save begin: an archive, or a pickle of protocol 2
_PICKLE_MODULE = SimpleNamespace(__name__="torch_pickle", Unpickler=_Unpickler, load=_load)


def load_torch_pickle(path: Path) -> Any:
    """Read a file that `torch.save` wrote, zip or legacy format, onto the CPU.

    Args:
        path: The file.

    Returns:
        What was saved: tensors, containers, numbers and strings; everything else is an `InertObject`.

    Raises:
        ValueError: The file is not such a file, is damaged, or names a function; nothing of it has been run.
    """
    data = path.read_bytes()
    if data.startswith(_ZIP):
        _refuse_torchscript(path, data)
    elif not data.startswith(_LEGACY):
        raise ValueError(f"{path}: got neither a zip archive nor a legacy torch file, expected a file of torch.save")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", pickle_module=_PICKLE_MODULE, weights_only=False)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except READING_FAILURES as error:
        raise ValueError(f"{path}: cannot be read as a torch file ({type(error).__name__}: {error})") from error


def _refuse_torchscript(path: Path, data: bytes) -> None:
    # torch.load hands an archive with this entry, which holds code, to torch.jit.load whatever the pickle module is.
    # The bytes are searched because two readers of zip may disagree about an archive's entries; names are not packed.
    if b"constants.pkl" in data:
        raise ValueError(f"{path}: got a TorchScript archive, expected a state dict written by torch.save")
