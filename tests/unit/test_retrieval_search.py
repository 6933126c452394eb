"""Right answers by construction: every video shows known steps, every sentence asks for known steps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.alignment.dtw import dtw_reference
from stages.errors import ArtifactError, ConfigError, SchemaMismatch
from stages.retrieval import open_bundle
from stages.retrieval.bundle import Bundle
from stages.retrieval.clips import FlatClips
from stages.retrieval.ivf import IvfSettings
from stages.retrieval.search import search_like, search_paragraph, search_sentence
from stages.retrieval.vectors import build_flat, fill_lists, join_lists, keep_rows, train_lists
from tests.retrieval_samples import (
    DIM,
    DIRECTIONS,
    STEPS,
    STRIDE_S,
    WordEncoder,
    bundle_of,
    content_of,
    unit,
    vectors_of,
    with_random_weights,
    write_folder,
)

ENCODER = WordEncoder()
SHOWN = {
    "tea": ["wash", "pour", "stir", "serve"],
    "aet": ["serve", "stir", "pour", "wash"],
    "cake": ["fold", "", "bake", "cut"],
    "empty": [],
    "fish": ["cut", "fry", "fry", "serve"],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("bundle"), SHOWN, windows_per_step=3)


def test_a_sentence_finds_the_moments_that_show_it(bundle: Bundle) -> None:
    answer = search_sentence(bundle, ENCODER, "now bake it", k=1)
    (hit,) = answer.hits
    assert (answer.encoder, answer.random_weights, answer.query) == (ENCODER.description, False, "now bake it")
    assert (hit.video_id, hit.path, hit.start_s, hit.end_s) == ("cake", "kitchen/cake.mp4", 24.0, 40.0)
    assert hit.text == "now bake it now cut it"
    assert hit.score > 0.95


def test_a_step_that_two_videos_show_gives_one_moment_in_each(bundle: Bundle) -> None:
    hits = search_sentence(bundle, ENCODER, "stir", k=2).hits
    assert {hit.video_id for hit in hits} == {"tea", "aet"}
    assert hits[0].score >= hits[1].score


def test_a_long_step_is_one_moment(bundle: Bundle) -> None:
    (hit,) = search_sentence(bundle, ENCODER, "fry", k=1).hits
    assert (hit.start_s, hit.end_s) == (3 * STRIDE_S, 8 * STRIDE_S + 8.0)


def test_windows_are_retrieved_until_there_are_enough_moments(tmp_path: Path) -> None:
    shown = {"long": ["fry"] * 100, "short": ["fry", "cut"]}
    hits = search_sentence(bundle_of(tmp_path, shown, noise=0.001), ENCODER, "fry", k=2).hits
    assert {hit.video_id for hit in hits} == {"long", "short"}


def test_scores_are_those_of_a_brute_force(bundle: Bundle) -> None:
    query = ENCODER.encode_texts(["cut"]).numpy()[0]
    best = {
        video.video_id: float((bundle.window_vectors(video) @ query).max()) for video in bundle.videos if video.rows
    }
    found: dict[str, float] = {}
    for hit in search_sentence(bundle, ENCODER, "cut", k=50).hits:
        found.setdefault(hit.video_id, hit.score)
    assert found == pytest.approx(best, abs=1e-6)


def test_like_finds_the_video_with_the_same_steps_and_never_itself(bundle: Bundle) -> None:
    hits = search_like(bundle, "tea", k=10).hits
    assert hits[0].video_id == "aet"
    assert sorted(hit.video_id for hit in hits) == ["aet", "cake", "fish"]
    asked, found = (bundle.window_vectors(bundle.by_id[name]) for name in ("tea", "aet"))
    assert hits[0].score == pytest.approx(float((asked @ found.T).max(axis=1).mean()), abs=1e-6)


def test_like_by_the_mean_compares_the_mean_with_windows(bundle: Bundle) -> None:
    hits = search_like(bundle, "tea", k=10, by="mean").hits
    asked = bundle.window_vectors(bundle.by_id["tea"]).mean(axis=0)
    best = {
        video.video_id: float((bundle.window_vectors(video) @ asked).max() / np.linalg.norm(asked))
        for video in bundle.videos
        if video.rows and video.video_id != "tea"
    }
    assert {hit.video_id: hit.score for hit in hits} == pytest.approx(best, abs=1e-6)


def test_like_needs_a_video_with_windows(bundle: Bundle) -> None:
    with pytest.raises(ArtifactError, match="has no window in the index"):
        search_like(bundle, "empty")
    with pytest.raises(ConfigError, match="no video"):
        search_like(bundle, "unknown")


def test_a_paragraph_finds_the_video_with_its_order(bundle: Bundle) -> None:
    forward = ["wash the pot", "pour water", "stir it", "serve tea"]
    assert search_paragraph(bundle, ENCODER, forward).hits[0].video_id == "tea"
    assert search_paragraph(bundle, ENCODER, forward[::-1]).hits[0].video_id == "aet"


def test_a_paragraph_s_spans_are_where_its_steps_are_shown(bundle: Bundle) -> None:
    (hit,) = search_paragraph(bundle, ENCODER, ["wash", "pour", "stir", "serve"], k=1).hits
    step_s = 3 * STRIDE_S
    assert [(span.start_s, span.end_s) for span in hit.sentences] == [
        (n * step_s, (n + 1) * step_s - STRIDE_S + 8.0) for n in range(4)
    ]
    assert [span.text for span in hit.sentences] == ["wash", "pour", "stir", "serve"]
    assert all(span.found and span.score > 0.9 for span in hit.sentences)


def test_a_sentence_s_span_leaves_out_the_background_around_it(tmp_path: Path) -> None:
    shown = {"long": ["", "", "pour", "", "", "", "stir", "", ""], "other": ["cut", "fry"]}
    (hit,) = search_paragraph(bundle_of(tmp_path, shown, windows_per_step=3), ENCODER, ["pour", "stir"], k=1).hits
    step_s = 3 * STRIDE_S
    assert hit.video_id == "long"
    for span, n in zip(hit.sentences, (2, 6), strict=True):  # the background is noise: it may look like the step once
        assert span.start_s == pytest.approx(n * step_s, abs=STRIDE_S)
        assert span.end_s == pytest.approx((n + 1) * step_s - STRIDE_S + 8.0, abs=STRIDE_S)


def test_a_sentence_that_a_video_does_not_show_is_not_found_in_it(bundle: Bundle) -> None:
    hits = search_paragraph(bundle, ENCODER, ["cut it", "bake it", "serve it"]).hits
    found = {hit.video_id: [span.found for span in hit.sentences] for hit in hits}
    assert found["fish"] == [True, False, True]
    assert found["tea"] == [False, False, True]


def test_a_paragraph_s_scores_are_those_of_dtw_over_all_windows(bundle: Bundle) -> None:
    sentences = ["pour", "cut", "serve"]
    hits = search_paragraph(bundle, ENCODER, sentences).hits
    assert [hit.video_id for hit in hits] != sorted(SHOWN)
    assert len(hits) == 4
    texts = ENCODER.encode_texts(sentences).numpy()
    for hit in hits:
        cost = 1 - texts @ bundle.window_vectors(bundle.by_id[hit.video_id]).T
        assert hit.score == pytest.approx(dtw_reference(cost.astype(np.float64)).score, abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_nominated_candidates_hold_the_best_of_the_exhaustive_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shown = {f"v{n:03d}": list(rng.permutation(STEPS)[:4]) for n in range(120)}
    bundle = bundle_of(tmp_path, shown, noise=0.15, windows_per_step=6)
    for n in range(0, 120, 10):
        steps = shown[f"v{n:03d}"]
        exact = search_paragraph(bundle, ENCODER, steps, k=1, max_candidates=999).hits[0]
        quick = search_paragraph(bundle, ENCODER, steps, k=1, max_candidates=20).hits[0]
        assert quick.video_id == exact.video_id
        assert quick.score == pytest.approx(exact.score, abs=1e-6)


def test_the_nominee_of_best_alignment_is_first_whatever_its_best_windows(tmp_path: Path) -> None:
    content = content_of({"steady": ["pour", "stir"], "scattered": ["pour", "", "", "stir"]}, noise=0.0)
    steady = np.array([video == "steady" for video in content.windows["video_id"]])
    dimmed = unit(vectors_of(content) + 0.5 * DIRECTIONS[STEPS.index("bake")])
    content = replace(content, clips=FlatClips(vectors=np.where(steady[:, None], dimmed, vectors_of(content))))
    bundle = open_bundle(write_folder(tmp_path, content))
    texts = ENCODER.encode_texts(["pour", "stir"]).numpy()
    best = {video.video_id: (bundle.window_vectors(video) @ texts.T).max(axis=0).mean() for video in bundle.videos}
    assert best["scattered"] > best["steady"]
    hits = search_paragraph(bundle, ENCODER, ["pour", "stir"], k=1, max_candidates=1).hits
    assert [hit.video_id for hit in hits] == ["steady"]


def test_a_paragraph_finds_its_video_through_the_paragraph_index_alone(tmp_path: Path) -> None:
    content = content_of({"a": ["pour", "stir"], "b": ["cut", "fry"], "c": ["wash", "bake"]})
    bundle = open_bundle(write_folder(tmp_path, content))
    hits = search_paragraph(bundle, ENCODER, ["cut", "fry"], k=1, max_candidates=1).hits
    assert [hit.video_id for hit in hits] == ["b"]


def test_an_ivf_index_answers_like_a_flat_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    content = content_of({f"v{n:03d}": list(rng.permutation(STEPS)[:5]) for n in range(80)}, noise=0.2)
    flat = open_bundle(write_folder(tmp_path / "flat", content))
    ivf = open_bundle(write_folder(tmp_path / "ivf", content, IvfSettings(target_recall=0.99)))
    agreed = 0
    for step in STEPS:
        exact = [hit.video_id for hit in search_sentence(flat, ENCODER, step, k=5).hits]
        agreed += len(set(exact) & {hit.video_id for hit in search_sentence(ivf, ENCODER, step, k=5).hits})
    assert agreed >= 0.9 * 5 * len(STEPS)


@pytest.fixture
def left_out(tmp_path: Path) -> Bundle:
    """Each step has a list, a search visits one, and the windows that show how to pour were left out of the index."""
    bundle = bundle_of(tmp_path, {f"v-{step}": [step] for step in STEPS[1:]}, noise=0.0)
    lists = train_lists(DIRECTIONS, nlist=len(STEPS), seed=0)
    shown = bundle.clips.reconstruct(range(bundle.clips.num_rows))
    bundle.clips = join_lists(lists, [fill_lists(lists, np.concatenate([DIRECTIONS[:1], shown]))])
    keep_rows(bundle.clips, np.arange(1, 1 + len(shown)))
    assert bundle.clips.search(DIRECTIONS[:1], 5)[1].tolist() == [[-1] * 5]
    return bundle


def test_more_lists_are_visited_where_left_out_rows_have_emptied_them(left_out: Bundle) -> None:
    assert len(search_sentence(left_out, ENCODER, "pour", k=3).hits) == 3
    assert [hit.video_id for hit in search_sentence(left_out, ENCODER, "stir", k=1).hits] == ["v-stir"]
    assert len(search_like(left_out, "v-stir", k=6).hits) == 6
    left_out.paragraphs = build_flat(np.zeros((0, DIM), np.float32))
    assert len(search_paragraph(left_out, ENCODER, ["pour"], k=3, max_candidates=3).hits) == 3
    assert left_out.clips.search(DIRECTIONS[:1], 1)[1].tolist() == [[-1]]  # the index itself still visits one list


def test_a_reranker_is_not_asked_where_nothing_was_found(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoVector(WordEncoder):
        def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
            return super().encode_texts(texts) if "now" in texts[0] else torch.full((len(texts), DIM), torch.nan)

    monkeypatch.setattr("stages.retrieval.search._open_reranker", lambda *_: object())
    assert search_sentence(bundle, NoVector(), "pour").hits == ()


def test_every_answer_says_whether_the_weights_were_random(tmp_path: Path) -> None:
    bundle = open_bundle(write_folder(tmp_path, with_random_weights(content_of(SHOWN))))
    assert search_like(bundle, "tea").random_weights
    assert search_sentence(bundle, ENCODER, "stir").to_json()["random_weights"] is True
    assert search_paragraph(bundle, ENCODER, ["stir"]).random_weights


def test_vectors_that_are_not_normalised_are_ranked_by_inner_product_and_aligned_by_cosine(tmp_path: Path) -> None:
    content = content_of({"loud": ["pour", "cut"], "clear": ["pour", "stir"]})
    loud = np.array([video == "loud" for video in content.windows["video_id"]])
    content = replace(
        content,
        clips=FlatClips(vectors=np.where(loud[:, None], 50 * vectors_of(content), vectors_of(content))),
        encoder=replace(content.encoder, normalised=False),
    )
    bundle = open_bundle(write_folder(tmp_path, content))
    encoder = WordEncoder()
    encoder.normalised = False
    assert search_sentence(bundle, encoder, "pour", k=1).hits[0].score == pytest.approx(50, rel=0.1)
    assert search_paragraph(bundle, encoder, ["pour", "stir"], k=1).hits[0].video_id == "clear"


@pytest.mark.parametrize("sentences", [[], ["pour", "  "]])
def test_an_empty_question_is_refused(bundle: Bundle, sentences: list[str]) -> None:
    with pytest.raises(ConfigError, match="holds no words"):
        search_paragraph(bundle, ENCODER, sentences)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        search_sentence(bundle, ENCODER, "pour", k=0)


def test_an_empty_index_and_another_encoder_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    nothing = bundle_of(tmp_path, {"empty": []})
    for ask in (
        lambda: search_sentence(nothing, ENCODER, "pour"),
        lambda: search_like(nothing, "empty"),
        lambda: search_paragraph(nothing, ENCODER, ["pour"]),
    ):
        with pytest.raises(ArtifactError, match="is empty"):
            ask()
    other = WordEncoder()
    other.description = "another"
    with pytest.raises(SchemaMismatch, match="'another'"):
        search_paragraph(bundle, other, ["pour"])


def test_a_question_that_is_no_text_is_one_clear_message(bundle: Bundle) -> None:
    for ask in (search_sentence, lambda *rest: search_paragraph(*rest[:2], [rest[2]])):
        with pytest.raises(ConfigError, match=r"'caf\\udce9' is no UTF-8"):
            ask(bundle, ENCODER, "caf\udce9")
