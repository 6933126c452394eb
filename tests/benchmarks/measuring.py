"""Costs of things that take turns, so that a neighbour's load falls on all of them."""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from stages.errors import ConfigError
from stages.media.backbones import check_precision
from stages.media.settings import Precision

CORES = len(os.sched_getaffinity(0))
THREADS = int(os.environ.get("FABULA_BENCH_THREADS", CORES))
"""Of extract."""

ROUNDS = int(os.environ.get("FABULA_BENCH_ROUNDS", "3"))
"""The median of so many counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds: on the clock, and of all cores together (children that ended are in it)."""

    wall: float
    cpu: float


def measure(run: Callable[[], object]) -> Cost:
    """Run once; what returns a Cost has measured itself."""
    before, started = _cpu_seconds(), time.perf_counter()
    if isinstance(own := run(), Cost):
        return own
    return Cost(wall=time.perf_counter() - started, cpu=_cpu_seconds() - before)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def apart() -> Iterator[Callable[..., Cost]]:
    """A process of its own for what ours is compared with: no setting of ours reaches it.

    Yields:
        A function that calls `run(*arguments)` there, both of which can be pickled, and returns its cost there.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield lambda run, *arguments: process.submit(_measure_call, run, *arguments).result()


def _measure_call(run: Callable[..., object], *arguments: object) -> Cost:
    return measure(lambda: run(*arguments))


def alternate(forms: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Median costs of the forms, which take turns."""
    costs: dict[str, list[Cost]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, run in forms.items():
            costs[name].append(measure(run))
    return {
        name: Cost(wall=statistics.median(c.wall for c in found), cpu=statistics.median(c.cpu for c in found))
        for name, found in costs.items()
    }


def say(text: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()


def computes_in(precision: Precision) -> bool:
    """Whether the CPU does not emulate it."""
    try:
        check_precision(precision, "cpu")
    except ConfigError as error:
        say(f"NOT MEASURED in {precision}: {error}\n")
        return False
    return True
