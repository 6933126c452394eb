"""Reading torch's pickles without running anything that they name.

A pickle is a program: it names callables and asks for calls. Here only tensors, containers and numbers are built;
every other name becomes an inert class that swallows its arguments, so that a published checkpoint with its
`argparse.Namespace` and training configuration loads. A file that names what looks like a function, or anything of a
module that acts on the machine, is refused: no honest list of weights does.
"""

import collections
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch

# fmt: off
_ACTING_MODULES = frozenset((
    "__builtin__", "_io", "_osx_support", "_posixsubprocess", "asyncio", "builtins", "cloudpickle", "code", "codeop",
    "commands", "ctypes", "dill", "distutils", "ftplib", "functools", "http", "importlib", "inspect", "io", "joblib",
    "marshal", "mmap", "multiprocessing", "nt", "operator", "os", "pdb", "pickle", "pip", "platform", "popen2",
    "posix", "profile", "pty", "pydoc", "runpy", "shutil", "signal", "site", "socket", "subprocess", "sys", "tarfile",
    "tempfile", "threading", "timeit", "types", "urllib", "webbrowser", "zipfile",
))
# Lower-case names that data is made of; they become inert like any other class.
_DATA_NAMES = frozenset((
    "_codecs.encode", "collections.defaultdict", "collections.deque", "copyreg._reconstructor",
    "copy_reg._reconstructor", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta",
    "torch.device", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
    "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
))
# fmt: on
_PLAIN_TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (bool, complex, dict, float, frozenset, int, list, object, set, str, tuple)
}


class InertObject:
    """Stands for an object of a class that is not read: it takes any call and any state, and does nothing."""

    def __new__(cls, *_args: object, **_kwargs: object) -> "InertObject":
        """Make an empty object, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Ignore an item of a list-like class."""

    def extend(self, items: object) -> None:
        """Ignore the items of a list-like class."""

    def add(self, item: object) -> None:
        """Ignore an item of a set-like class."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _PLAIN_TYPES:
            return _PLAIN_TYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        # vars, as getattr would import the submodule that a file names.
        if module == "torch" and isinstance(found := vars(torch).get(name), torch.dtype):
            return found
        if (module, name) == ("torch", "Size"):
            return torch.Size
        if module == "torch._utils" and name in _REBUILD:
            return _Rebuild(_REBUILD[name])
        _refuse_functions(module, name)
        return type(name.rpartition(".")[2], (InertObject,), {"__module__": f"inert.{module}"})


def _refuse_functions(module: str, name: str) -> None:
    last = name.rpartition(".")[2]
    acts = module.partition(".")[0] in _ACTING_MODULES
    if acts or (not last.lstrip("_")[:1].isupper() and f"{module}.{name}" not in _DATA_NAMES):
        raise ValueError(
            f"the pickle asks to call {module}.{name}, which no list of weights needs; nothing was run. "
            "If you trust the file, convert it to safetensors elsewhere"
        )


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


def _load(file: IO[bytes], **_options: object) -> Any:
    return _Unpickler(file).load()


_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02"  # how files of torch.save begin: an archive, or a pickle of protocol 2
_PICKLE_MODULE = SimpleNamespace(__name__="restricted_pickle", Unpickler=_Unpickler, load=_load)
# What readers of damaged files raise, besides ValueError.
READING_FAILURES: tuple[type[Exception], ...] = (
    pickle.UnpicklingError, struct.error, ArithmeticError, AssertionError, AttributeError, EOFError, ImportError,
    LookupError, MemoryError, OSError, RuntimeError, TypeError,
)  # fmt: skip


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
