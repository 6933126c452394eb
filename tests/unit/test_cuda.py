"""The card's path: the same rows as the CPU's, for whatever fills a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.backbones.s3d import random_s3d
from models.backbones.s3d_features import S3DFeatures
from stages.media.backbones import cuda_encoder, load_s3d
from stages.media.settings import Precision, S3DConfig
from tests.media import Numbered, make_video
from tests.unit.test_extract import Corpus, samples

pytestmark = pytest.mark.gpu
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999}


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_network_gives_the_cpu_s_rows(precision: Precision) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (11, 16, 64, 64, 3), dtype=np.uint8)
    expected = S3DFeatures(random_s3d(0), output="mixed_5c", l2_normalise=True)(torch.from_numpy(clips)).numpy()
    encoder = cuda_encoder(load_s3d(S3DConfig(), precision=precision, device="cuda"), 4, 16)
    assert encoder is not None
    for _ in range(2):
        futures = [encoder.submit(clips[k : k + 1]) for k in range(len(clips))]
        encoder.flush()
        rows = np.concatenate([future.result(timeout=0) for future in futures])
        assert cosines(rows, expected).min() >= LEAST_COSINE[precision]


def test_features_of_a_card_are_those_of_the_cpu(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for number in range(3):
        make_video(media / f"v{number}", Numbered(num_frames=60 + 70 * number, noise=30))
    corpus = Corpus(tmp_path, media)
    cpu = samples(corpus.extract("cpu", thumbnails=False)["features.s3d"])
    card = samples(corpus.extract("card", thumbnails=False, device="cuda", threads=2)["features.s3d"])
    for video_id, parts in cpu.items():
        assert cosines(card[video_id]["s3d.npy"], parts["s3d.npy"]).min() >= LEAST_COSINE["float32"]
        assert np.array_equal(card[video_id]["spans.npy"], parts["spans.npy"])
