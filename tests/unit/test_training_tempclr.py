"""TempCLR in the trainer: what it tunes, what it refuses, and which windows make a sequence."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stages.errors import ConfigError
from stages.train import Train, TrainConfig
from stages.training.objectives import TempCLRSettings
from stages.training.objectives.tempclr import SequenceSettings
from stages.training.opening import encoder_dir
from stages.training.sampling import OverlapSampling
from tests.objective_samples import OBJECTIVES, SAMPLING, config_of, inputs_of
from tests.training_samples import do


def weights(artifact) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(artifact.paths("model.safetensors")[0])


def test_only_layer_norms_change_from_what_training_begins_with(tmp_path: Path) -> None:
    inputs = inputs_of("videoclip", tmp_path)
    first, _ = do(Train(config_of("videoclip")), inputs)
    objective = OBJECTIVES["tempclr-dtw"].model_copy(update={"layer_norms_only": True, "standardise_features": False})
    with encoder_dir(first) as folder:
        second, _ = do(Train(config_of("tempclr-dtw", objective=objective, start=folder)), inputs)
    before, after = weights(first), weights(second)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    norms = {name for name in before if name.split(".")[-2] == "LayerNorm"}
    assert changed == norms
    assert len(norms) == 2 * 7  # the token MLP, both embeddings, two of each layer
    assert second.records[0].info["start_weights"].startswith("checkpoint:sha256:")


def test_layer_norms_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'tempclr' with layer_norms_only tunes .*; set start to a checkpoint"):
        TrainConfig(objective=TempCLRSettings())


def test_too_few_draws_or_orders_are_refused() -> None:
    with pytest.raises(ValueError, match=r"draws_per_video is 4, but sequence\.windows is 5"):
        TempCLRSettings(sampling=OverlapSampling(draws_per_video=4))
    with pytest.raises(ValueError, match=r"negatives is 31, but 4 windows have 23 other orders"):
        SequenceSettings(windows=4)


def test_videos_none_of_which_qualifies_are_refused_before_training(tmp_path: Path) -> None:
    wide = SAMPLING.model_copy(update={"draws_per_video": 6, "min_rows": 8, "max_rows": 8})
    objective = OBJECTIVES["tempclr-dtw"].model_copy(update={"sampling": wide})
    with pytest.raises(ConfigError, match=r"none of 20 videos has sequence\.windows = 3 windows .*lower windows"):
        do(
            Train(config_of("tempclr-dtw", objective=objective, holdout_fraction=0.0)),
            inputs_of("tempclr-dtw", tmp_path),
        )
