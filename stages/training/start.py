"""The encoder before its first step: tokenizer, sizes, and random weights, those of a BERT, or a checkpoint's."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from models.backbones.weights import check_sha256
from models.encoders.build import random_encoder
from models.encoders.checkpoint import MODEL_FILE, DualCheckpoint, bert_config, dual_from_bert
from models.encoders.dual import TwoWayEncoder
from models.encoders.joint import EncoderSpec, open_dual
from models.encoders.tokenizer import CaptionTokenizer
from stages.errors import ConfigError
from stages.training.dataset import FeatureEntry
from stages.training.sizes import EncoderSizes


def open_tokenizer(sizes: EncoderSizes, sentences: Iterable[str], *, bert: Path | None) -> CaptionTokenizer:
    """Return a BERT's tokenizer, or one that is trained on sentences.

    Args:
        sizes: of the vocabulary and of a text.
        sentences: what to train on; the same sentences give the same ids.
        bert: folder of a BERT; None trains.

    Raises:
        ConfigError: the folder holds no tokenizer, or the sentences give none.
    """
    try:
        if bert is not None:
            return CaptionTokenizer.load(bert, max_len=sizes.max_text_len)
        return CaptionTokenizer.train(sentences, vocab_size=sizes.vocab_size, max_len=sizes.max_text_len)
    except ValueError as error:
        raise ConfigError(f"[train] {error}") from error


def start_checkpoint(
    sizes: EncoderSizes,
    tokenizer: CaptionTokenizer,
    backbone: Literal["s3d", "clip"],
    *,
    feature_dim: int,
    bert: Path | None,
    seed: int,
) -> DualCheckpoint:
    """Return the encoder that training begins with, as the checkpoint that it will be when trained.

    Args:
        sizes: of the towers; a BERT's own stand instead where it has them.
        tokenizer: gives the size of the word tables and the special tokens.
        backbone: whose features it will read.
        feature_dim: their width.
        bert: folder of a BERT to start both towers from; None starts from random weights.
        seed: of random weights.

    Raises:
        ConfigError: the sizes are impossible, or the BERT cannot be read or does not fit.
    """
    try:
        config = sizes.to_config(
            vocab_size=tokenizer.vocab_size,
            feature_dim=feature_dim,
            backbone=backbone,
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
        )
        if bert is None:
            encoder, start_weights = random_encoder(config, seed), f"random:seed={seed}"
        else:
            encoder, start_weights = dual_from_bert(bert, config=bert_config(bert, config), seed=seed)
    except ValueError as error:
        raise ConfigError(f"[train] {error}") from error
    return DualCheckpoint(encoder=encoder, tokenizer=tokenizer, start_weights=start_weights, trained=True)


def open_start(path: Path, tokenizer: Path | None) -> DualCheckpoint:
    """Return the encoder of a checkpoint to go on from.

    Args:
        path: a folder of ours, or a published VideoCLIP or TempCLR file.
        tokenizer: of a published file: a BERT folder or its vocab.txt.

    Raises:
        ConfigError: it cannot be read.
    """
    words = None if tokenizer is None else str(tokenizer)
    try:
        found = open_dual(EncoderSpec(kind="dual", path=str(path), tokenizer=words))
        digest = check_sha256(path / MODEL_FILE if path.is_dir() else path, None)
    except ValueError as error:
        raise ConfigError(f"[train] start: {error}") from error
    return replace(found, start_weights=f"checkpoint:sha256:{digest}", trained=True)


def check_width(encoder: TwoWayEncoder, video_id: str, entry: FeatureEntry) -> None:
    """Refuse features that an encoder does not read.

    Raises:
        ConfigError: they have another width.
    """
    got, expected = entry.map_features().shape[1], encoder.config.feature_dim
    if got != expected:
        raise ConfigError(
            f"[train] the features of {video_id} have {got} components, the encoder to start from reads {expected}; "
            "extract with its preset, or start from another"
        )


def check_length(setting: str, drawn: int, most: int) -> None:
    """Refuse samples that are longer than an encoder takes.

    Raises:
        ConfigError: they are.
    """
    if drawn > most:
        raise ConfigError(
            f"[train.objective] {setting} is {drawn}, but the encoder to start from takes {most}; lower it"
        )
