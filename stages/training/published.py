"""Published weights in our own layout: tensors that nothing can hide in, and a card.

| file | becomes | named by |
|---|---|---|
| VideoCLIP or TempCLR (`mmmodel.*`) | an encoder's folder | `encoder`, `train.start` |
| VCLR, MoCo or torchvision | `model.safetensors` of a ResNet | `extract.resnet.weights`, `train.start` |
| S3D-G of HowTo100M | `model.safetensors` | `extract.s3d.weights` |
"""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from models.backbones.model_card import ModelCard
from models.backbones.resnet import RESNETS, ResNet
from models.backbones.resnet_weights import torchvision_names, trunk_tensors
from models.backbones.weights import check_sha256, load_s3d, read_weights, tensors_of
from models.encoders.checkpoint import MODEL_FILE, save_dual
from models.encoders.joint import EncoderSpec, open_dual
from stages.errors import ConfigError

_ENCODER, _RESNET, _S3D = "video_encoder.", "layer1.0.conv1.weight", "conv_2b.conv1.weight"
_SNIPPET = """
import safetensors.torch

tensors = safetensors.torch.load_file(folder + "/model.safetensors")
print(len(tensors))
"""


def write_published(path: Path, folder: Path, tokenizer: Path | None) -> str:
    """Write published weights in our layout.

    Args:
        path: the file.
        folder: a new or an empty one.
        tokenizer: of an encoder: a BERT folder or its vocab.txt; a BERT's `config.json` also tells the heads.

    Returns:
        What it was, in words.

    Raises:
        ConfigError: it is none of these, or cannot be read.
    """
    try:
        tensors = tensors_of(read_weights(path), source=str(path))
        if any(_ENCODER in name for name in tensors):
            words = None if tokenizer is None else str(tokenizer)
            save_dual(open_dual(EncoderSpec(kind="dual", path=str(path), tokenizer=words)), folder)
            return "an encoder of windows and captions (VideoCLIP, TempCLR)"
        return _write_backbone(tensors, path, folder)
    except ValueError as error:
        raise ConfigError(f"import checkpoint: {error}") from error


def _write_backbone(tensors: Mapping[str, Tensor], path: Path, folder: Path) -> str:
    named = torchvision_names(tensors)
    if _RESNET in named:
        what, used = f"a {_resnet_of(named, path)}, heads included", "extract.resnet.weights"
    elif _S3D in tensors:
        named, what, used = load_s3d(path).state_dict(), "S3D-G of HowTo100M", "extract.s3d.weights"
    else:
        raise ValueError(
            f"{path} holds {len(tensors)} tensors such as {next(iter(tensors))}; expected VideoCLIP's or TempCLR's "
            "(mmmodel.*), VCLR's, MoCo's, torchvision's ResNet or S3D-G's"
        )
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: value.contiguous() for name, value in named.items()}, folder / MODEL_FILE)
    ModelCard(
        title=what[0].upper() + what[1:],
        summary=f'A frozen backbone: Fabula extracts with it by `{used} = "{MODEL_FILE}"`.',
        sizes={"parameters": sum(value.numel() for value in named.values())},
        training={"start_weights": f"published:sha256:{check_sha256(path, None)}"},
        snippet=_SNIPPET,
        names="The tensors carry the published names.",
    ).write(folder)
    return what


def _resnet_of(named: Mapping[str, Tensor], path: Path) -> str:
    """Return the name of the network that the trunk fits."""
    trunk = trunk_tensors(named)
    shapes = {name: value.shape for name, value in trunk.items() if not name.endswith("num_batches_tracked")}
    for name, size in RESNETS.items():
        with torch.device("meta"):
            wanted = ResNet(size).state_dict()
        if shapes == {key: value.shape for key, value in wanted.items() if not key.endswith("num_batches_tracked")}:
            return name
    raise ValueError(f"{path} is a ResNet, but none of {', '.join(RESNETS)}")
