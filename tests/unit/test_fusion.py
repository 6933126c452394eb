"""TACo after training: states of windows in embeddings and bundle, scored again by query and evaluate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders.joint import DualJoint, EncoderSpec, open_encoder
from models.encoders.packed import pack
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs
from stages.embed import Embed, EmbedConfig
from stages.errors import Corrupt, SchemaMismatch
from stages.evaluation.fused import open_fused_windows
from stages.evaluation.own_set import measure
from stages.evaluation.reading import read_evaluation_set
from stages.evaluation.scoring import ProtocolSettings
from stages.index import Index, IndexConfig
from stages.retrieval import open_bundle
from stages.retrieval.fusion import FusionReranker, open_reranker
from stages.retrieval.query_encoder import open_query_encoder
from stages.retrieval.search import search_sentence
from stages.retrieval.window_tokens import COUNTS_FILE, TOKENS_FILE, open_tokens, tokens_of
from stages.text.word_weights import WordWeights
from stages.train import Train
from stages.training.choice import EncoderChoice
from stages.training.opening import encoder_dir
from tests.objective_samples import config_of, inputs_of
from tests.training_samples import STEPS, do

WINDOWS = EmbedConfig(window_s=6.0, stride_s=6.0, batch_windows=4, batch_texts=4)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A TACo that was trained for a few steps, and what it embedded."""
    inputs = inputs_of("taco", tmp_path_factory.mktemp("taco"))
    checkpoint, _ = do(Train(config_of("taco")), inputs)
    inputs = replace(inputs, artifacts={**inputs.artifacts, "checkpoint": checkpoint})
    embeddings, _ = do(Embed(WINDOWS, encoder=EncoderChoice(kind="train")), inputs)
    return replace(inputs, artifacts={**inputs.artifacts, "embeddings": embeddings})


@pytest.fixture(scope="module")
def encoder(embedded: Inputs) -> DualJoint:
    with encoder_dir(embedded["checkpoint"]) as folder:
        found = open_encoder(EncoderSpec(kind="dual", path=str(folder)))
    assert isinstance(found, DualJoint)
    return found


@pytest.fixture(scope="module")
def reranker(embedded: Inputs, encoder: DualJoint) -> FusionReranker:
    found = open_reranker(encoder, tokens_of(embedded["embeddings"]))
    assert found is not None
    return found


def table(embeddings: Artifact, column: str) -> list:
    from stages.artifacts.tables import read_tables

    return read_tables(embeddings, "windows.parquet", [column]).column(column).to_pylist()


def test_the_mean_of_a_window_s_states_is_its_vector(embedded: Inputs) -> None:
    embeddings = embedded["embeddings"]
    tokens, vectors = tokens_of(embeddings), table(embeddings, "vector")
    assert tokens is not None
    assert len(tokens.count) == len(vectors) == 20 * 6
    assert set(tokens.count.tolist()) == {3}
    for row, vector in enumerate(vectors):
        np.testing.assert_allclose(tokens.of(row).mean(axis=0), vector, atol=2e-3)


@torch.no_grad()
def test_scores_are_the_three_of_the_paper(reranker: FusionReranker, encoder: DualJoint) -> None:
    """Each window alone, in loops."""
    sentence, rows = "fry the egg now", [0, 7, 33, 119]
    model, tokenizer = encoder.checkpoint.encoder, encoder.checkpoint.tokenizer
    facts = encoder.checkpoint.fusion
    assert facts is not None
    words = WordWeights.from_json(facts["words"]).weigh_texts([sentence])[0]
    assert [sentence[word.start : word.end] for word in words] == ["fry", "egg"]
    text = model.text_states(pack([torch.tensor(tokenizer.framed(tokenizer.pieces(sentence)))]))
    spans = tokenizer.spans(sentence)
    marks = {p + 1: w.idf for p, (s, e) in enumerate(spans) for w in words if w.start < e and s < w.end}
    for row, found in zip(rows, reranker.scores(sentence, rows), strict=True):
        window = torch.from_numpy(reranker.tokens.of(row))
        token = sum(idf / sum(marks.values()) * float((window @ text[p]).max()) for p, idf in marks.items())
        lengths = torch.tensor([len(text)]), torch.tensor([len(window)])
        fused = float(model.fusion(text[None], window[None], lengths, torch.tensor([[0, 0]])))
        expected = float(window.mean(dim=0) @ text[0]) + 0.5 * token + fused
        assert found == pytest.approx(expected, rel=1e-4)


def test_the_bundle_scores_its_best_moments_again(embedded: Inputs, reranker: FusionReranker) -> None:
    index, _ = do(Index(IndexConfig(), trained_here=True), embedded)
    bundle = open_bundle(index.directory.path)
    assert bundle.tokens is not None
    ids = table(embedded["embeddings"], "window_id")
    for row, name in enumerate(bundle.window_ids):
        np.testing.assert_array_equal(bundle.tokens.of(row), reranker.tokens.of(ids.index(name)))
    sentence = STEPS[2]
    scores = reranker.scores(sentence, range(len(ids)))
    with open_query_encoder(bundle) as encoder:
        again = search_sentence(bundle, encoder, sentence, k=5, rerank=1000).hits
        plain = search_sentence(bundle, encoder, sentence, k=5, rerank=0).hits
    best = int(scores.argmax())
    assert again[0].score == pytest.approx(scores[best], abs=1e-4)
    assert again[0].video_id == ids[best].partition("/")[0]
    assert [hit.score for hit in again] == sorted((hit.score for hit in again), reverse=True)
    assert [hit.score for hit in plain] != [hit.score for hit in again]


@pytest.mark.parametrize("most", [0, 7])
def test_evaluate_ranks_all_windows_or_the_best(embedded: Inputs, encoder: DualJoint, most: int) -> None:
    video_ids = [f"v{i:02d}" for i in range(12, 20)]
    chosen = {"video_ids": video_ids, "pairs": {}, "source": "test", "trained_on": None}
    evaluation = read_evaluation_set(embedded["embeddings"], embedded["checkpoint"], chosen, "test")
    plain = measure(evaluation, ProtocolSettings())
    assert "text_to_window.fused" not in [result.name for result in plain]
    fused = open_fused_windows(embedded["embeddings"], lambda: encoder, most=most)
    assert fused is not None
    results = {result.name: result for result in measure(replace(evaluation, fused=fused), ProtocolSettings())}
    ranked, by_vectors = results["text_to_window.fused"].ranked, results["text_to_window"].ranked
    assert ranked is not None
    assert by_vectors is not None
    texts = {
        name: text for video in evaluation.videos for name, text in zip(video.narration_ids, video.texts, strict=True)
    }
    windows = [name for video in evaluation.videos for name in video.window_ids]
    for query, rank, target, before in zip(
        ranked.query_ids, ranked.ranks, ranked.target_ids, by_vectors.ranks, strict=True
    ):
        if most:
            assert (rank <= most) == (before <= most)
        else:
            scores = dict(zip(windows, fused.scores(texts[query], windows), strict=True))
            assert rank == 1 + sum(score > scores[target] for score in scores.values())


def test_what_does_not_belong_together_is_named(embedded: Inputs, encoder: DualJoint, tmp_path: Path) -> None:
    np.save(tmp_path / TOKENS_FILE, np.zeros((5, 4), np.float16))
    np.save(tmp_path / COUNTS_FILE, np.array([2, 2], np.int32))
    with pytest.raises(Corrupt, match=r"shape \(5, 4\), its counts say 4 states"):
        open_tokens([(tmp_path / TOKENS_FILE, tmp_path / COUNTS_FILE)])
    assert open_reranker(encoder, None) is None
    bare = DualJoint(replace(encoder.checkpoint, fusion=None))
    with pytest.raises(SchemaMismatch, match=r"fusion\.json has \[\], expected"):
        open_reranker(bare, tokens_of(embedded["embeddings"]))
