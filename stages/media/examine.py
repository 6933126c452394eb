"""The job `examine` of a decode process: all that ingest and extract find out about a file before decoding it.

It calls their own code, so that what it refuses they refuse, too. A worker process preloads this module.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stages.media.container import scan_timeline
from stages.media.jobs import JOBS, Messages, run_sample
from stages.media.probe import probe_video
from stages.media.sources import source_from_json

EXAMINE = "examine"


def run_examine(arguments: Mapping[str, Any]) -> Messages:
    """Probe a file as ingest does, plan its pass as extract does, and time one reading of its packets.

    Args:
        arguments: those of the job `sample`; nothing is decoded but the first frame.

    Yields:
        The result: `info` (MediaInfo's fields), `end_s`, `truncated`, `num_packets`, `num_keyframes`,
            `scan_s` (seconds).

    Raises:
        DecodeError: ingest or extract refuses the file.
        EmptyTimeline: extract does.
    """
    source = source_from_json(arguments)
    info = probe_video(source)
    planning = run_sample(arguments)
    end_s = next(header["end_s"] for header, _ in planning if header["kind"] == "plan")
    begun = time.perf_counter()
    timeline = scan_timeline(source)
    result = {
        "info": asdict(info),
        "end_s": end_s,
        "truncated": timeline.truncated,
        "num_packets": len(timeline.times_s),
        "num_keyframes": len(timeline.keyframes_s),
        "scan_s": time.perf_counter() - begun,
    }
    yield {"kind": "done", "result": result}, ()


JOBS[EXAMINE] = run_examine
