"""Reading pickles without running anything that they name. Knows no torch: `torch_pickle.py` adds tensors.

A pickle is a program: it names callables and asks for calls. Here only containers and numbers are built; every other
name becomes an inert class that swallows its arguments, so that a published checkpoint with its `argparse.Namespace`
and training configuration loads. A file that names what looks like a function, or anything of a module that acts on
the machine, is refused: no honest list of weights does.
"""

import collections
import pickle
import struct
from typing import IO, Any

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


class RestrictedUnpickler(pickle.Unpickler):
    """Builds plain containers and numbers; everything else that is named becomes inert, or is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the pickle stands for.

        Raises:
            ValueError: It names a function, or a module that acts on the machine.
        """
        if module in ("builtins", "__builtin__") and name in _PLAIN_TYPES:
            return _PLAIN_TYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
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


def load_plain_pickle(file: IO[bytes]) -> Any:
    """Read a pickle of plain containers, texts and numbers; anything else in it becomes inert.

    Raises:
        ValueError: It asks for a function to be called.
        Exception: One of READING_FAILURES where the file is damaged.
    """
    return RestrictedUnpickler(file).load()


# What readers of damaged files raise, besides ValueError.
READING_FAILURES: tuple[type[Exception], ...] = (
    pickle.UnpicklingError, struct.error, ArithmeticError, AssertionError, AttributeError, EOFError, ImportError,
    LookupError, MemoryError, OSError, RuntimeError, TypeError,
)  # fmt: skip
