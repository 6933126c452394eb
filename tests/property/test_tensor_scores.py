"""The tensor form of the hard scorers against the plain references; on a card the same test with the marker `gpu`."""

import itertools

import numpy as np
import pytest
import torch

from models.alignment.drop_dtw import drop_dtw_reference
from models.alignment.dtw import dtw_reference, unit_rows
from models.alignment.otam import otam_reference
from models.alignment.scorers import CPU, scorers_on, tensor_scorers
from tests.alignment_samples import random_set

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PRICES = {"drop_clip": 0.8, "drop_sentence": 0.9}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tile_cells", [1 << 24, 300])
def test_equals_the_references(device: str, tile_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.alignment.tensor_tiles._TILE_CELLS", tile_cells)
    texts, videos = random_set(np.random.default_rng(0), num_texts=25, num_videos=40, dim=6)
    ours = tensor_scorers(torch.device(device))
    found = (ours.dtw(texts, videos), ours.otam(texts, videos), ours.drop_dtw(texts, videos, **PRICES))
    for i, j in itertools.product(range(len(texts)), range(len(videos))):
        cost = 1.0 - unit_rows(texts[i]) @ unit_rows(videos[j]).T
        expected = (dtw_reference(cost), otam_reference(cost), drop_dtw_reference(cost, **PRICES))
        for scores, reference in zip(found, expected, strict=True):
            assert scores[i, j] == pytest.approx(reference.score, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_equal_predecessors_are_chosen_as_on_the_cpu(device: str) -> None:
    rng = np.random.default_rng(1)
    texts, videos = ([np.eye(4, dtype=np.float32)[rng.integers(0, 4, n)] for n in rng.integers(1, 8, 20)] for _ in "tv")
    ours = tensor_scorers(torch.device(device))
    for name in ("caption_average", "dtw", "otam"):
        assert np.allclose(getattr(ours, name)(texts, videos), getattr(CPU, name)(texts, videos), rtol=1e-12, atol=0)
    drops = {"drop_clip": 0.5, "drop_sentence": 0.5}
    assert np.allclose(ours.drop_dtw(texts, videos, **drops), CPU.drop_dtw(texts, videos, **drops), rtol=1e-12, atol=0)


def test_empty_sets_and_what_does_not_fit() -> None:
    texts, videos = random_set(np.random.default_rng(2), num_texts=2, num_videos=3)
    ours = tensor_scorers(torch.device("cpu"))
    assert ours.dtw([], videos).shape == (0, 3)
    assert ours.otam(texts, []).shape == (2, 0)
    with pytest.raises(ValueError, match="widths"):
        ours.dtw(texts, [np.ones((2, 5), np.float32)])
    with pytest.raises(ValueError, match="finite"):
        ours.drop_dtw(texts, videos, drop_clip=np.inf, drop_sentence=0.0)


def test_the_device_chooses_the_form() -> None:
    assert scorers_on("cpu") is CPU
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no card"):
            scorers_on("cuda")
