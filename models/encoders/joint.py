"""One interface for every encoder that embeds windows and sentences, trained or frozen.

Letters: B windows or texts, T clips of a window, D feature width, E joint width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbones.clip import ClipTowers
from models.backbones.s3d import MIXED_5C_DIM, S3D, VIDEO_EMBEDDING_DIM, random_s3d
from models.backbones.s3d_text import WordIds, hashed_word_id, word_ids
from models.backbones.weights import check_sha256, load_s3d, load_word_list
from models.encoders.bert import masked_mean
from models.encoders.checkpoint import DualCheckpoint, bert_config, load_dual, load_published
from models.encoders.config import Backbone, DualConfig
from models.encoders.taco import TACoEncoder
from models.encoders.tokenizer import CaptionTokenizer

Kind = Literal["dual", "clip", "s3d-text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Which encoder to open.

    Attributes:
        kind: `dual` a two-tower checkpoint, `clip` a frozen CLIP pair, `s3d-text` S3D-G's own two towers.
        path: dual: our folder or a published file; clip: a folder or hub id; s3d-text: the weights, None for random.
        sha256: Expected checksum of the weights file; None accepts any.
        seed: Of random weights.
        tokenizer: dual, published file: a bert-base-uncased folder or its vocab.txt; s3d-text: the word list.
    """

    kind: Kind
    path: str | None = None
    sha256: str | None = None
    seed: int = 0
    tokenizer: str | None = None


class JointEncoder(Protocol):
    """Puts windows of features and texts into one space.

    Attributes:
        dim: E.
        feature_dim: D.
        feature_dims: Every width of features that `encode_windows` takes; D and possibly others.
        normalised: Whether all vectors have length 1.
        random_weights: Whether the weights mean nothing; every result has to say so.
        description: One line for reports, without paths.
        backbone: Which features it reads.
        num_labels: Labels of its head on every clip's state, 0 if it has none.
    """

    dim: int
    feature_dim: int
    num_labels: int
    feature_dims: tuple[int, ...]
    normalised: bool
    random_weights: bool
    description: str
    backbone: Backbone

    def encode_windows(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows: (B, T, D) float32 and (B, T) bool -> (B, E) float32."""

    def encode_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Encode every clip by itself, in its window's context if the encoder has one.

        Args:
            features: (B, T, D) float32.
            mask: (B, T) bool, True where a clip is real.
            cls_visible: Whether a [CLS] token may be attended to; the published localisation heads mask it out. An
                encoder without one does not look at it.

        Returns:
            (B, T, E) float32; what stands where `mask` is False means nothing.
        """

    def label_logits(self, states: Tensor) -> Tensor:
        """Give the head's logits of states: (N, E) float32 -> (N, K) float32; ValueError without a head."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode B texts -> (B, E) float32."""


class DualJoint:
    """A two-tower checkpoint as a `JointEncoder`; vectors are not normalised."""

    normalised = False

    def __init__(self, checkpoint: DualCheckpoint) -> None:
        config = checkpoint.encoder.config
        self.dim = config.hidden_size
        self.feature_dim = config.feature_dim
        self.feature_dims: tuple[int, ...] = (config.feature_dim,)
        self.max_video_len = config.max_video_len
        self.num_labels = config.num_labels
        self.backbone: Backbone = config.backbone
        self.random_weights = checkpoint.random_weights
        state = "trained" if checkpoint.trained else "not trained"
        self.description = f"dual encoder, {state}, started from {checkpoint.start_weights}"
        self.checkpoint = checkpoint

    @torch.inference_mode()
    def encode_windows(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows of at most `max_video_len` clips: (B, T, D) float32, (B, T) bool -> (B, E) float32."""
        return self.checkpoint.encoder.encode_video(features.float(), mask)

    @torch.inference_mode()
    def encode_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return the hidden state of every clip: (B, T, D) float32, (B, T) bool -> (B, T, E) float32."""
        return self.checkpoint.encoder.encode_video_states(features.float(), mask, cls_visible=cls_visible)

    @torch.inference_mode()
    def label_logits(self, states: Tensor) -> Tensor:
        """Give the head's logits of states: (N, E) float32 -> (N, K) float32; ValueError without a head."""
        return self.checkpoint.encoder.label_logits(states)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode B texts -> (B, E) float32."""
        if not texts:
            return torch.zeros((0, self.dim))
        return self.checkpoint.encoder.encode_text(*self.checkpoint.tokenizer.encode(texts))


class FrozenPair:
    """What frozen encoders have in common: no head."""

    num_labels = 0

    def label_logits(self, states: Tensor) -> Tensor:
        """Refuse.

        Raises:
            ValueError: Always: nobody trained a head on these states.
        """
        raise ValueError("encoder: a frozen pair has no head on clip states; give a fine-tuned checkpoint")


class ClipPair(FrozenPair):
    """CLIP without training: a window is the direction of the mean of its frames' directions; unit vectors."""

    normalised = True
    random_weights = False
    backbone: Backbone = "clip"

    def __init__(self, towers: ClipTowers, *, description: str) -> None:
        self.dim = self.feature_dim = towers.dim
        self.feature_dims: tuple[int, ...] = (towers.dim,)
        self.description = description
        self._towers = towers

    @torch.inference_mode()
    def encode_windows(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows: (B, T, D) float32 image features, (B, T) bool -> (B, E) float32 of length 1."""
        return F.normalize(masked_mean(F.normalize(features.float(), dim=2), _never_empty(mask)), dim=1)

    @torch.inference_mode()
    def encode_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return the direction of every frame: (B, T, D) float32, (B, T) bool -> (B, T, E) float32 of length 1."""
        return F.normalize(features.float(), dim=2)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode B texts -> (B, E) float32 of length 1."""
        return F.normalize(self._towers.encode_texts(texts), dim=1)


class S3DText(FrozenPair):
    """S3D-G's own sentence tower against the mean of a window's `video_embedding` rows; not normalised.

    Rows of `mixed_5c`, which is what the official HowTo100M features hold, become `video_embedding` rows by the
    network's own last layer. That needs them as the network gave them: rows of length 1 lose their weight against the
    layer's bias.
    """

    normalised = False
    backbone: Backbone = "s3d"
    dim = VIDEO_EMBEDDING_DIM
    feature_dim = VIDEO_EMBEDDING_DIM
    feature_dims: tuple[int, ...] = (VIDEO_EMBEDDING_DIM, MIXED_5C_DIM)

    def __init__(self, model: S3D, ids: WordIds, *, random_weights: bool, description: str) -> None:
        self.random_weights = random_weights
        self.description = description
        self._tower = model.text_module
        self._fc = model.fc
        self._ids = ids

    @torch.inference_mode()
    def encode_windows(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode windows: (B, T, 512) or (B, T, 1024) float32, (B, T) bool -> (B, 512) float32.

        Raises:
            ValueError: The rows have another width.
        """
        return masked_mean(self.encode_states(features, mask), _never_empty(mask))

    @torch.inference_mode()
    def encode_states(self, features: Tensor, mask: Tensor, *, cls_visible: bool = True) -> Tensor:
        """Return every clip's `video_embedding`: (B, T, 512) or (B, T, 1024) float32 -> (B, T, 512) float32.

        Raises:
            ValueError: The rows have another width.
        """
        rows = features.float()
        if rows.ndim != 3 or rows.shape[2] not in self.feature_dims:
            got = tuple(rows.shape)
            expected = "(B, T, 512) video_embedding or (B, T, 1024) mixed_5c"
            raise ValueError(f"S3D windows: got features of shape {got}, expected {expected}")
        embeddings: Tensor = self._fc(rows) if rows.shape[2] == MIXED_5C_DIM else rows
        return embeddings

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode B texts -> (B, 512) float32."""
        if not texts:
            return torch.zeros((0, self.dim))
        embeddings: Tensor = self._tower(word_ids(texts, self._ids))
        return embeddings


def open_encoder(spec: EncoderSpec) -> JointEncoder:
    """Load an encoder on the CPU.

    Raises:
        ValueError: The spec misses something, or a file is missing, unfit, or would act when read.
    """
    if spec.kind == "dual":
        return DualJoint(open_dual(spec))
    if spec.kind == "clip":
        if spec.path is None:
            raise ValueError("encoder clip: got no path, expected a folder or hub id of a CLIP or SigLIP model")
        return ClipPair(ClipTowers(spec.path), description=f"clip pair {Path(spec.path).name}, frozen")
    if spec.kind == "s3d-text":
        return _open_s3d_text(spec)
    raise ValueError(f"encoder: got kind {spec.kind!r}, expected 'dual', 'clip' or 's3d-text'")


def has_fusion(encoder: JointEncoder) -> bool:
    """Whether an encoder also reads a window and a text together (TACo)."""
    return isinstance(encoder, DualJoint) and isinstance(encoder.checkpoint.encoder, TACoEncoder)


def open_dual(spec: EncoderSpec) -> DualCheckpoint:
    """Load a two-tower checkpoint, ours or a published one; ValueError as in `open_encoder`."""
    if spec.path is None:
        raise ValueError("encoder dual: got no path, expected a checkpoint folder or a published file")
    path = Path(spec.path)
    if path.is_dir():
        check_sha256(path / "model.safetensors", spec.sha256)
        return load_dual(path)
    if spec.tokenizer is None:
        raise ValueError(f"encoder dual: {path} holds no tokenizer; give a bert-base-uncased folder or its vocab.txt")
    words = Path(spec.tokenizer)
    has_sizes = (words / "config.json").is_file()
    num_heads = bert_config(words, DualConfig()).num_heads if has_sizes else None
    encoder, digest = load_published(path, sha256=spec.sha256, num_heads=num_heads)
    tokenizer = CaptionTokenizer.load(words, max_len=encoder.config.max_text_len)
    if tokenizer.vocab_size > encoder.config.vocab_size:
        got, expected = tokenizer.vocab_size, encoder.config.vocab_size
        raise ValueError(f"encoder dual: the tokenizer {words} has {got} tokens, the checkpoint {expected}")
    return DualCheckpoint(
        encoder=encoder, tokenizer=tokenizer, start_weights=f"published:sha256:{digest}", trained=True
    )


def _open_s3d_text(spec: EncoderSpec) -> S3DText:
    if spec.path is None:
        ids: WordIds = hashed_word_id if spec.tokenizer is None else load_word_list(Path(spec.tokenizer))
        description = f"S3D-G video and sentence towers, random weights (seed {spec.seed})"
        return S3DText(random_s3d(spec.seed), ids, random_weights=True, description=description)
    if spec.tokenizer is None:
        raise ValueError(f"encoder s3d-text: {spec.path} needs its word list; give the path of s3d_dict.npy")
    path = Path(spec.path)
    model = load_s3d(path, sha256=spec.sha256)
    description = f"S3D-G video and sentence towers, sha256:{check_sha256(path, None)}"
    return S3DText(model, load_word_list(Path(spec.tokenizer)), random_weights=False, description=description)


def _never_empty(mask: Tensor) -> Tensor:
    """Take all clips of a window that has no real one, rather than divide by zero."""
    return mask | ~mask.any(dim=1, keepdim=True)
