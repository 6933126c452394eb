"""Two evaluations on the queries that both measured: is one really better, or is it the draw of the queries?

Paired bootstrap over the shared queries, pairs, videos or questions: both runs are resampled alike, so that what is
hard for both cancels out. Source: Efron and Tibshirani, 1993, chapter 13; the paired design as in Koehn, EMNLP 2004.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from stages.artifacts.sealed import Artifact
from stages.errors import ConfigError
from stages.evaluation.bootstrap import outcome_value, paired_outcome_bootstrap
from stages.evaluation.numbers import FACTS, is_minor, label_of, write_number
from stages.evaluation.numbers import RANKS as BETTER_LOW
from stages.evaluation.outcomes import Key, of_units, read_unit
from stages.evaluation.records import Outcome
from stages.evaluation.scoring import ProtocolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One metric of two runs on what both measured.

    Attributes:
        unit: of the evaluation: the run's own set, or a benchmark.
        protocol: as in `metrics.json`.
        metric: its name.
        first: of the first run, on the shared queries.
        second: of the second.
        difference: first - second.
        low: Lower end of its interval.
        high: Upper end.
        num_shared: queries, pairs, videos or questions that both measured.
        num_only_one: those that only one of them did.
        first_gallery: items among which the first run ranked each query; 0 where nothing was ranked.
        second_gallery: the second; if it is another number, the run with fewer had it easier.
    """

    unit: str
    protocol: str
    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    num_shared: int
    num_only_one: int
    first_gallery: int = 0
    second_gallery: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether the interval excludes 0."""
        return not self.low <= 0 <= self.high

    @property
    def better(self) -> str:
        """`first` or `second` if the interval excludes 0, else ''; no run is better by a fact about its answers."""
        if not self.is_sure or self.metric in FACTS:
            return ""
        first_is_greater = self.low > 0
        return "first" if first_is_greater != (self.metric in BETTER_LOW) else "second"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "better": self.better}


def compare_runs(first: Artifact, second: Artifact, settings: ProtocolSettings) -> list[Difference]:
    """Compare two evaluations.

    Args:
        first: a sealed `evaluation`.
        second: another one.
        settings: bootstrap; cut-offs are those that both were measured by.

    Returns:
        One difference for each metric of each protocol of each unit that both have, in the order of the first.

    Raises:
        ConfigError: they have measured nothing alike.
        Corrupt: a table cannot be read.
    """
    units = [unit_id for unit_id in first.description.units if unit_id in second.description.units]
    found = [difference for unit_id in units for difference in _of_unit(unit_id, first, second, settings)]
    if not found:
        raise ConfigError(
            f"{first.directory.reference} and {second.directory.reference} share no query of any protocol: compare "
            "runs that measured the same split or the same benchmark"
        )
    return found


def comparison_lines(differences: list[Difference], confidence: float) -> list[str]:
    """Return what a person reads: one line a metric, the minor ones left out."""
    lines, above = [], ""
    for found in differences:
        if is_minor(found.metric):
            continue
        if (head := f"{found.unit}: {found.protocol}") != above:
            lines.append(f"{head} ({found.num_shared} shared, {found.num_only_one} in one run only)")
            if found.first_gallery != found.second_gallery:
                lines.append(
                    f"  warning: ranked among {found.first_gallery} items and among {found.second_gallery}: fewer are "
                    "easier, so the differences are not the runs' alone"
                )
            above = head
        first, second = (write_number(found.metric, value) for value in (found.first, found.second))
        interval = f"{confidence:.0%} {_signed(found, found.low)} to {_signed(found, found.high)}"
        unsure = "they differ" if found.is_sure else "no difference beyond chance"
        verdict = f"{found.better} is better" if found.better else unsure
        difference = _signed(found, found.difference)
        lines.append(f"  {label_of(found.metric):16}{first:>9}{second:>9}  {difference:>9}  {interval}  {verdict}")
    return lines


def _signed(found: Difference, value: float) -> str:
    text = write_number(found.metric, value)
    return text if text.startswith(("-", "+")) else f"+{text}"


def _of_unit(unit_id: str, first: Artifact, second: Artifact, settings: ProtocolSettings) -> Iterator[Difference]:
    one, other = (read_unit(artifact, unit_id) for artifact in (first, second))
    for key, outcome in one.items():
        if key in other and (found := _compare(unit_id, key, (outcome, other[key]), settings)):
            yield found


def _compare(unit_id: str, key: Key, pair: tuple[Outcome, Outcome], settings: ProtocolSettings) -> Difference | None:
    """Both runs on the units that both have; None if there is none."""
    known = set(pair[1].unit_ids)
    shared = [name for name in pair[0].unit_ids if name in known]
    if not shared:
        return None
    first, second = (of_units(outcome, shared) for outcome in pair)
    rng = settings.generator(f"compare/{unit_id}/{'/'.join(key)}")
    found = paired_outcome_bootstrap(first, second, rng=rng, settings=settings.bootstrap)
    return Difference(
        unit=unit_id,
        protocol=key[0],
        metric=key[1],
        first=outcome_value(first),
        second=outcome_value(second),
        difference=found.value,
        low=found.low,
        high=found.high,
        num_shared=len(shared),
        num_only_one=len(pair[0].unit_ids) + len(pair[1].unit_ids) - 2 * len(shared),
        first_gallery=first.gallery_size,
        second_gallery=second.gallery_size,
    )
