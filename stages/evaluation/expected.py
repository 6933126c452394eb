"""Published results: what a paper's table says, and whether ours agrees.

`expected.toml` holds one section a table; each belongs to one protocol, and its rows are methods. A run names the table
and the method that its encoder is; every metric of the row is then compared. Knows TOML, JSON values and no numpy.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, RootModel, ValidationError, model_validator

from stages.contract import StageConfig
from stages.errors import ConfigError
from stages.evaluation.numbers import in_per_cent


class PublishedConfig(StageConfig):
    """What a run is compared with.

    Attributes:
        table: a section of the file of published results.
        method: one of its rows.
        tolerance: how far ours may be off, in the table's own unit (points of a per cent, or ranks).
    """

    table: str
    method: str
    tolerance: float = Field(default=1.0, ge=0)


class PublishedRow(StageConfig):
    """One method's numbers.

    Attributes:
        values: in the order of the table's metrics, as they are printed (mostly per cent).
        source: where they stand, if not where the table's others do.
    """

    values: tuple[float, ...]
    source: str = ""


class PublishedTable(StageConfig):
    """One table of a paper.

    Attributes:
        dataset: what it was measured on, in words.
        protocol: the result of ours that it compares with, such as `text_to_clip`.
        metrics: names of its metrics.
        scorer: `legacy` if the published scorer made the numbers: our own `legacy` column is compared where there is
            one; `clean` if they were computed as ours are.
        source: where the numbers stand.
        methods: rows by method.
    """

    dataset: str
    protocol: str
    metrics: tuple[str, ...] = Field(min_length=1)
    scorer: Literal["clean", "legacy"] = "legacy"
    source: str
    methods: Mapping[str, PublishedRow]

    @model_validator(mode="after")
    def _check(self) -> "PublishedTable":
        for method, row in self.methods.items():
            if len(row.values) != len(self.metrics):
                raise ValueError(f"{method}: got {len(row.values)} values, expected {len(self.metrics)}, one a metric")
        return self


class _Tables(RootModel[dict[str, PublishedTable]]):
    """The whole file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One published number against ours.

    Attributes:
        protocol: whose result.
        metric: its name.
        method: which the encoder is said to be.
        ours: in the table's unit; None if the protocol measured no such metric.
        theirs: as published.
        tolerance: how far ours may be off.
        source: where theirs stands.
    """

    protocol: str
    metric: str
    method: str
    ours: float | None
    theirs: float
    tolerance: float
    source: str

    @property
    def difference(self) -> float | None:
        """Ours - theirs."""
        return None if self.ours is None else self.ours - self.theirs

    @property
    def passed(self) -> bool:
        """Whether ours agrees."""
        return self.difference is not None and abs(self.difference) <= self.tolerance + 1e-9

    def to_json(self) -> dict[str, Any]:
        """For `metrics.json`."""
        difference = None if self.difference is None else round(self.difference, 4)
        return {**asdict(self), "difference": difference, "passed": self.passed}


def read_tables(path: Path) -> Mapping[str, PublishedTable]:
    """Read a file of published results.

    Raises:
        ConfigError: it cannot be read, or is no such file; the key is named.
    """
    try:
        return _Tables.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig"))).root
    except OSError as error:
        raise ConfigError(f"[evaluate] expected = {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    except ValidationError as error:
        problems = (f"{path}: {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise ConfigError("\n".join(problems)) from error


def choose_row(
    tables: Mapping[str, PublishedTable], published: PublishedConfig, where: str
) -> tuple[PublishedTable, PublishedRow]:
    """Find what a run is compared with.

    Args:
        tables: of the file.
        published: what the configuration names.
        where: the section that names it, for messages.

    Raises:
        ConfigError: there is no such table or method.
    """
    table = tables.get(published.table)
    if table is None:
        raise ConfigError(f"{where} published.table = {published.table!r}: expected one of {', '.join(tables)}")
    row = table.methods.get(published.method)
    if row is None:
        known = ", ".join(table.methods)
        raise ConfigError(f"{where} published.method = {published.method!r}: {published.table} has {known}")
    return table, row


def compare_with_published(
    protocols: Mapping[str, Any], published: Sequence[PublishedConfig], tables: Mapping[str, PublishedTable], where: str
) -> list[Verdict]:
    """Compare what was measured with published rows.

    Args:
        protocols: `protocols` of a metrics document.
        published: which rows.
        tables: of the file.
        where: for messages.

    Returns:
        One verdict a metric of each row.

    Raises:
        ConfigError: as `choose_row`.
    """
    verdicts = []
    for config in published:
        table, row = choose_row(tables, config, where)
        scores = protocols.get(table.protocol, {}).get("scores", {})
        for metric, theirs in zip(table.metrics, row.values, strict=True):
            verdicts.append(
                Verdict(
                    protocol=table.protocol,
                    metric=metric,
                    method=config.method,
                    ours=_ours(metric, scores.get(metric), table.scorer),
                    theirs=theirs,
                    tolerance=config.tolerance,
                    source=row.source or table.source,
                )
            )
    return verdicts


def _ours(metric: str, score: Mapping[str, Any] | None, scorer: str) -> float | None:
    if score is None:
        return None
    value = score["value"] if scorer == "clean" or score["legacy"] is None else score["legacy"]
    return float(100 * value if in_per_cent(metric) else value)
