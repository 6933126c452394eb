"""The files of one unit of an evaluation, from what it measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stages.artifacts.commit import StagedFile
from stages.artifacts.hashing import pretty_json
from stages.artifacts.tables import FLOAT64, STRING, columns_table, write_table
from stages.evaluation.expected import PublishedConfig, PublishedTable, compare_with_published
from stages.evaluation.layout import METRICS, OUTCOMES, RANKS, REPORT
from stages.evaluation.report import ReportContent, render_report
from stages.evaluation.results import metrics_document, outcome_rows, rank_rows

RANK_COLUMNS = {"protocol": STRING, "query_id": STRING, "rank": FLOAT64, "target_id": STRING, "score": FLOAT64}
OUTCOME_COLUMNS = {
    "protocol": STRING,
    "metric": STRING,
    "unit_id": STRING,
    "value": FLOAT64,
    "weight": FLOAT64,
    "group": STRING,
}


def write_evaluation(
    content: ReportContent,
    published: Sequence[PublishedConfig],
    tables: Mapping[str, PublishedTable],
    create: Callable[[str], StagedFile],
) -> None:
    """Write metrics, ranks, outcomes and report.

    Args:
        content: what was measured.
        published: rows that it is compared with.
        tables: of published results.
        create: opens a file by its name.

    Raises:
        ConfigError: a published row does not exist.
    """
    document = metrics_document(content.subject, content.results, content.settings)
    verdicts = compare_with_published(document["protocols"], published, tables, content.subject.title)
    document["published"] = [verdict.to_json() for verdict in verdicts]
    with create(METRICS) as file:
        file.write(pretty_json(document))
    write_table(create(RANKS), columns_table(RANK_COLUMNS, rank_rows(content.results)))
    write_table(create(OUTCOMES), columns_table(OUTCOME_COLUMNS, outcome_rows(content.results)))
    with create(REPORT) as file:
        file.write(render_report(replace(content, verdicts=verdicts)).encode())
