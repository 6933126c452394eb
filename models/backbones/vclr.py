"""VCLR's network: a ResNet with four projection heads and a classifier of frame orders.

Source: Kuang et al., "Video Contrastive Learning with Global Context", ICCVW 2021 (arXiv:2108.02722), after its
released code (papers.md 4.1, 4.3). Attribute names are the published checkpoint's: 318 entries as torchvision's
ResNet-50, then `fc_{inter,intra,order,tsn}.{0,2}` and `fc_order_classifier`.

Letters: B frames or clips, F = 3 frames of a clip, H W pixels, D feature width, E head width.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.initialise import he_initialise
from models.backbones.model_card import ModelCard
from models.backbones.resnet import ResNet, ResNetSize, random_resnet
from models.backbones.resnet_features import normalise_frames
from models.losses.vclr import order_features

SNIPPET = """
from pathlib import Path
import torch
from models.backbones.resnet import ResNetSize
from models.backbones.resnet_features import ResNetFeatures
from models.backbones.resnet_weights import load_resnet

network = load_resnet(Path(folder) / "model.safetensors", {size})
print(ResNetFeatures(network)(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)))
"""
HEADS = ("fc_inter", "fc_intra", "fc_order", "fc_tsn")
NUM_FRAMES, NUM_ORDERS = 3, 4


class VCLRNet(ResNet):
    """Frames and clips to the embeddings that VCLR's losses compare."""

    def __init__(self, size: ResNetSize, *, head_width: int = 128) -> None:
        super().__init__(size)
        self.head_width = head_width
        self.fc_inter = _head(size.dim, head_width)
        self.fc_intra = _head(size.dim, head_width)
        self.fc_order = _head(size.dim, head_width)
        self.fc_tsn = _head(size.dim, head_width)
        self.fc_order_classifier = nn.Linear(2 * NUM_FRAMES * head_width, NUM_ORDERS)

    def features(self, frames: Tensor) -> Tensor:
        """Map (..., H, W, 3) uint8 RGB frames to (..., D)."""
        flat: Tensor = self(normalise_frames(frames.flatten(0, -4)))
        return flat.view(*frames.shape[:-3], -1)

    def image(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Inter and intra embeddings of frames: (B, H, W, 3) uint8 -> (B, E) and (B, E), unit vectors."""
        features = self.features(frames)
        return F.normalize(self.fc_inter(features), dim=1), F.normalize(self.fc_intra(features), dim=1)

    def clip(self, frames: Tensor, *, norm_dim: int = 1) -> tuple[Tensor, Tensor]:
        """Segment and order embeddings of clips.

        Args:
            frames: (B, F, H, W, 3) uint8, in the order that they are shown in.
            norm_dim: Of the order embedding; see `models.losses.vclr.order_features`.

        Returns:
            (B, E) unit vectors, and (B, F E).
        """
        features = self.features(frames)
        segment = F.normalize(self.fc_tsn(features.mean(dim=1)), dim=1)
        return segment, order_features(self.fc_order(features), norm_dim)

    def order_logits(self, query: Tensor, key: Tensor) -> Tensor:
        """Which of the two clips is shuffled: order embeddings (B, F E) twice -> (B, 4)."""
        logits: Tensor = self.fc_order_classifier(torch.cat((query, key), dim=1))
        return logits


def random_vclr(size: ResNetSize, seed: int, *, head_width: int = 128) -> VCLRNet:
    """Return a network with seeded He weights."""
    network = VCLRNet(size, head_width=head_width)
    he_initialise(network, seed)
    network.load_state_dict(random_resnet(size, seed).state_dict(), strict=False)
    return network


def save_vclr(network: VCLRNet, folder: Path, training: Mapping[str, Any]) -> None:
    """Write a network: `model.safetensors` with the published names, which also open as a ResNet, facts and a card.

    Args:
        network: What is written.
        folder: Exists.
        training: Facts about how it was trained, as JSON.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    facts = {"schema": 1, "kind": "vclr", "head_width": network.head_width, "training": dict(training)}
    (folder / "backbone.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _card(network, training).write(folder)


def _card(network: VCLRNet, training: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        title="A ResNet trained by VCLR",
        summary=f"Reads frames and gives {network.size.dim} features each; four heads of {network.head_width} serve "
        "its training. Fabula extracts with it by `extract.resnet.weights`.",
        sizes={**asdict(network.size), "head_width": network.head_width},
        training=training,
        snippet=SNIPPET.format(size=network.size),
        names="The tensors of `model.safetensors` carry VCLR's names, which are torchvision's with its heads behind.",
    )


def start_tensors(found: Mapping[str, Tensor], network: VCLRNet) -> dict[str, Tensor]:
    """Complete a checkpoint's tensors to a whole network's.

    Args:
        found: Of a file, by torchvision's names: a trunk alone, one with MoCo's projection `fc.{0,2}`, which all four
            heads then begin with, or with VCLR's own heads.
        network: Gives what the file lacks: the heads or the classifier of orders.

    Returns:
        All tensors of the network.
    """
    wanted = network.state_dict()
    taken = {name: value for name, value in found.items() if name in wanted}
    for head in HEADS:
        for name, value in found.items():
            if name.startswith(("fc.0.", "fc.2.")) and value.shape == wanted[f"{head}{name[2:]}"].shape:
                taken.setdefault(f"{head}{name[2:]}", value)
    return {**{name: value for name, value in wanted.items() if _may_lack(name)}, **taken}


def _may_lack(name: str) -> bool:
    return name.startswith((*HEADS, "fc_order_classifier")) or name.endswith("num_batches_tracked")


def _head(width: int, head_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, head_width))
