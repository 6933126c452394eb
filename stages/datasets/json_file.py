"""JSON files of data sets: values are asked for by type, and a refusal names the file and the key."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.errors import ConfigError
from stages.text.encoding import is_utf8

_SHOWN = 80  # characters of a wrong value in a message
_LARGEST = 10**15  # beyond any time, count or id; a number of 400 digits is no float


class Node:
    """A value of a JSON file that knows where it stands."""

    __slots__ = ("_key", "_parent", "_path", "value")

    def __init__(self, path: Path, value: Any, parent: "Node | None" = None, key: str = "") -> None:
        self.value = value
        self._path, self._parent, self._key = path, parent, key

    @property
    def where(self) -> str:
        """File and key, as `file.json: database.abc.annotations[3].segment`."""
        return f"{self._path}: {self._keys() or 'top level'}"

    def _keys(self) -> str:
        above = self._parent._keys() if self._parent else ""
        return f"{above}{self._key}" if self._key.startswith("[") or not above else f"{above}.{self._key}"

    def wrong(self, expected: str) -> ConfigError:
        """The error to raise when the value is not what a data set's files hold here."""
        got = json.dumps(self.value, ensure_ascii=False).encode(errors="backslashreplace").decode()
        return ConfigError(
            f"{self.where}: got {got[:_SHOWN]}{'...' if len(got) > _SHOWN else ''}, expected {expected}; "
            "take the file as it is distributed"
        )

    def __getitem__(self, key: str) -> "Node":
        """A key of an object that must be there.

        Raises:
            ConfigError: it is no object, or lacks the key.
        """
        found = self.get(key)
        if found is None:
            raise ConfigError(
                f"{self.where}: got the keys {', '.join(sorted(self.value))[:_SHOWN] or '(none)'}, "
                f"expected also {key!r}; take the file as it is distributed"
            )
        return found

    def get(self, key: str) -> "Node | None":
        """A key of an object, or None if it has none of that name.

        Raises:
            ConfigError: it is no object.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return Node(self._path, self.value[key], self, key) if key in self.value else None

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The keys and values of an object, in the file's order.

        Raises:
            ConfigError: it is no object.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return ((key, Node(self._path, value, self, key)) for key, value in self.value.items())

    def elements(self, count: int | None = None) -> list["Node"]:
        """The values of a list.

        Raises:
            ConfigError: it is no list, or has not `count` values.
        """
        if not isinstance(self.value, list) or (count is not None and len(self.value) != count):
            raise self.wrong("a list" if count is None else f"a list of {count}")
        return [Node(self._path, value, self, f"[{index}]") for index, value in enumerate(self.value)]

    def text(self) -> str:
        """A text that is not blank, without white space at its ends.

        Raises:
            ConfigError: it is none.
        """
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("a text that is not empty")
        if not is_utf8(self.value):
            raise self.wrong("a text without halves of characters (\\ud800 to \\udfff)")
        return self.value.strip()

    def number(self) -> float:
        """A number that is not negative, NaN or infinite.

        Raises:
            ConfigError: it is none.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
            raise self.wrong("a number from 0")
        return float(value)

    def whole(self) -> int:
        """A whole number that is not negative, also one written as a text.

        Raises:
            ConfigError: it is none.
        """
        value = self.value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(_LARGEST)):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong("a whole number from 0")
        return value

    def name(self) -> str:
        """A text, or a whole number as text: identifiers are written both ways.

        Raises:
            ConfigError: it is neither.
        """
        return self.text() if isinstance(self.value, str) else str(self.whole())

    def span(self) -> tuple[float, float]:
        """[start, end] in seconds, end after start.

        Raises:
            ConfigError: it is none.
        """
        start_s, end_s = (element.number() for element in self.elements(2))
        if not start_s < end_s:
            raise self.wrong("[start, end] in seconds with start before end")
        return start_s, end_s

    def choice(self, values: dict[str, str]) -> str:
        """What `values` gives for the text that stands here.

        Raises:
            ConfigError: it is none of them.
        """
        if not isinstance(self.value, str) or self.value not in values:
            raise self.wrong(" or ".join(values))
        return values[self.value]


def read_json(path: Path) -> Node:
    """Read a JSON file whole.

    Raises:
        ConfigError: it cannot be read, is no UTF-8, is no JSON, or an object in it has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return Node(path, json.loads(text, object_pairs_hook=unique_keys))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a JSON file") from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}: column {error.colno}: is no JSON ({error.msg}); fetch the file again"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; fetch the file again") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply to be an annotation file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of a JSON parser's pairs.

    Raises:
        ValueError: a key stands twice (the last one would win silently), or holds half of a character.
    """
    found = dict(pairs)
    if broken := [key for key in found if not is_utf8(key)]:
        raise ValueError(f"the key {broken[0]!a} holds half of a character, expected a text")
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object, expected once; keep one of them")
    return found
