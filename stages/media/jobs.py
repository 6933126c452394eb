"""What a decode process can be asked to do: functions of JSON arguments that give messages, by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from stages.errors import EmptyTimeline
from stages.media.batches import batch_samples
from stages.media.causes import NO_FRAMES, decode_error
from stages.media.consumers import Consumer, consumer_from_json, has_row
from stages.media.container import Timeline, scan_timeline
from stages.media.frames import FrameRequest, PassFacts, sample_frames
from stages.media.messages import Header
from stages.media.probe import probe_video
from stages.media.sources import Source, source_from_json

Messages = Iterator[tuple[Header, bytes | memoryview]]
Arguments = Mapping[str, Any]

MAX_DURATION_S = 48 * 3600.0
"""A timeline that claims to be longer than this is damaged; refusing it bounds the plan's memory."""


def run_probe(arguments: Arguments) -> Messages:
    """Probe a source; the result holds MediaInfo's fields."""
    yield {"kind": "done", "result": asdict(probe_video(source_from_json(arguments)))}, b""


def run_sample(arguments: Arguments) -> Messages:
    """Decode a video once for several consumers.

    Args:
        arguments: those of the source (`sources.source_to_json`); `decoder`; `consumers`, a list of Consumers' JSON;
            and `required`, Consumers' JSON by name, each of which must get at least one span.

    Yields:
        A `plan` with `end_s`, batches, and PassFacts' fields with `truncated` as the result.

    Raises:
        DecodeError: nothing can be decoded.
        EmptyTimeline: a required consumer gets nothing.
    """
    source = source_from_json(arguments)
    consumers = [consumer_from_json(consumer) for consumer in arguments["consumers"]]
    required = {name: consumer_from_json(consumer) for name, consumer in arguments["required"].items()}
    timeline, facts = _plan_timeline(source), PassFacts()
    _check_rows(source, required, timeline.end_s, timeline.end_s)
    yield {"kind": "plan", "end_s": timeline.end_s}, b""
    requests = [FrameRequest(times_s=c.times(timeline.end_s)[0], geometry=c.geometry) for c in consumers]
    yield from batch_samples(sample_frames(source, requests, decoder=arguments["decoder"], facts=facts))
    _check_rows(source, required, timeline.end_s, facts.end_s)
    yield {"kind": "done", "result": {**asdict(facts), "truncated": timeline.truncated}}, b""


def _plan_timeline(source: Source) -> Timeline:
    timeline = scan_timeline(source)
    if not len(timeline.times_s):
        raise decode_error(
            NO_FRAMES, f"{source.name}: its video stream holds no packet; fetch it again or leave it out"
        )
    if not 0 < timeline.end_s <= MAX_DURATION_S:
        raise EmptyTimeline(
            f"{source.name}: its frames end at {timeline.end_s:.3f} s, expected more than 0 and at most "
            f"{MAX_DURATION_S:.0f} s; its time stamps are damaged: remux or leave it out"
        )
    return timeline


def _check_rows(source: Source, required: Mapping[str, Consumer], planned_s: float, decoded_s: float) -> None:
    for name, consumer in required.items():
        if not has_row(consumer, planned_s, decoded_s):
            raise EmptyTimeline(
                f"{source.name}: it has nothing for {name}: its frames end at {decoded_s:.3f} s of {planned_s:.3f} s; "
                "where a whole clip does not fit use tail = 'keep', or leave the video out"
            )


JOBS: dict[str, Callable[[Arguments], Messages]] = {"probe": run_probe, "sample": run_sample}
"""By name; a module that a worker process preloads may add to it."""
