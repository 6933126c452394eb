"""Retrieval by vectors, the same for every protocol: ranks, scores, the published rule beside them, and the index.

Where a run's index is an approximate one, the same queries are asked of it, and its numbers stand as a baseline beside
the exact ones. Letters: Q queries, G items of the gallery, E joint width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stages.evaluation.checks import retrieval_warnings
from stages.evaluation.records import F32, I64, ProtocolResult, RankedQueries
from stages.evaluation.scoring import ProtocolSettings, ScoreRows, rank_queries, retrieval_scores, with_legacy


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Named vectors.

    Attributes:
        ids: N ids.
        vectors: (N, E) float32.
        texts: what they say, by id; empty for pictures.
    """

    ids: tuple[str, ...]
    vectors: F32
    texts: Mapping[str, str] = field(default_factory=dict)

    def take(self, rows: Sequence[int]) -> "Items":
        """Some of them, in this order."""
        return Items(ids=tuple(self.ids[row] for row in rows), vectors=self.vectors[list(rows)], texts=self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a protocol's result says of itself; see `ProtocolResult`."""

    name: str
    title: str
    definition: str
    similarity: str

    def result(self, **fields: object) -> ProtocolResult:
        """A result with these words."""
        words = {name: getattr(self, name) for name in ("name", "title", "definition", "similarity")}
        return ProtocolResult(**words, **fields)  # type: ignore[arg-type]  # the fields of ProtocolResult


def similarity_words(*, normalised: bool) -> str:
    """How vectors are compared: by inner product, as the index compares them."""
    return "inner product of unit vectors (cosine)" if normalised else "inner product"


def inner_products(queries: F32, gallery: F32) -> ScoreRows:
    """Computed in float64, rounded to float32: neither the number of threads nor a place in the matrix breaks a tie."""
    wide_queries, wide_gallery = queries.astype(np.float64), gallery.astype(np.float64).T
    return lambda rows: (wide_queries[rows] @ wide_gallery).astype(np.float32)


def vector_retrieval(
    definition: Definition,
    queries: Items,
    gallery: Items,
    relevant: Sequence[I64],
    settings: ProtocolSettings,
    *,
    missing: Mapping[str, int],
) -> ProtocolResult:
    """Rank a gallery for each query and say all there is to say of it.

    Args:
        definition: what it is called.
        queries: Q, at least one.
        gallery: G, at least one.
        relevant: Q arrays of positions in the gallery, each with at least one.
        settings: cut-offs, bootstrap, and how the run's index is built.
        missing: what could not take part.

    Raises:
        ValueError: a score is NaN.
    """
    ranked = rank_queries(
        inner_products(queries.vectors, gallery.vectors),
        query_ids=queries.ids,
        gallery_ids=gallery.ids,
        relevant=relevant,
    )
    result = ranked_result(definition, ranked, settings, missing=missing, texts={**gallery.texts, **queries.texts})
    approximate = settings.index and settings.index.products(queries.vectors, gallery.ids, gallery.vectors)
    if not approximate:
        return result
    score_rows, name = approximate
    found = rank_queries(score_rows, query_ids=queries.ids, gallery_ids=gallery.ids, relevant=relevant)
    return beside(result, name, found, settings)


def ranked_result(
    definition: Definition,
    ranked: RankedQueries,
    settings: ProtocolSettings,
    *,
    missing: Mapping[str, int],
    texts: Mapping[str, str],
) -> ProtocolResult:
    """Scores with intervals, and warnings, from ranks."""
    return definition.result(
        scores=retrieval_scores(ranked, settings=settings, rng=settings.generator(definition.name)),
        ranked=ranked,
        num_units=len(ranked),
        missing=missing,
        warnings=retrieval_warnings(ranked),
        texts=texts,
    )


def with_published_ties(result: ProtocolResult) -> ProtocolResult:
    """Put the published rule of ties beside our own where it is defined: every query has one right answer."""
    ranked = result.ranked
    if ranked is None or bool((ranked.num_relevant != 1).any()):
        return result
    return replace(result, scores=with_legacy(result.scores, ranked))


def beside(result: ProtocolResult, name: str, found: RankedQueries, settings: ProtocolSettings) -> ProtocolResult:
    """Put another way's numbers beside a result's, as a baseline.

    Args:
        result: with its scores.
        name: of the other way.
        found: its ranks of the same queries.
        settings: cut-offs.
    """
    scores = retrieval_scores(found, settings=settings, rng=settings.generator(name))
    by_name = {score.name: score.value for score in scores}
    beside_it = (replace(score, baselines={**score.baselines, name: by_name[score.name]}) for score in result.scores)
    return replace(result, scores=tuple(beside_it))
