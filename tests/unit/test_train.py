"""train: what it refuses, what decides its identity, what it writes, and that a kill changes nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from models.encoders.checkpoint import load_dual
from stages.artifacts.records import CommitRecord
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.train import Train, TrainConfig, WorkersConfig
from stages.training.history import HISTORY
from stages.training.objectives import VCLRSettings, VideoCLIPSettings
from stages.training.opening import encoder_dir
from stages.training.optimisation import Optimisation
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes
from stages.training.trained_on import TRAINED_ON, UNRECORDED, read_trained_on
from tests.training_samples import STEPS, do, make_inputs

OBJECTIVE = VideoCLIPSettings(
    encoder=EncoderSizes(
        hidden_size=32, num_heads=2, intermediate_size=64, video_layers=1, text_layers=1, vocab_size=200,
        max_positions=64, max_video_len=8, max_text_len=32,
    ),
    sampling=OverlapSampling(draws_per_video=2, min_text_tokens=1, max_text_tokens=4, kept_text_tokens=32,
                             min_rows=1, max_rows=3),
    batch_videos=8,
)  # fmt: skip
SMALL = TrainConfig(
    objective=OBJECTIVE,
    optimisation=Optimisation(steps=40, learning_rate=2e-3, warmup_steps=4, decay_steps=40, threads=1),
    holdout_fraction=0.25, checkpoint_every=10,
)  # fmt: skip


def with_objective(config: TrainConfig = SMALL, **changes: object) -> TrainConfig:
    return config.model_copy(update={"objective": config.objective.model_copy(update=changes)})


def only_record(inputs: Inputs, config: TrainConfig = SMALL) -> tuple[CommitRecord, dict[str, bytes]]:
    artifact, _ = do(Train(config), inputs)
    (record,) = artifact.records
    return record, {file.name: artifact.path(file).read_bytes() for file in record.files}


def test_it_learns_and_writes_a_checkpoint_that_opens(tmp_path):
    said = []
    artifact, failures = do(Train(SMALL), make_inputs(tmp_path), on_progress=lambda *args: said.append(args))
    assert not failures
    (record,) = artifact.records
    history = pq.read_table(artifact.path(record.file(HISTORY))).to_pydict()
    assert history["step"] == list(range(1, 41))
    assert np.mean(history["loss"][-5:]) < 0.75 * np.mean(history["loss"][:5])
    assert said[-1][0] == 1.0
    assert said[-1][1].startswith("loss ")
    with encoder_dir(artifact) as folder:
        checkpoint = load_dual(folder)
        facts = json.loads((folder / "encoder.json").read_text())
    assert checkpoint.trained
    assert checkpoint.start_weights == "random:seed=0"
    assert checkpoint.encoder.config.feature_dim == 16
    assert facts["training"]["num_videos"] == len(record.info["train_videos"]) == record.num_inputs
    trained_on = artifact.path(record.file(TRAINED_ON)).read_text().split()
    assert trained_on == list(record.info["train_videos"]) == sorted(trained_on)


def test_what_the_start_has_seen_counts_as_trained_on(tmp_path):
    """Three trainings, each from the one before, on halves of the videos; the list of the second is then taken away."""
    inputs, splits = make_inputs(tmp_path), tmp_path / "splits.csv"
    once = SMALL.optimisation.model_copy(update={"steps": 1})

    def train(names: range, start: Path | None) -> list[str]:
        splits.write_text("video,split,pair\n" + "".join(f"v{i:02d},train,\n" for i in names))
        config = SMALL.model_copy(update={"splits": splits, "start": start, "optimisation": once})
        artifact, _ = do(Train(config), inputs)
        folder = tmp_path / f"after {names}"
        with encoder_dir(artifact) as made:
            shutil.copytree(made, folder)
        (folder / TRAINED_ON).write_bytes(artifact.paths(TRAINED_ON)[0].read_bytes())
        assert artifact.records[0].info["train_videos"] == read_trained_on(folder)
        assert artifact.records[0].info["num_videos"] == len(names)
        return read_trained_on(folder)

    first, second = range(8), range(8, 16)
    assert train(first, None) == [f"v{i:02d}" for i in first]
    assert train(second, tmp_path / f"after {first}") == [f"v{i:02d}" for i in range(16)]
    (tmp_path / f"after {second}" / TRAINED_ON).unlink()
    assert train(range(20), tmp_path / f"after {second}") == [UNRECORDED, *(f"v{i:02d}" for i in range(20))]
    assert train(range(9), tmp_path / f"after {range(20)}") == [UNRECORDED, *(f"v{i:02d}" for i in range(20))]


def test_nobody_says_what_a_published_file_has_seen(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    assert read_trained_on(tmp_path / "checkpoint.pt") == [UNRECORDED]


def test_held_out_videos_are_not_trained_on(tmp_path):
    inputs = make_inputs(tmp_path)
    (unit,) = Train(SMALL).units(inputs)
    assert 8 <= len(unit.inputs) < 20
    splits = tmp_path / "splits.csv"
    splits.write_text("video,split,pair\n" + "".join(f"v{i:02d},{'train' if i < 9 else 'test'},\n" for i in range(20)))
    (unit,) = Train(SMALL.model_copy(update={"splits": splits})).units(inputs)
    assert unit.inputs == tuple(f"v{i:02d}" for i in range(9))


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    first, files = only_record(make_inputs(tmp_path / "a"))
    second, again = only_record(make_inputs(tmp_path / "b"))
    assert files == again
    assert first.to_bytes() == second.to_bytes()
    _, other = only_record(make_inputs(tmp_path / "c"), SMALL.model_copy(update={"seed": 1}))
    assert other["model.safetensors"] != files["model.safetensors"]


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(tmp_path):
    _, whole = only_record(make_inputs(tmp_path / "a"))
    inputs = make_inputs(tmp_path / "b")
    (unit,) = Train(SMALL).units(inputs)

    class Stop(Exception):
        pass

    def stop(done: float, text: str) -> None:
        if done >= 0.7:
            raise Stop

    with pytest.raises(Stop):
        do(Train(SMALL), inputs, on_progress=stop)
    assert not list((tmp_path / "b").glob("checkpoint/*/commits/*"))
    seen = []
    artifact, _ = do(Train(SMALL), inputs, on_progress=lambda done, text: seen.append(done))
    assert seen[0] == pytest.approx(21 / 40)
    (record,) = artifact.records
    assert {file.name: artifact.path(file).read_bytes() for file in record.files} == whole
    assert not list((tmp_path / "b").glob("checkpoint/*/scratch/*"))
    assert unit.unit_id == record.unit_id


def identity(inputs: Inputs, config: TrainConfig = SMALL) -> dict[str, object]:
    (unit,) = Train(config).units(inputs)
    return dict(unit.identities["checkpoint"])


def test_the_identity_covers_what_is_read_and_no_more(tmp_path):
    splits = tmp_path / "splits.csv"
    splits.write_text("video,split,pair\n" + "".join(f"v{i:02d},{'train' if i < 8 else 'test'},\n" for i in range(20)))
    config = SMALL.model_copy(update={"splits": splits})
    inputs = make_inputs(tmp_path / "a")
    before = identity(inputs, config)
    assert len(before["features"]) == 1  # eight train videos lie in the first shard alone
    assert identity(inputs, config.model_copy(update={"checkpoint_every": 3})) == before
    assert identity(inputs, config.model_copy(update={"seed": 3})) != before
    edited = identity(make_inputs(tmp_path / "b", extra=" slowly"), config)
    assert {name for name in before if before[name] != edited[name]} == {"narrations"}
    silent = identity(make_inputs(tmp_path / "c", silent=("v19",)), config)
    assert silent == before


def test_a_split_without_narrations_is_refused_before_training(tmp_path):
    inputs = make_inputs(tmp_path, silent=tuple(f"v{i:02d}" for i in range(20)))
    with pytest.raises(
        ConfigError, match=r"none of the \d+ videos of the train split .* has a narration; give captions"
    ):
        Train(SMALL).units(inputs)


def test_fewer_videos_than_a_batch_are_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match=r"an update takes batch_videos = 64 times accumulate = 1; lower one"):
        Train(with_objective(batch_videos=64)).units(make_inputs(tmp_path))
    accumulated = SMALL.model_copy(update={"optimisation": SMALL.optimisation.model_copy(update={"accumulate": 3})})
    with pytest.raises(ConfigError, match=r"batch_videos = 8 times accumulate = 3"):
        Train(accumulated).units(make_inputs(tmp_path))


def test_batches_that_cannot_be_dealt_are_refused():
    with pytest.raises(ValueError, match=r"accumulate = 3 batches an update cannot be dealt to workers\.count = 2"):
        TrainConfig(workers=WorkersConfig(count=2, split="batches"), optimisation=Optimisation(accumulate=3))
    with pytest.raises(ValueError, match=r"'videoclip' has 16 items, which workers\.count = 17 cannot divide"):
        TrainConfig(objective=OBJECTIVE, workers=WorkersConfig(count=17))
    with pytest.raises(ValueError, match=r"'vclr' has 4 items, which workers\.count = 8 cannot divide"):
        TrainConfig(objective=VCLRSettings(batch_videos=4), workers=WorkersConfig(count=8))
    dealt = {"workers": WorkersConfig(count=2, split="batches"), "optimisation": Optimisation(accumulate=2)}
    with pytest.raises(ValueError, match=r"workers of 'vclr' need each other within a batch; take 'pairs'"):
        TrainConfig(objective=VCLRSettings(batch_videos=4), **dealt)
    assert TrainConfig(objective=OBJECTIVE, **dealt).workers.count == 2


def test_a_missing_splits_file_and_a_missing_bert_are_named(tmp_path):
    inputs = make_inputs(tmp_path)
    with pytest.raises(ConfigError, match=r"\[train\] splits = .*nowhere.csv: there is no such file"):
        Train(SMALL.model_copy(update={"splits": tmp_path / "nowhere.csv"})).units(inputs)
    with pytest.raises(ConfigError, match=r"\[train.objective\] .*nowhere: there is no such folder"):
        Train(with_objective(bert=tmp_path / "nowhere")).units(inputs)


def test_a_video_whose_told_rows_are_all_damaged_is_a_failure(tmp_path):
    inputs = make_inputs(tmp_path, damaged={"v03": list(range(9))})
    (unit,) = Train(SMALL).units(inputs)
    assert "v03" in unit.inputs
    artifact, failures = do(Train(SMALL), inputs)
    assert [(failure.input_id, failure.cause) for failure in failures] == [("v03", "no_usable_narration")]
    assert "v03" not in artifact.records[0].info["train_videos"]


def test_impossible_sizes_are_named(tmp_path):
    config = with_objective(encoder=OBJECTIVE.encoder.model_copy(update={"num_heads": 3}))
    with pytest.raises(ConfigError, match=r"\[train\] .*hidden_size 32 is no multiple of num_heads 3"):
        do(Train(config), make_inputs(tmp_path))


def test_samples_that_no_tower_takes_are_refused():
    with pytest.raises(ValueError, match=r"max_rows is 9, but encoder\.max_video_len is 8"):
        VideoCLIPSettings(encoder=OBJECTIVE.encoder, sampling=OBJECTIVE.sampling.model_copy(update={"max_rows": 9}))
    with pytest.raises(ValueError, match="no negatives"):
        VideoCLIPSettings(batch_videos=1, sampling=OverlapSampling(draws_per_video=1))


def test_without_one_scale_constant_features_teach_nothing(tmp_path):
    """Why `standardise_features` departs from the paper."""
    losses = {}
    for standardise in (True, False):
        config = with_objective(standardise_features=standardise)
        artifact, _ = do(Train(config), replace(make_inputs(tmp_path / str(standardise))))
        losses[standardise] = artifact.records[0].info["final_loss"]
        assert artifact.records[0].info["steps"] == 40
        (path,) = artifact.paths("model.safetensors")
        assert all(np.isfinite(tensor).all() for tensor in safetensors.numpy.load_file(path).values())
    assert losses[True] < losses[False] - 1.0


def test_training_starts_from_a_bert(tmp_path):
    """A tiny BERT in the hub's layout: its tokenizer, its sizes and its weights are taken."""
    from transformers import BertConfig, BertModel

    bert = tmp_path / "bert"
    words = sorted({word for step in STEPS for word in step.split()})
    sizes = BertConfig(
        vocab_size=5 + len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(sizes).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    one_step = SMALL.optimisation.model_copy(update={"steps": 1, "learning_rate": 1e-9, "warmup_steps": 0})
    config = with_objective(SMALL.model_copy(update={"optimisation": one_step}), bert=bert)
    artifact, _ = do(Train(config), make_inputs(tmp_path / "store"))
    with encoder_dir(artifact) as folder:
        checkpoint = load_dual(folder)
    assert checkpoint.start_weights.startswith("bert:sha256:")
    trained = checkpoint.encoder.config
    assert (trained.hidden_size, trained.text_layers, trained.video_layers) == (24, 2, 1)
    taken = safetensors.numpy.load_file(bert / "model.safetensors")["embeddings.word_embeddings.weight"]
    found = checkpoint.encoder.text_encoder.state_dict()["embeddings.word_embeddings.weight"].numpy()
    np.testing.assert_allclose(found, taken, atol=1e-6)


def test_training_goes_on_from_a_checkpoint(tmp_path):
    """Its weights, tokenizer and sizes are taken, and features are put on one scale without changing its outputs."""
    inputs = make_inputs(tmp_path / "store")
    first, _ = do(Train(SMALL), inputs)
    one_step = SMALL.optimisation.model_copy(update={"steps": 1, "learning_rate": 1e-9, "warmup_steps": 0})
    with encoder_dir(first) as folder:
        config = SMALL.model_copy(update={"optimisation": one_step, "start": folder})
        second, _ = do(Train(config), inputs)
        before, started = load_dual(folder), identity(inputs, config)
    with encoder_dir(second) as folder:
        after = load_dual(folder)
    assert after.start_weights.startswith("checkpoint:sha256:")
    assert after.trained
    windows, mask = (
        torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(0)),
        torch.ones(3, 4, dtype=torch.bool),
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            after.encoder.encode_video(1 + 0.02 * windows, mask),
            before.encoder.encode_video(1 + 0.02 * windows, mask),
            atol=2e-3, rtol=0,
        )  # fmt: skip
        texts = before.tokenizer.encode(list(STEPS))
        torch.testing.assert_close(after.encoder.encode_text(*texts), before.encoder.encode_text(*texts))
    other, _ = do(Train(SMALL.model_copy(update={"seed": 5})), inputs)
    with encoder_dir(other) as folder:
        assert identity(inputs, config.model_copy(update={"start": folder}))["start"] != started["start"]


def test_a_checkpoint_that_is_not_there_or_does_not_fit_is_named(tmp_path):
    inputs = make_inputs(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"\[train\] start = .*nowhere: there is no such"):
        Train(SMALL.model_copy(update={"start": tmp_path / "nowhere"})).units(inputs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"\[train\] start: .*there is no file"):
        do(Train(SMALL.model_copy(update={"start": tmp_path / "empty"})), inputs)


def test_one_encoder_can_read_both_sides(tmp_path):
    """VideoCLIP's ablation, and its options: one direction, the mean, no negatives of the same video."""
    shared = OBJECTIVE.encoder.model_copy(update={"shared": True, "video_layers": 2})
    config = with_objective(encoder=shared, directions="text_to_video", reduction="mean", same_video_negatives=False)
    artifact, _ = do(Train(config), make_inputs(tmp_path))
    with encoder_dir(artifact) as folder:
        encoder = load_dual(folder).encoder
    assert encoder.config.shared
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"video_encoder"}
    losses = pq.read_table(artifact.paths(HISTORY)[0]).column("loss").to_pylist()
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_scalars_are_logged_beside_the_attempts(tmp_path):
    do(Train(SMALL), make_inputs(tmp_path))
    (log,) = tmp_path.glob("checkpoint/*/attempts/run.tensorboard/events.*")
    assert log.stat().st_size > 40 * 6 * 20
