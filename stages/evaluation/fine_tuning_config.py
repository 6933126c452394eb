"""Settings of fine-tuning, and the published ones by name. Knows numbers only, no torch."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from stages.contract import Json, Resources
from stages.errors import ConfigError
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.protocol_configs import ProtocolConfig
from stages.evaluation.records import EncoderFacts
from stages.media.settings import ResNetWeights
from stages.media.weights import name_clip_weights
from stages.training.choice import EncoderChoice

FRAMES = "frames"

_STEPS: dict[str, Any] = {"epochs": 50, "drops": (20, 40)}
# papers.md 4.5. The batch is that of one card and the number of cards is not told: scale the rate with the batch. What
# a table leaves out is mmaction2's default. The temporal shift module of Something-Something's second row is not built.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ucf101": {
        "num_segments": 3, "dropout": 0.4, "init_std": 0.001, "test_frames": 25,
        "fit": {
            "epochs": 300, "drops": (120, 240), "learning_rate": 0.01, "weight_decay": 5e-4, "batch_size": 32,
            "clip_norm": 40.0,
        },
    },
    "hmdb51": {
        "num_segments": 8, "dropout": 0.4, "init_std": 0.01, "test_frames": 8,
        "fit": {**_STEPS, "learning_rate": 0.025, "weight_decay": 1e-4, "batch_size": 32, "clip_norm": 40.0},
    },
    "ssv2": {
        "num_segments": 8, "dropout": 0.5, "init_std": 0.01, "crops": "multi_scale", "mirrored": False,
        "test_frames": 8, "test_crops": "ten", "test_side": 224,
        "fit": {**_STEPS, "learning_rate": 0.02, "weight_decay": 1e-4, "batch_size": 16, "clip_norm": 40.0},
    },
    "activitynet": {
        "num_segments": 8, "dropout": 0.8, "init_std": 0.01, "test_frames": 25, "test_crops": "three",
        "fit": {**_STEPS, "learning_rate": 0.01, "weight_decay": 1e-4, "batch_size": 8, "clip_norm": 40.0},
    },
}  # fmt: skip


class FineTuningConfig(ProtocolConfig):
    """A backbone and a head, fitted together to a few frames of each train video (papers.md 4.5).

    Attributes:
        preset: published settings that stand where this section says nothing.
        resnet: the backbone; or
        clip: a CLIP or SigLIP model, a folder in the hub's layout or a hub id.
        num_segments: frames of a video at once.
        dropout: of the mean row.
        init_std: of the head's first weights.
        crops: how parts of a train frame are drawn (`stages.media.crops`); one draw a video.
        mirrored: whether half of the train videos are mirrored; not where left and right are told apart.
        train_side: pixels of a train frame.
        fit: optimiser and schedule.
        test_frames: frames of a test video.
        test_crops: parts of each.
        test_side: pixels of a part.
        test_short_side: pixels of the short side that a part is cut from.
        keep_weights: whether the fitted backbone becomes a file of the evaluation; `[extract.resnet] weights` takes it.
    """

    asks_encoder = False

    name: Literal["fine_tuning"]
    preset: Literal["ucf101", "hmdb51", "ssv2", "activitynet"] | None = None
    resnet: ResNetWeights | None = None
    clip: str | None = None
    num_segments: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    init_std: float = Field(default=0.01, gt=0)
    crops: Literal["random_area", "multi_scale"] = "random_area"
    mirrored: bool = True
    train_side: int = Field(default=224, ge=32)
    fit: FitSettings
    test_frames: int = Field(default=25, ge=1)
    test_crops: Literal["centre", "three", "ten"] = "centre"
    test_side: int = Field(default=256, ge=32)
    test_short_side: int = Field(default=256, ge=32)
    keep_weights: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        known = PRESETS.get(str(given.get("preset"))) if isinstance(given, dict) else None
        if known is None:
            return given
        fit = given.get("fit", {})
        return {**known, **given, "fit": {**known["fit"], **fit} if isinstance(fit, dict) else fit}

    @model_validator(mode="after")
    def _check(self) -> "FineTuningConfig":
        if (self.resnet is None) == (self.clip is None):
            raise ValueError("got both or none of resnet and clip, expected one backbone")
        if self.test_side > self.test_short_side:
            raise ValueError(f"test_side {self.test_side} is above test_short_side {self.test_short_side}; lower it")
        return self

    def reads(self, encoder: EncoderChoice) -> tuple[str, ...]:
        """The frames."""
        return (FRAMES,)

    def identity(self) -> Json:
        """The settings, and the weights by their content."""
        found = self.model_dump(mode="json", exclude={"resnet": {"weights", "sha256"}, "clip": True})
        return found | {"weights": self.weights}

    @property
    def weights(self) -> str:
        """What the weights are called that the fit begins with.

        Raises:
            ConfigError: there is no such file.
        """
        if self.resnet is not None:
            return self.resnet.weights_name
        return name_clip_weights(self.clip or "")

    def encoder_facts(self) -> EncoderFacts:
        """Which backbone is fitted."""
        kind = self.resnet.size if self.resnet is not None else "CLIP's image tower"
        return EncoderFacts(
            description=f"{kind} with a segment network's head, fine-tuned here from {self.weights}",
            random_weights=self.weights.startswith("random"),
            features="frames",
            normalised=False,
        )

    def check(self, where: str) -> None:
        """Refuse weights that are not there."""
        path = self.resnet.weights if self.resnet is not None else None
        if path is not None and not path.is_file():
            raise ConfigError(f"{where}resnet.weights = {path}: there is no such file")

    def occupies(self) -> Resources:
        """What the fit needs."""
        return self.fit.occupies()
