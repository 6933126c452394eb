"""JSON objects that are too large to be read whole: HowTo100M's captions are gigabytes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from stages.datasets.json_file import unique_keys
from stages.errors import ConfigError

_CHUNK = 1 << 20  # characters read at once
_LONGEST = 1 << 28  # of one value; longer, and the file is damaged rather than large
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def iterate_object(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield (key, line on which it stands, value) of a JSON object, one at a time, in the order of the file.

    Memory is bounded by the longest value. Keys are not compared: the caller knows how many there may be.

    Raises:
        ConfigError: the file cannot be read, is no UTF-8, or is no JSON object; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _Reader(path, file).pairs()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a JSON file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 ({error.reason}); fetch the file again") from error


class _Reader:
    """The text that is not parsed yet, and where it begins."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file
        self._text, self._at, self._line = "", 0, 1
        self._ended = False

    def pairs(self) -> Iterator[tuple[str, int, Any]]:
        self._expect("{")
        if self._peek() != "}":
            yield self._pair()
            while self._peek() == ",":
                self._take(1)
                yield self._pair()
        self._expect("}")
        if self._peek():
            raise self._wrong("something after the end of the object")

    def _pair(self) -> tuple[str, int, Any]:
        if self._peek() != '"':
            raise self._wrong(f"{self._peek()!r} where a key should begin")
        key, line = self._value(), self._line
        self._expect(":")
        return key, line, self._value()

    def _expect(self, sign: str) -> None:
        if (found := self._peek()) != sign:
            raise self._wrong(
                f"{found!r} where {sign!r} should be" if found else f"the end of the file before {sign!r}"
            )
        self._take(1)

    def _peek(self) -> str:
        """The next character that is no white space, '' at the end."""
        while True:
            rest = self._text[self._at :].lstrip(" \t\r\n")
            if rest or self._ended:
                self._take(len(self._text) - self._at - len(rest))
                return rest[:1]
            self._read()

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > _LONGEST:
                    self._take(error.pos - self._at)
                    raise self._wrong(error.msg) from error
            except RecursionError as error:
                raise self._wrong("values that are nested too deeply") from error
            except ValueError as error:
                raise self._wrong(str(error)) from error
            else:
                # A number at the end of the text may go on in the next piece.
                if end < len(self._text) or self._ended:
                    self._take(end - self._at)
                    return value
            self._read()

    def _take(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _read(self) -> None:
        # As much again as is waiting, so that one long value is not parsed anew for each piece.
        piece = self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + piece, 0
        self._ended = not piece

    def _wrong(self, got: str) -> ConfigError:
        return ConfigError(
            f"{self._path}:{self._line}: got {got}, expected one JSON object, a video a key; fetch the file again"
        )
