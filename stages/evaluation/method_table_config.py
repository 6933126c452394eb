"""Settings of a table of methods: which runs stand in it, by what they are measured, and against which baseline."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from stages.contract import StageConfig


class MethodConfig(StageConfig):
    """A row.

    Attributes:
        label: what people read.
        name: of the configuration that was run; a seed's run is called `<name>-seed<N>`.
        baseline: name of the row that it is compared with.
    """

    label: str = Field(min_length=1)
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    baseline: str | None = None


class ColumnConfig(StageConfig):
    """A column.

    Attributes:
        label: what people read.
        protocols: as in `metrics.json`; the first that a run measured is read. A method that scores in a way of its
            own comes first by it, the others by what they have.
        metric: a share of queries, in [0, 1].
    """

    label: str = Field(min_length=1)
    protocols: tuple[str, ...] = Field(min_length=1)
    metric: str


class TableConfig(StageConfig):
    """A table: methods by columns."""

    title: str
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    columns: tuple[ColumnConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        """Refuse a name that stands twice, and a baseline that stands nowhere."""
        names = [method.name for method in self.methods]
        for method in self.methods:
            if names.count(method.name) > 1:
                raise ValueError(f"methods: the name {method.name!r} stands twice; rename one")
            if method.baseline is not None and method.baseline not in names:
                raise ValueError(
                    f"methods: baseline {method.baseline!r} of {method.name!r} is no name of a method here"
                )
        return self


class TablesConfig(StageConfig):
    """A file of tables.

    Attributes:
        root: the store that holds the runs.
        seeds: of each method.
        num_resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.
        tables: one after the other.
    """

    root: Path
    seeds: tuple[int, ...] = Field(min_length=1)
    num_resamples: int = Field(default=2_000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    tables: tuple[TableConfig, ...] = Field(min_length=1)
