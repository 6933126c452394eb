"""Fine-tuning on annotations: what a batch holds, against what the protocols measure, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.encoders.build import random_encoder, with_head
from models.encoders.checkpoint import load_dual
from models.encoders.config import FusionConfig
from models.encoders.joint import DualJoint
from stages.contract import Inputs
from stages.errors import ConfigError
from stages.train import Train, TrainConfig, WorkersConfig
from stages.training.batch_encoder import BatchEncoder, cut_window, mean_states
from stages.training.choice import EncoderSettings
from stages.training.objectives.episodes import EpisodesSettings
from stages.training.row_windows import row_windows
from stages.training.task import Task
from stages.training.team import Part
from tests.objective_samples import config_of, inputs_of, objective_of, open_task
from tests.training_samples import DIM, STEPS, do, make_features, rows_of


def opened(name: str, inputs: Inputs, **changes: Any) -> Task[Any]:
    """A task with other settings, in its first epoch."""
    objective = objective_of(name, inputs.store.root).model_copy(update=changes)
    task = open_task(name, inputs, objective=objective)
    task.source.begin_epoch(0)
    return task


def test_a_caption_is_learnt_with_the_first_rows_of_its_clip(tmp_path: Path) -> None:
    task = opened("captions", inputs_of("captions", tmp_path), max_rows=2, batch_examples=84)
    batch = task.source.batch(0, Part(0, 1)).pairs
    assert batch.windows.lengths == (2,) * 84
    read = {tuple(rows) for rows in batch.windows.values.view(84, -1).half().tolist()}
    expected = {
        tuple(rows_of(i, 6)[0][3 * scene : 3 * scene + 2].ravel().tolist()) for i in range(14) for scene in range(6)
    }
    assert read == expected
    halves = [task.source.batch(0, Part(index, 2)).pairs.windows.values for index in range(2)]
    assert torch.equal(torch.cat(halves), batch.windows.values)


def test_of_a_video_one_caption_is_drawn_each_time(tmp_path: Path) -> None:
    task = opened("captions", inputs_of("captions", tmp_path), example="video", batch_examples=14, max_rows=3)
    drawn = [task.source.batch(index, Part(0, 1)).pairs.windows.values for index in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    assert task.source.batches_per_epoch == 1
    assert torch.equal(drawn[2], task.source.batch(2, Part(0, 1)).pairs.windows.values)


def test_labels_stand_at_the_rows_that_the_protocol_measures(tmp_path: Path) -> None:
    task = opened("step-labels", inputs_of("step-labels", tmp_path), batch_videos=14)
    assert task.module.scaled.encoder.config.num_labels == 7
    videos = task.source.batch(0, Part(0, 1)).videos
    names = task.source._names(0)
    for name, video in zip(names, videos, strict=True):
        steps = rows_of(int(name[1:]), 6)[1]
        for places, mask, labels in zip(video.rows.places, video.rows.mask, video.labels, strict=True):
            assert labels[mask].tolist() == [steps[place // 3] + 1 for place in places[mask].tolist()]


def test_states_of_an_episode_are_those_that_the_protocol_reads(tmp_path: Path) -> None:
    """The mean over windows of each row's state, as evaluation has it, on features as they are."""
    inputs = inputs_of("episodes", tmp_path)
    task = opened("episodes", inputs, num_frames=18)
    video = task.source.batch(0, Part(0, 1)).videos[0]
    found = task.module._sequence(video).detach().numpy()
    rows = next(
        rows for i in range(14) if np.allclose((rows := rows_of(i, 6)[0])[:8], video.rows.features[0], atol=1e-6)
    ).astype(np.float32)
    checkpoint = load_dual(tmp_path / "start")
    ranges = row_windows(18, 8, 8)
    windows = [cut_window(rows, np.zeros(18, bool), start, end) for start, end in ranges.tolist()]
    states = BatchEncoder(DualJoint(checkpoint), EncoderSettings()).states(windows, cls_visible=False)
    np.testing.assert_allclose(found, mean_states(18, ranges, windows, states), atol=1e-4)


def test_a_video_without_an_intact_row_is_a_named_failure(tmp_path: Path) -> None:
    inputs = inputs_of("step-labels", tmp_path)
    features = make_features(inputs.store, 20, per_unit=20, scenes=6, damaged={"v03": list(range(18)), "v04": [0, 5]})
    inputs = replace(inputs, artifacts={**inputs.artifacts, "features.s3d": features})
    artifact, failures = do(Train(config_of("step-labels", tmp_path)), inputs)
    assert [(failure.input_id, failure.cause) for failure in failures] == [("v03", "no_intact_row")]
    assert "v04" in artifact.records[0].info["train_videos"]


def test_the_annotations_content_counts_not_where_they_lie(tmp_path: Path) -> None:
    identities = []
    for folder in ("one", "two"):
        inputs = inputs_of("captions", tmp_path / folder)
        (unit,) = Train(config_of("captions", tmp_path / folder)).units(inputs)
        identities.append(unit.identities["checkpoint"])
    assert identities[0] == identities[1]
    path = tmp_path / "two" / "annotations" / "youcook.json"
    path.write_text(path.read_text().replace(STEPS[0], "cut it"))
    (unit,) = Train(config_of("captions", tmp_path / "two")).units(inputs)
    assert unit.identities["checkpoint"] != identities[0]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("captions", {"batch_examples": 200}, r"14 of the 14 videos of YouCook2, split train, .* makes 84 examples"),
        ("captions", {"max_rows": 9}, r"max_rows is 9, but the encoder to start from takes 8"),
        ("captions", {"split": "val"}, r"0 of the 0 videos"),
        ("step-labels", {"num_labels": 4}, r"num_labels is 4, but the data set has a step 6"),
        ("episodes", {"ways": 7}, r"classes have at least shots \+ queries = 2 videos with features, but ways is 7"),
    ],
)
def test_what_cannot_train_is_refused(tmp_path: Path, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(name, inputs_of(name, tmp_path), **changes)


def test_a_data_set_without_tasks_has_no_step_sequences(tmp_path: Path) -> None:
    inputs = inputs_of("step-sequences", tmp_path)
    objective = objective_of("step-labels", tmp_path)
    with pytest.raises(ConfigError, match=r"'coin' has no tasks with ordered steps"):
        opened("step-sequences", inputs, dataset=objective.dataset)


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    inputs_of("episodes", tmp_path)
    objective = objective_of("episodes", tmp_path)
    with pytest.raises(ValidationError, match="fine-tunes a trained encoder; set start"):
        TrainConfig(objective=objective)
    with pytest.raises(ValidationError, match="is not divided among workers; take 'batches'"):
        TrainConfig(objective=objective, start=tmp_path, workers=WorkersConfig(count=2))
    with pytest.raises(ValidationError, match="negatives is 31, but 4 frames have 23 other orders"):
        EpisodesSettings.model_validate({**objective.model_dump(), "num_frames": 4, "negatives": 31})
    (tmp_path / "annotations" / "train.list").unlink()
    with pytest.raises(ConfigError, match=r"\[train.objective\] dataset.train = .*there is no such file"):
        objective.check_files()


def test_a_head_is_added_to_a_tower_and_to_nothing_else() -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "video_layers": 1, "text_layers": 1,
        "vocab_size": 30, "max_positions": 120, "feature_dim": DIM, "cls_id": 2, "sep_id": 3,
    }  # fmt: skip
    with pytest.raises(ValueError, match="TACoEncoder takes no head"):
        with_head(random_encoder(FusionConfig(**sizes), 0), 5, 0)
