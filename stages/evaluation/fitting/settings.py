"""How a protocol fits a network, counted in epochs as papers do. Knows numbers only, no torch."""

from typing import Literal

from pydantic import Field, model_validator

from stages.contract import Resources, StageConfig
from stages.training.optimisation import Optimisation


class FitSettings(StageConfig):
    """Optimiser and schedule.

    Attributes:
        epochs: how often every item is seen.
        batch_size: items an update.
        optimiser: `sgd` with momentum, or `adam`.
        learning_rate: at first.
        drops: epochs after which the rate is divided by ten.
        momentum: of SGD.
        weight_decay: as the optimiser defines it.
        clip_norm: greatest norm of all gradients together; 0 clips nothing.
        seed: of weights, order and draws.
        checkpoint_every: updates between two checkpoints, from which a killed fit goes on.
        precision: `float32`, or `bfloat16` for autocast of the forward pass.
        device: where it runs.
        threads: CPU threads; another number gives other last bits.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(gt=0)
    drops: tuple[int, ...] = ()
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=200, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_drops(self) -> "FitSettings":
        if any(not 0 < epoch < self.epochs for epoch in self.drops):
            raise ValueError(
                f"drops {list(self.drops)}: expected some of 1 to {self.epochs - 1}; epochs is {self.epochs}"
            )
        return self

    def optimisation(self, batches_per_epoch: int) -> Optimisation:
        """The loop's settings for epochs of so many batches."""
        return Optimisation(
            steps=self.epochs * batches_per_epoch,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            warmup_steps=0,
            decay="drops",
            drops=tuple(epoch * batches_per_epoch for epoch in self.drops),
            beta2=0.999,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            precision=self.precision,
            device=self.device,
            threads=self.threads,
        )

    def occupies(self) -> Resources:
        """Its threads, and the card."""
        return Resources(num_cpus=self.threads, num_gpus=float(self.device == "cuda"))
