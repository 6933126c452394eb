"""The run measured on its own narrations: every protocol over the split's embeddings, and what the page shows of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stages.artifacts.sealed import Artifact
from stages.errors import Corrupt
from stages.evaluation.alignments import choose_examples
from stages.evaluation.protocols.order_pairs import order_pairs
from stages.evaluation.protocols.paragraph_retrieval import paragraph_retrieval
from stages.evaluation.protocols.window_retrieval import fused_window_retrieval, window_retrieval
from stages.evaluation.reading import count_failures, provenance, read_evaluation_set, sections_of
from stages.evaluation.records import EvaluationSet, PairScorer, ProtocolResult
from stages.evaluation.report import ReportContent
from stages.evaluation.scoring import ProtocolSettings
from stages.media.thumbnail_reader import Thumbnails
from stages.training.history import read_history

_BY_DTW = "paragraph_to_video.dtw"
_HEADLINES = (
    ("order_pairs.dtw", "accuracy"),
    (_BY_DTW, "R@1"),
    ("paragraph_to_video.caption_average", "R@1"),
    ("text_to_window", "R@10"),
)


def measure_own_set(
    artifacts: Mapping[str, Artifact],
    chosen: Mapping[str, Any],
    split: str,
    settings: ProtocolSettings,
    open_fused: Callable[[], PairScorer | None] = lambda: None,
) -> ReportContent:
    """Measure the split.

    Args:
        artifacts: sealed: `embeddings`, and whatever else the page reports on.
        chosen: as `read_evaluation_set` takes it.
        split: its name.
        settings: cut-offs, bootstrap and index.
        open_fused: opens what scores windows again, if there is such a thing.

    Returns:
        Everything that the files of the unit hold; a set that cannot be measured says so.

    Raises:
        Corrupt: a vector of the embeddings gives a score that is no number.
    """
    checkpoint = artifacts.get("checkpoint")
    evaluation = read_evaluation_set(artifacts["embeddings"], checkpoint, chosen, split)
    evaluation = replace(evaluation, fused=open_fused())
    return ReportContent(
        subject=evaluation.subject,
        results=measure(evaluation, settings),
        settings=settings,
        headlines=_HEADLINES,
        history=read_history(checkpoint) if checkpoint else None,
        thumbnails=Thumbnails(artifacts["thumbnails"]) if "thumbnails" in artifacts else None,
        sections=sections_of(artifacts),
        failures=count_failures(artifacts),
        provenance=provenance(artifacts),
    )


def measure(evaluation: EvaluationSet, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Run every protocol.

    Args:
        evaluation: the split.
        settings: cut-offs, bootstrap and index.

    Returns:
        Their results in the order of the report.

    Raises:
        Corrupt: a vector of the embeddings gives a score that is no number.
    """
    try:
        results = [
            result
            for protocol in (order_pairs, paragraph_retrieval, window_retrieval, fused_window_retrieval)
            for result in protocol(evaluation, settings)
        ]
        return _with_examples(evaluation, results)
    except ValueError as error:
        raise Corrupt(f"the embeddings cannot be scored: {error}; run `fabula verify`, then embed again") from error


def _with_examples(evaluation: EvaluationSet, results: Sequence[ProtocolResult]) -> list[ProtocolResult]:
    """Alignments stand with the protocol that ranks by them."""
    ranked = next(result.ranked for result in results if result.name == _BY_DTW)
    examples = tuple(choose_examples(evaluation, ranked))
    return [replace(result, alignments=examples) if result.name == _BY_DTW else result for result in results]
