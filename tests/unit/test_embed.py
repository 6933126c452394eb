"""embed: windows, damaged rows, means, identities, and the same bytes however shards are cut."""

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from models.encoders.build import random_encoder
from models.encoders.checkpoint import DualCheckpoint, load_dual, save_dual
from models.encoders.config import DualConfig
from models.encoders.tokenizer import CaptionTokenizer
from stages.artifacts.commit import StagedOutput
from stages.artifacts.durable import publish
from stages.artifacts.hashing import fingerprint
from stages.artifacts.sealed import Artifact, Description, PlannedUnit
from stages.artifacts.shards import read_samples
from stages.embed import STATES_TAR, Embed, EmbedConfig
from stages.errors import ConfigError, SchemaMismatch
from stages.train import Train
from stages.training.choice import EncoderChoice, parse_encoder
from stages.training.embedder import rows_over
from stages.training.embedding_tables import NARRATIONS, PARAGRAPHS, WINDOWS
from tests.training_samples import DIM, STEPS, do, make_inputs, rows_of
from tests.unit.test_train import SMALL

CUT = EmbedConfig(window_s=4.0, stride_s=4.0, batch_windows=4, batch_texts=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of ours with random weights."""
    path = tmp_path_factory.mktemp("encoder")
    tokenizer = CaptionTokenizer.train(STEPS, vocab_size=120)
    config = DualConfig(
        hidden_size=16, num_heads=2, intermediate_size=32, video_layers=1, text_layers=1, feature_dim=DIM,
        vocab_size=tokenizer.vocab_size, max_positions=64, max_video_len=8,
        cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id,
    )  # fmt: skip
    save_dual(
        DualCheckpoint(
            encoder=random_encoder(config, 0), tokenizer=tokenizer, start_weights="random:seed=0", trained=False
        ),
        path,
    )
    return path


def stage(folder, **changes):
    return Embed(CUT.model_copy(update=changes), encoder=parse_encoder(str(folder)))


def tables(artifact, name):
    return [row for path in artifact.paths(name) for row in pq.read_table(path).to_pylist()]


def test_every_window_and_sentence_has_the_encoders_own_vector(tmp_path, folder):
    artifact, failures = do(stage(folder), make_inputs(tmp_path, 3))
    assert not failures
    encoder = load_dual(folder).encoder
    windows = tables(artifact, WINDOWS)
    assert [row["window_id"] for row in windows[:6]] == [f"v00/w{i:05d}" for i in range(5)] + ["v01/w00000"]
    assert (windows[4]["start_s"], windows[4]["end_s"], windows[4]["index"]) == (16.0, 18.0, 4)
    features = torch.from_numpy(rows_of(1)[0].astype(np.float32))
    with torch.inference_mode():
        expected = encoder.encode_video(features[None, 2:4], torch.ones(1, 2, dtype=torch.bool))[0]
    np.testing.assert_allclose(windows[6]["vector"], expected.numpy(), atol=1e-5)
    narrations = tables(artifact, NARRATIONS)
    with torch.inference_mode():
        said = encoder.encode_text(*load_dual(folder).tokenizer.encode([row["text"] for row in narrations]))
    np.testing.assert_allclose([row["vector"] for row in narrations], said.numpy(), atol=1e-5)


def test_a_paragraph_has_the_means_of_its_sentences_and_of_its_windows(tmp_path, folder):
    artifact, _ = do(stage(folder), make_inputs(tmp_path, 2))
    windows, narrations = tables(artifact, WINDOWS), tables(artifact, NARRATIONS)
    paragraph = tables(artifact, PARAGRAPHS)[1]
    assert paragraph["paragraph_id"] == "v01/p000"
    assert paragraph["text"] == " ".join(row["text"] for row in narrations if row["video_id"] == "v01")
    mean = np.mean([row["vector"] for row in narrations if row["video_id"] == "v01"], axis=0)
    np.testing.assert_allclose(paragraph["text_vector"], mean, rtol=1e-5)
    over = [row["vector"] for row in windows if row["video_id"] == "v01" and row["start_s"] < paragraph["end_s"]]
    np.testing.assert_allclose(paragraph["video_vector"], np.mean(over, axis=0), rtol=1e-5)


def test_damaged_rows_do_not_count_and_a_window_of_them_has_no_row(tmp_path, folder):
    whole, _ = do(stage(folder), make_inputs(tmp_path / "a", 2))
    artifact, _ = do(stage(folder), make_inputs(tmp_path / "b", 2, damaged={"v00": [0, 2, 3]}))
    rows = {row["window_id"]: row for row in tables(artifact, WINDOWS)}
    before = {row["window_id"]: row for row in tables(whole, WINDOWS)}
    assert before.keys() - rows.keys() == {"v00/w00001"}
    assert rows["v00/w00000"]["num_damaged"] == 1
    assert rows["v00/w00000"]["vector"] != before["v00/w00000"]["vector"]
    assert rows["v00/w00002"] == before["v00/w00002"]
    info = artifact.records[0].info
    assert (info["windows"], info["windows_without_intact_row"]) == (9, 1)


def test_a_video_that_is_all_damaged_leaves_its_paragraph_unshown(tmp_path, folder):
    artifact, _ = do(stage(folder), make_inputs(tmp_path, 2, damaged={"v00": list(range(9))}))
    paragraphs = tables(artifact, PARAGRAPHS)
    assert paragraphs[0]["video_vector"] is None
    assert paragraphs[0]["text_vector"] is not None
    assert paragraphs[1]["video_vector"] is not None


def test_a_silent_video_has_windows_only(tmp_path, folder):
    artifact, _ = do(stage(folder), make_inputs(tmp_path, 2, silent=("v00", "v01")))
    assert len(tables(artifact, WINDOWS)) == 10
    assert tables(artifact, NARRATIONS) == tables(artifact, PARAGRAPHS) == []


def test_vectors_do_not_depend_on_how_shards_are_cut(tmp_path, folder):
    one, _ = do(stage(folder), make_inputs(tmp_path / "a", 6, per_unit=6))
    three, _ = do(stage(folder), make_inputs(tmp_path / "b", 6, per_unit=2))
    assert len(three.records) == 3
    for name in (WINDOWS, NARRATIONS, PARAGRAPHS):
        assert tables(one, name) == tables(three, name)


def test_the_same_inputs_give_the_same_bytes(tmp_path, folder):
    records = [do(stage(folder), make_inputs(tmp_path / name, 3))[0].records[0] for name in "ab"]
    assert records[0].to_bytes() == records[1].to_bytes()


def test_an_edited_sentence_redoes_its_shard_alone(tmp_path, folder):
    def prints(units):
        return [dict(unit.identities["embeddings"]) for unit in units]

    before = prints(stage(folder).units(make_inputs(tmp_path / "a", 6, per_unit=2)))
    after = prints(stage(folder).units(make_inputs(tmp_path / "b", 6, per_unit=2, extra=" slowly")))
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert {name for name in before[0] if before[0][name] != after[0][name]} == {"texts"}


def test_another_encoder_redoes_everything(tmp_path, folder):
    inputs = make_inputs(tmp_path, 2)
    (before,) = stage(folder).units(inputs)
    other = tmp_path / "other"
    checkpoint = load_dual(folder)
    with torch.no_grad():
        checkpoint.encoder.video_encoder.videomlp.linear1.bias += 1
    save_dual(checkpoint, other)
    (after,) = stage(other).units(inputs)
    assert before.identities["embeddings"]["encoder"] != after.identities["embeddings"]["encoder"]


def test_the_checkpoint_of_the_run_embeds(tmp_path):
    inputs = make_inputs(tmp_path)
    checkpoint, _ = do(Train(SMALL), inputs)
    inputs.artifacts["checkpoint"] = checkpoint
    artifact, _ = do(Embed(CUT, encoder=parse_encoder("train")), inputs)
    info = artifact.records[0].info
    assert info["window_s"] == info["stride_s"] == 4.0
    assert info["encoder"]["kind"] == "dual"
    assert info["encoder"]["random_weights"] is False
    assert len(info["encoder"]["sha256"]) == 64
    assert len(artifact.records) == 3
    windows, narrations = tables(artifact, WINDOWS), tables(artifact, NARRATIONS)
    shown = np.array([row["vector"] for row in windows])
    said = {row["text"]: np.array(row["vector"]) for row in narrations}
    videos = {f"v{i:02d}": rows_of(i)[1] for i in range(20)}
    right = 0
    for row, vector in zip(windows, shown, strict=True):
        scores = {text: vector @ other for text, other in said.items()}
        steps = videos[row["video_id"]]
        over = {STEPS[steps[int(t // 6)]] for t in (row["start_s"], row["end_s"] - 1e-6)}
        right += max(scores, key=scores.__getitem__) in over
    assert right / len(windows) > 0.8


def test_features_of_another_width_are_refused(tmp_path):
    inputs = make_inputs(tmp_path, 2)
    with pytest.raises(SchemaMismatch, match=r"video v00: its features have 16 components, the encoder .* reads 512"):
        do(Embed(CUT, encoder=parse_encoder("s3d-text")), inputs)


def test_a_window_that_the_encoder_cannot_take_is_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"window_s = 18: .* v00 has 9 feature rows, the encoder takes 8; lower"):
        do(stage(folder, window_s=18.0), make_inputs(tmp_path, 2))


def test_weights_with_another_checksum_are_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match="expected 0000"):
        do(stage(folder, sha256="0" * 64), make_inputs(tmp_path, 2))


def test_what_an_encoder_may_be_called(folder, tmp_path):
    assert parse_encoder("train", train_backbone="clip") == EncoderChoice(kind="train", backbone="clip")
    assert parse_encoder("s3d-text") == EncoderChoice(kind="s3d-text")
    assert parse_encoder("s3d-text:w.pth") == EncoderChoice(kind="s3d-text", path="w.pth")
    assert parse_encoder("clip:some/model") == EncoderChoice(kind="clip", path="some/model", backbone="clip")
    assert parse_encoder(str(folder)) == EncoderChoice(kind="dual", path=str(folder))
    with pytest.raises(ConfigError, match=r"encoder = 'clap': there is no such checkpoint; expected 'train'"):
        parse_encoder("clap")
    (tmp_path / "encoder.json").write_text(json.dumps([]))
    with pytest.raises(ConfigError, match=r"its encoder.json cannot be read"):
        parse_encoder(str(tmp_path))


def test_rows_over_windows_are_those_that_overlap():
    spans = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    windows = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 6.0], [3.9, 4.1], [6.0, 9.0], [0.0, 0.5]])
    assert rows_over(spans, windows).tolist() == [[0, 1], [0, 2], [1, 3], [1, 3], [3, 3], [0, 1]]
    assert rows_over(np.zeros((0, 2)), windows[:1]).tolist() == [[0, 0]]


def test_planning_imports_nothing_heavy():
    code = (
        "import sys, stages.train, stages.embed;"
        "print([m for m in ('torch', 'ray', 'av', 'faiss', 'transformers', 'webdataset') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def states_of(artifact):
    return {
        key: {name: np.load(io.BytesIO(parts[name])) for name in ("states.npy", "spans.npy", "damaged.npy")}
        for record in artifact.records
        for key, parts in read_samples(artifact.path(record.file(STATES_TAR)))
    }


def test_hidden_states_are_written_on_request_and_averaged_where_windows_overlap(tmp_path, folder):
    inputs = make_inputs(tmp_path, 3, damaged={"v01": [4]})
    asked = stage(folder, states=True, window_s=4.0, stride_s=2.0)
    assert [output.label for output in asked.outputs()] == ["embeddings", "states"]
    (unit,) = asked.units(inputs)
    target = inputs.store.artifact("states", fingerprint(dict(unit.identities["states"])))
    publish(target.description_path, states_description(target.name, unit))
    worker, out = asked.open(inputs), StagedOutput(unit.unit_id, {"states": target})
    assert not list(worker.process(unit, out))  # embeddings were adopted, say: only what is wanted is written
    out.commit({"states": target.name}, unit.inputs, [])
    found = states_of(Artifact(target))
    assert list(found) == ["v00", "v01", "v02"]
    encoder, features = load_dual(folder).encoder, torch.from_numpy(rows_of(0)[0].astype(np.float32))
    with torch.inference_mode():
        windows = [
            encoder.encode_video_states(features[None, start : start + 2], torch.ones(1, 2, dtype=torch.bool))[0]
            for start in range(8)
        ]
    states = found["v00"]["states.npy"]
    assert states.dtype == np.float32
    np.testing.assert_allclose(states[0], windows[0][0].numpy(), atol=1e-5)
    np.testing.assert_allclose(states[3], (windows[2][1] + windows[3][0]).numpy() / 2, atol=1e-5)
    assert found["v01"]["damaged.npy"].tolist() == [row == 4 for row in range(9)]
    assert not found["v01"]["states.npy"][4].any()
    assert np.isfinite(found["v01"]["states.npy"]).all()


def states_description(name, unit):
    planned = {unit.unit_id: PlannedUnit(fingerprint=name, parts={}, num_inputs=len(unit.inputs))}
    return Description(
        label="states", stage="embed", version=1, schema=1, fingerprint=name, about={}, units=planned
    ).to_bytes()


def test_asking_for_states_changes_nothing_of_the_embeddings(tmp_path, folder):
    inputs = make_inputs(tmp_path, 2)
    (plain,), (asked,) = stage(folder).units(inputs), stage(folder, states=True).units(inputs)
    assert plain.identities["embeddings"] == asked.identities["embeddings"]
