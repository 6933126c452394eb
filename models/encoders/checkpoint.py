"""Two-tower encoders on disk: our own folder, the published VideoCLIP file, and a BERT to start from.

Our folder holds `model.safetensors`, `encoder.json`, `tokenizer.json` and a card; equal encoders give equal bytes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from models.backbones.weights import check_sha256, load_tensors, read_weights, tensors_of
from models.encoders.build import build_encoder, random_encoder
from models.encoders.card import encoder_card
from models.encoders.config import DualConfig, FusionConfig
from models.encoders.dual import DualEncoder, TwoWayEncoder
from models.encoders.tokenizer import CaptionTokenizer

SCHEMA = 1
MODEL_FILE, ENCODER_FILE, TOKENIZER_FILE = "model.safetensors", "encoder.json", "tokenizer.json"
FUSION_FILE = "fusion.json"

_KINDS: dict[str, type[DualConfig]] = {"dual": DualConfig, "taco": FusionConfig}
_PREFIX = "mmmodel."
_LAYER = re.compile(r"encoder\.layer\.(\d{1,4})\.")
_HEAD = "video_encoder.classifier.weight"
_POSITION_IDS = ("video_encoder.bert.embeddings.position_ids", "text_encoder.embeddings.position_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class DualCheckpoint:
    """An encoder with what belongs to it.

    Attributes:
        encoder: In eval mode.
        tokenizer: Of its captions.
        start_weights: Where training began: `random:seed=0`, or `bert:`, `published:` or `checkpoint:sha256:<hex>`.
        trained: Whether any training step was taken (by us or by the publisher).
        fusion: Of TACo's encoder, what else scores a pair: JSON, the weights of words among it.
    """

    encoder: TwoWayEncoder
    tokenizer: CaptionTokenizer
    start_weights: str
    trained: bool
    fusion: Mapping[str, Any] | None = None

    @property
    def random_weights(self) -> bool:
        """Whether the weights mean nothing: random and never trained."""
        return not self.trained and self.start_weights.startswith("random")


def save_dual(checkpoint: DualCheckpoint, folder: Path, *, training: Mapping[str, Any] | None = None) -> None:
    """Write our folder layout; the folder is made if need be.

    Args:
        checkpoint: What is written.
        folder: Where.
        training: Facts about how it was trained, as JSON; kept in `encoder.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.encoder.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / MODEL_FILE)
    checkpoint.tokenizer.save(folder / TOKENIZER_FILE)
    facts = {
        "schema": SCHEMA,
        "kind": next(kind for kind, sizes in _KINDS.items() if type(checkpoint.encoder.config) is sizes),
        "sizes": checkpoint.encoder.config.to_json(),
        "normalised": False,
        "start_weights": checkpoint.start_weights,
        "trained": checkpoint.trained,
    }
    if training is not None:
        facts["training"] = dict(training)
    began = {"start_weights": checkpoint.start_weights, "trained": checkpoint.trained}
    encoder_card(checkpoint.encoder, {**began, **(training or {})}).write(folder)
    (folder / ENCODER_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if checkpoint.fusion is not None:
        (folder / FUSION_FILE).write_text(json.dumps(checkpoint.fusion, sort_keys=True) + "\n", encoding="utf-8")


def load_dual(folder: Path) -> DualCheckpoint:
    """Read our folder layout.

    Raises:
        ValueError: A file is missing, of another schema, or does not fit the sizes.
    """
    path = folder / ENCODER_FILE
    facts = _read_object(path)
    if facts.get("schema") != SCHEMA:
        raise ValueError(f"encoder: {path} has schema {facts.get('schema')}, expected {SCHEMA}")
    absent = [name for name in ("sizes", "start_weights", "trained") if name not in facts]
    if absent or not isinstance(facts["sizes"], dict):
        raise ValueError(
            f"encoder: {path} holds no {' or '.join(absent or ['object sizes'])}; expected what train writes"
        )
    if facts.get("kind") not in _KINDS:
        raise ValueError(f"encoder: {path} is of kind {facts.get('kind')!r}, expected one of {', '.join(_KINDS)}")
    encoder = build_encoder(_KINDS[facts["kind"]].from_json(facts["sizes"]))
    model_path = folder / MODEL_FILE
    load_tensors(encoder, tensors_of(read_weights(model_path), source=str(model_path)), source=str(model_path))
    tokenizer = CaptionTokenizer.load(folder / TOKENIZER_FILE, max_len=encoder.config.max_text_len)
    return DualCheckpoint(
        encoder=encoder.eval(),
        tokenizer=tokenizer,
        start_weights=str(facts["start_weights"]),
        trained=bool(facts["trained"]),
        fusion=_read_object(folder / FUSION_FILE) if (folder / FUSION_FILE).is_file() else None,
    )


def load_published(
    path: Path, *, sha256: str | None = None, num_heads: int | None = None, max_video_len: int = 32
) -> tuple[DualEncoder, str]:
    """Read a checkpoint in the published VideoCLIP or TempCLR layout; sizes follow from the tensors' shapes.

    Args:
        path: `checkpoint_best.pt`: tensors `mmmodel.*` under `model`, beside objects that are never built.
        sha256: Expected checksum; None accepts any.
        num_heads: Attention heads, which no shape tells; None takes heads of width 64, as every published BERT has.
        max_video_len: Clips in a window, which no shape tells.

    Returns:
        The encoder in eval mode (float32), and the file's sha256.

    Raises:
        ValueError: The file would act when read, or is not in this layout.
    """
    digest = check_sha256(path, sha256)
    found = tensors_of(read_weights(path), source=str(path))
    tensors = {name.removeprefix(_PREFIX): value for name, value in found.items()}
    config = _config_of(tensors, num_heads=num_heads, max_video_len=max_video_len, source=str(path))
    encoder = DualEncoder(config)
    for name in _POSITION_IDS:  # not saved by newer transformers; it is a constant
        tensors.setdefault(name, torch.arange(config.max_positions)[None])
    load_tensors(encoder, tensors, source=str(path))
    return encoder.eval(), digest


def dual_from_bert(folder: Path, *, config: DualConfig, seed: int) -> tuple[TwoWayEncoder, str]:
    """Start both towers from a BERT in the hub's layout, such as bert-base-uncased; the token MLP stays random.

    Args:
        folder: Holds `config.json` and `model.safetensors` or `pytorch_model.bin`.
        config: Sizes; must fit the BERT's (the towers take its first `video_layers` and `text_layers` layers).
        seed: Of the token MLP.

    Returns:
        The encoder in eval mode, and its provenance `bert:sha256:<hex>`.

    Raises:
        ValueError: Files are missing, or the sizes do not fit.
    """
    names = [name for name in (MODEL_FILE, "pytorch_model.bin") if (folder / name).is_file()]
    if not names:
        raise ValueError(f"BERT: {folder} holds neither {MODEL_FILE} nor pytorch_model.bin")
    path = folder / names[0]
    bert = _bert_tensors(tensors_of(read_weights(path), source=str(path)))
    encoder = random_encoder(config, seed)
    for tower, num_layers in encoder.bert_towers():
        kept = {name: value for name, value in bert.items() if _layer(name) < num_layers}
        kept.setdefault("embeddings.position_ids", torch.arange(config.max_positions)[None])
        load_tensors(tower, kept, source=str(path))
    return encoder, f"bert:sha256:{check_sha256(path, None)}"


def bert_config(folder: Path, base: DualConfig) -> DualConfig:
    """Return `base` with the sizes of a BERT in the hub's layout (read from its `config.json`).

    The number of video layers stays that of `base`, at most the BERT's own.
    """
    path = folder / "config.json"
    sizes = _read_object(path)
    try:
        layers = sizes["num_hidden_layers"]
        return replace(
            base,
            hidden_size=sizes["hidden_size"],
            num_heads=sizes["num_attention_heads"],
            intermediate_size=sizes["intermediate_size"],
            text_layers=layers,
            video_layers=min(base.video_layers, layers),
            vocab_size=sizes["vocab_size"],
            max_positions=sizes["max_position_embeddings"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"BERT: {path} does not give the sizes ({error!r}); expected a BERT's config.json") from error


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    if not path.is_file():
        raise ValueError(f"encoder: {path.parent} holds no {path.name}; give the folder of a checkpoint")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"encoder: {path} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"encoder: {path} holds a {type(value).__name__}, expected a JSON object")
    return value


def _bert_tensors(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop heads and the `bert.` level, and give norms their present names (they were gamma and beta)."""
    result = {}
    for name, value in found.items():
        name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        if not name.startswith("cls."):
            result[name.replace("LayerNorm.beta", "LayerNorm.bias")] = value
    return result


def _layer(name: str) -> int:
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def _config_of(tensors: Mapping[str, Tensor], *, num_heads: int | None, max_video_len: int, source: str) -> DualConfig:
    try:
        hidden, feature_dim = tensors["video_encoder.videomlp.linear1.weight"].shape
        vocab_size = tensors["text_encoder.embeddings.word_embeddings.weight"].shape[0]
        max_positions = tensors["text_encoder.embeddings.position_embeddings.weight"].shape[0]
        intermediate = tensors["text_encoder.encoder.layer.0.intermediate.dense.weight"].shape[0]
    except KeyError as error:
        raise ValueError(f"{source}: there is no tensor {error}, expected VideoCLIP's layout (mmmodel.*)") from error
    except (ValueError, IndexError) as error:
        raise ValueError(f"{source}: a weight matrix is none ({error}), expected VideoCLIP's layout") from error
    if num_heads is None and hidden % 64:
        raise ValueError(f"{source}: the width {hidden} does not tell the number of attention heads; give num_heads")
    return DualConfig(
        hidden_size=hidden,
        num_heads=num_heads or hidden // 64,
        intermediate_size=intermediate,
        video_layers=1 + max(_layer(name.removeprefix("video_encoder.bert.")) for name in tensors),
        text_layers=1 + max(_layer(name.removeprefix("text_encoder.")) for name in tensors),
        vocab_size=vocab_size,
        max_positions=max_positions,
        feature_dim=feature_dim,
        max_video_len=max_video_len,
        num_labels=len(tensors.get(_HEAD, ())),
    )
