"""What was tried on risky files, one JSON line at a time, so that a file that kills its decoder is not tried for ever.

A line is written before a file is opened. An attempt counts if the decode process ended while its supervisor lived;
one that was cut off with the supervisor is closed as `interrupted` by the next run and does not count.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COUNTED = ("crashed", "deadline")


class AttemptLog:
    """The attempts file of a unit; the only writer while the unit is worked on, from any of its threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted: Counter[str] = Counter()
        self._last: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._close_interrupted()

    def num_counted(self, input_id: str) -> int:
        """Attempts on an input that ended with the death of its decode process."""
        return self._counted[input_id]

    def last_death(self, input_id: str) -> tuple[str, str]:
        """Outcome and message of the last attempt on an input that counted; ('', '') if there is none."""
        return self._last.get(input_id, ("", ""))

    def begin(self, input_id: str) -> None:
        """Note that a file is about to be opened."""
        self._append({"input": input_id, "event": "begun"})

    def end(self, input_id: str, outcome: str, message: str = "", words: str = "") -> None:
        """Note how it ended.

        Args:
            input_id: of the file.
            outcome: `done`, `refused`, `crashed` or `deadline`.
            message: of the error.
            words: the decoder's last words in full.
        """
        line = {"input": input_id, "event": outcome, "message": message, "words": words}
        self._append(line)
        self._count(line)

    def _count(self, line: Mapping[str, Any]) -> None:
        if line["event"] in COUNTED:
            self._counted[line["input"]] += 1
            self._last[line["input"]] = (line["event"], line["message"])

    def _close_interrupted(self) -> None:
        open_inputs: dict[str, None] = {}
        for line in self._lines():
            if line["event"] == "begun":
                open_inputs[line["input"]] = None
            else:
                open_inputs.pop(line["input"], None)
                self._count(line)
        for input_id in open_inputs:
            self._append({"input": input_id, "event": "interrupted"})

    def _lines(self) -> list[Mapping[str, Any]]:
        if not self._path.is_file():
            return []
        content = self._path.read_bytes()
        # A kill may leave half a line at the end: it says nothing, and the next line must not join it.
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._path.write_bytes(whole)
        # Of bytes: str.splitlines would also cut at characters that may stand inside a message.
        return [json.loads(line) for line in whole.splitlines()]

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
