"""Published checkpoints of ResNets: whatever their names look like, torchvision's come out.

| written by | where the tensors are | their names |
|---|---|---|
| torchvision | the file itself | `conv1.weight`, ..., `fc.weight` |
| MoCo | `state_dict` | `module.encoder_q.conv1.weight`, ..., `module.encoder_q.fc.0.weight`, `module.queue` |
| VCLR | `model` | `module.conv1.weight`, ..., `module.fc_inter.0.weight`, ... |
| Fabula | safetensors | as torchvision, with or without heads |
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.backbones.resnet import ResNet, ResNetSize
from models.backbones.weights import check_sha256, load_tensors, read_weights, tensors_of

_QUERY_NETWORK, _WRAPPED = "module.encoder_q.", "module."
_HEAD = re.compile(r"fc(_\w+)?\.")
_COUNTER = "num_batches_tracked"


def load_resnet(path: Path, size: ResNetSize, *, sha256: str | None = None) -> ResNet:
    """Return a ResNet with the weights of a file, in eval mode.

    Args:
        path: a file in one of the layouts above.
        size: of the network that they belong to.
        sha256: expected checksum; None accepts any.

    Raises:
        ValueError: the checksum, the names or the shapes differ, or the file is not weights.
    """
    check_sha256(path, sha256)
    tensors = trunk_tensors(tensors_of(read_weights(path), source=str(path)))
    with torch.device("meta"):
        model = ResNet(size)
    model.to_empty(device="cpu")
    if not any(name.endswith(_COUNTER) for name in tensors):  # a file from before torch 0.4.1; inference reads none
        tensors |= {name: torch.zeros(()) for name in model.state_dict() if name.endswith(_COUNTER)}
    load_tensors(model, tensors, source=str(path))
    return model.eval()


def trunk_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors to torchvision's names, without classifier and projection heads."""
    return {name: value for name, value in torchvision_names(tensors).items() if not _HEAD.match(name)}


def torchvision_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors to torchvision's names, heads included; what belongs to no network is left out."""
    prefixes = (prefix for prefix in (_QUERY_NETWORK, _WRAPPED) if any(name.startswith(prefix) for name in tensors))
    prefix = next(prefixes, "")
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
