"""TACo in the trainer: marks of tokens, the loss against a plain recomputation, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.encoders.checkpoint import FUSION_FILE, load_dual
from models.encoders.packed import pack
from models.encoders.tokenizer import CaptionTokenizer
from stages.errors import ConfigError
from stages.text.tagging import LexicalTagger
from stages.text.word_weights import NOT_OF_INTEREST, WeighedWord, WordWeights, count_words, mark_pieces
from stages.train import Train
from stages.training.objectives import TACoSettings
from stages.training.objectives.taco import TACoSizes, WordSettings
from stages.training.opening import encoder_dir
from stages.training.tasks.taco import TACoModule
from stages.training.tasks.text_video import EncoderTask
from stages.training.team import Part
from tests.objective_samples import OBJECTIVES, config_of, inputs_of, open_task
from tests.tiny_spacy import train_pipeline
from tests.training_samples import STEPS, do


def test_each_piece_has_its_words_mark() -> None:
    tokenizer = CaptionTokenizer.train(["stirring soups"] * 2, vocab_size=30)
    text = "Stirring a soup"
    words = [WeighedWord(0, 8, 1.5), WeighedWord(11, 15, 0.0)]
    spans = tokenizer.spans(text)
    assert len(spans) == len(tokenizer.pieces(text))
    marks = mark_pieces(spans, words)
    for (start, end), mark in zip(spans, marks, strict=True):
        expected = 1.5 if end <= 8 else 0.0 if start >= 11 else NOT_OF_INTEREST
        assert mark == expected, text[start:end]
    assert {*marks} == {1.5, 0.0, NOT_OF_INTEREST}


def opened(tmp_path: Path, objective: TACoSettings) -> EncoderTask:
    """The task without dropout, in its first epoch."""
    task = open_task("taco", inputs_of("taco", tmp_path), objective=objective)
    assert isinstance(task, EncoderTask)
    task.module.eval()
    task.source.begin_epoch(0)
    return task


def test_marks_are_those_of_the_captions_that_were_drawn(tmp_path: Path) -> None:
    task = opened(tmp_path, OBJECTIVES["taco"])
    batch, draws = task.source.batch(0, Part()), task.source.draw(0)
    words = count_words([text for text in STEPS for _ in range(3)], LexicalTagger(), ("NOUN", "VERB"))
    assert words.frequency["onion"] == 3
    for row, draw in enumerate(draws):
        marks = batch.marks[row][: len(draw.pair.tokens) + 2]
        assert marks[0] == marks[-1] == NOT_OF_INTEREST
        assert (batch.marks[row][len(marks) :] == NOT_OF_INTEREST).all()
        # Each step has a noun and a verb, and an article or the like: some tokens count, some do not.
        assert 0 < int((marks[1:-1] > NOT_OF_INTEREST).sum()) < len(draw.pair.tokens)


@torch.no_grad()
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_is_the_papers(tmp_path: Path, symmetric: bool) -> None:
    """Every text, window and pair alone, in loops."""
    objective = OBJECTIVES["taco"].model_copy(
        update={"symmetric_fusion": symmetric, "same_caption_negatives": True, "standardise_features": False}
    )
    task = opened(tmp_path, objective)
    module, draws = task.module, task.source.draw(0)
    assert isinstance(module, TACoModule)
    encoder, batch = module.scaled.encoder, task.source.batch(0, Part())
    loss = module(batch)
    texts, windows = [], []
    for draw in draws:
        rows = draw.video.entry.map_features()[draw.pair.start_row : draw.pair.end_row].astype(np.float32)
        windows.append(encoder.window_states(pack([torch.from_numpy(rows)])))
        ids = [encoder.config.cls_id, *draw.pair.tokens.tolist(), encoder.config.sep_id]
        texts.append(encoder.text_states(pack([torch.tensor(ids)])))
    count = len(draws)
    sentence = [[float(windows[j].mean(0) @ texts[i][0]) for j in range(count)] for i in range(count)]
    marks = [[(p, m) for p, m in enumerate(batch.marks[i].tolist()) if m > NOT_OF_INTEREST] for i in range(count)]
    token = [
        [[float((windows[j] @ texts[i][p]).max()) for j in range(count)] for p, _ in marks[i]] for i in range(count)
    ]
    cheap = [[sentence[i][j] + sum(row[j] for row in token[i]) for j in range(count)] for i in range(count)]
    first = sum(_cross_entropy(sentence[i], i) for i in range(count))
    second = sum(
        mark / sum(m for _, m in marks[i]) * _cross_entropy(token[i][p], i)
        for i in range(count)
        for p, (_, mark) in enumerate(marks[i])
    )

    def fused(i: int, j: int) -> float:
        lengths = torch.tensor([len(texts[i])]), torch.tensor([len(windows[j])])
        return float(encoder.fusion(texts[i][None], windows[j][None], lengths, torch.tensor([[0, 0]])))

    third = 0.0
    for own in range(count):
        others = sorted((o for o in range(count) if o != own), key=lambda o: -cheap[own][o])[:3]
        third += _cross_entropy([fused(own, o) for o in [own, *others]], 0)
        if symmetric:
            others = sorted((o for o in range(count) if o != own), key=lambda o: -cheap[o][own])[:3]
            third += _cross_entropy([fused(o, own) for o in [own, *others]], 0)
    assert loss.terms["sentence"].item() == pytest.approx(first, rel=1e-4)
    assert loss.terms["token"].item() == pytest.approx(second, rel=1e-4)
    assert loss.terms["fusion"].item() == pytest.approx(third, rel=1e-4)
    assert loss.total.item() == pytest.approx(first + 0.5 * second + third, rel=1e-4)


def _cross_entropy(scores: list[float], target: int) -> float:
    logits: Tensor = torch.tensor(scores, dtype=torch.float64)
    return float(logits.logsumexp(0) - logits[target])


@torch.no_grad()
def test_a_batch_with_fewer_pairs_than_negatives_takes_all_others(tmp_path: Path) -> None:
    task = opened(tmp_path, OBJECTIVES["taco"].model_copy(update={"negatives": 8, "batch_videos": 2}))
    loss = task.module(task.source.batch(0, Part()))
    assert loss.total.isfinite()
    assert loss.terms["fusion"] > 0


def test_equal_captions_may_be_kept_apart(tmp_path: Path) -> None:
    batch = opened(tmp_path, OBJECTIVES["taco"]).source
    drawn = batch.draw(0)
    ids = batch.batch(0, Part()).captions
    assert ids is not None
    texts = [draw.pair.tokens.tolist() for draw in drawn]
    for i, one in enumerate(texts):
        assert [bool(ids[i] == ids[j]) for j in range(len(texts))] == [one == other for other in texts]
    assert len(set(ids.tolist())) < len(texts)


def test_the_weights_of_words_lie_beside_the_encoder(tmp_path: Path) -> None:
    artifact, _ = do(Train(config_of("taco")), inputs_of("taco", tmp_path))
    with encoder_dir(artifact) as folder:
        fusion = load_dual(folder).fusion
    assert fusion is not None
    words = WordWeights.from_json(fusion["words"])
    assert fusion["token_weight"] == 0.5
    assert words.documents == 6 * artifact.records[0].num_inputs
    assert words.idf("onion") == pytest.approx(math.log(words.documents / (1 + words.frequency["onion"])))


def test_an_encoder_without_fusion_and_too_many_negatives_are_refused(tmp_path: Path) -> None:
    inputs = inputs_of("taco", tmp_path)
    first, _ = do(Train(config_of("videoclip")), inputs)
    with (
        encoder_dir(first) as folder,
        pytest.raises(ConfigError, match="this is no encoder of TACo"),
    ):
        do(Train(config_of("taco", start=folder)), inputs)
    with pytest.raises(ValueError, match="negatives is 64, but a batch has 64 pairs"):
        TACoSettings(negatives=64)
    with pytest.raises(ValueError, match="TACo has one encoder for each side"):
        TACoSizes(shared=True)
    objective = OBJECTIVES["taco"].model_copy(update={"words": WordSettings(spacy=tmp_path / "nowhere")})
    for refuse in (objective.check_files, lambda: Train(config_of("taco", objective=objective)).units(inputs)):
        with pytest.raises(ConfigError, match=r"nowhere: there is no such folder"):
            refuse()


def test_a_spacy_pipeline_says_which_words_count(tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed: pip install 'fabula[spacy]'")
    pipeline = train_pipeline(tmp_path / "tiny")
    inputs = inputs_of("taco", tmp_path)
    objective = OBJECTIVES["taco"].model_copy(update={"words": WordSettings(spacy=pipeline)})
    one_step = config_of("taco").optimisation.model_copy(update={"steps": 1})
    config = config_of("taco", objective=objective, optimisation=one_step)
    (unit,) = Train(config).units(inputs)
    assert "meta.json" in unit.identities["checkpoint"]["spacy"]
    artifact, _ = do(Train(config), inputs)
    words = WordWeights.from_json(json.loads(artifact.paths(FUSION_FILE)[0].read_text())["words"])
    assert words.by_majority
    assert words.documents == 6 * len(unit.inputs)
