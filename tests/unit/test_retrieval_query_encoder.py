"""A bundle opens the encoder that made it, or says which weights it needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.encoders.joint import EncoderSpec, JointEncoder, open_encoder
from stages.errors import ConfigError, SchemaMismatch
from stages.retrieval import open_bundle
from stages.retrieval.bundle import Bundle
from stages.retrieval.bundle_record import EncoderRecord, Probe
from stages.retrieval.bundle_writer import BundleContent
from stages.retrieval.clips import FlatClips
from stages.retrieval.query_encoder import open_query_encoder
from stages.retrieval.search import search_sentence
from tests.retrieval_samples import content_of, write_folder

TEXTS = ("stir the soup", "cut the bread")


@pytest.fixture(scope="module")
def random_encoder() -> JointEncoder:
    return open_encoder(EncoderSpec(kind="s3d-text", seed=3))


def content_by(encoder: JointEncoder, *, seed: int = 3, random_weights: bool = True) -> BundleContent:
    """A video of two windows that are the encoder's own vectors of two texts."""
    vectors = encoder.encode_texts(TEXTS).numpy()
    content = content_of({"a": ["stir"]})
    return replace(
        content,
        clips=FlatClips(vectors=vectors),
        paragraph_vectors=vectors[:1],
        encoder=EncoderRecord(
            kind="s3d-text",
            sha256=None,
            seed=seed,
            backbone=encoder.backbone,
            description=encoder.description,
            random_weights=random_weights,
            normalised=encoder.normalised,
            features="s3d preset demo, weights random:seed=0",
        ),
        probe=Probe(text=TEXTS[0], vector=tuple(vectors[0].tolist())),
    )


def test_a_random_encoder_follows_from_its_seed(tmp_path: Path, random_encoder: JointEncoder) -> None:
    bundle = open_bundle(write_folder(tmp_path, content_by(random_encoder)))
    with open_query_encoder(bundle) as encoder:
        answer = search_sentence(bundle, encoder, TEXTS[1], k=1)
    assert answer.random_weights
    assert answer.encoder == random_encoder.description
    assert answer.hits[0].score == pytest.approx(float((bundle.clips.reconstruct(range(1, 2)) ** 2).sum()), rel=1e-4)


def test_weights_that_the_bundle_does_not_hold_have_to_be_named(tmp_path: Path, random_encoder: JointEncoder) -> None:
    bundle = open_bundle(write_folder(tmp_path, content_by(random_encoder, random_weights=False)))
    with pytest.raises(ConfigError, match="whose weights are not in it; give their path"), open_query_encoder(bundle):
        pass
    with (
        pytest.raises(ConfigError, match="cannot be opened: "),
        open_query_encoder(bundle, str(tmp_path / "none"), str(tmp_path / "none")),
    ):
        pass


def test_another_seed_is_another_encoder(tmp_path: Path, random_encoder: JointEncoder) -> None:
    bundle: Bundle = open_bundle(write_folder(tmp_path, content_by(random_encoder, seed=4)))
    with pytest.raises(SchemaMismatch, match="description differs"), open_query_encoder(bundle):
        pass
