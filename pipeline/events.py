"""What happened, for machines: one JSON line an event in the run's events.jsonl.

A unit's `unit_committed` (or `unit_adopted`) event is written once over all runs of a store: a run that finds a
committed unit without one, since the run that committed it was killed in between, writes it.
"""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.locks import take

COMMITTED, ADOPTED = "unit_committed", "unit_adopted"


class EventLog:
    """Appends events to one file, each in a single write; the file is locked until it is closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        take(self._descriptor)

    def write(self, event: str, **fields: Any) -> None:
        """Append one event with the time of day."""
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a file; a torn last line is left out."""
    events = []
    for line in path.read_bytes().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def units_with_event(paths: Iterable[Path]) -> set[tuple[str, str]]:
    """(artifact, unit) of every committed or adopted unit that some run has told of."""
    return {
        (event["artifact"], event["unit"])
        for path in paths
        for event in read_events(path)
        if event.get("event") in (COMMITTED, ADOPTED)
    }
