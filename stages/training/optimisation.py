"""Settings of the optimiser and the learning rate's course. Knows numbers only, no torch, so that planning is cheap."""

import math
from typing import Literal

from pydantic import Field, model_validator

from stages.contract import StageConfig

_DROP = 0.1


class Optimisation(StageConfig):
    """How weights are changed; the defaults are VideoCLIP's (papers.md 2.7), run for a number of steps.

    Attributes:
        steps: updates in all.
        accumulate: batches whose losses are averaged into one update.
        optimiser: `adam`, `adamw` when weight decay should not pass through the moments, or `sgd` with momentum.
        learning_rate: its peak, reached after the warm-up.
        warmup_steps: updates of linear warm-up.
        warmup_start: share of the peak that the warm-up begins from (VCLR: 0.01).
        decay: `polynomial`, `cosine`, or `drops`.
        drops: of the latter, the updates behind which the rate is a tenth of what it was.
        decay_steps: the update at which the other two reach `end_learning_rate`.
        decay_power: of the polynomial; 1 is linear.
        end_learning_rate: where the decay ends.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        eps: Adam's, added to the root of the second moment.
        momentum: of SGD.
        weight_decay: as the optimiser defines it.
        clip_norm: greatest norm of all gradients together; 0 clips nothing.
        precision: `float32`, or `bfloat16` for autocast of the forward pass.
        device: where it runs; a machine without it fails, it never falls back.
        threads: CPU threads; sums in another order give other bits, so it belongs to the fingerprint.
    """

    steps: int = Field(default=107_000, ge=1)
    accumulate: int = Field(default=1, ge=1)
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup_steps: int = Field(default=1000, ge=0)
    warmup_start: float = Field(default=0.0, ge=0, le=1)
    decay: Literal["polynomial", "cosine", "drops"] = "polynomial"
    drops: tuple[int, ...] = ()
    decay_steps: int = Field(default=1_000_000, ge=1)
    decay_power: float = Field(default=1.0, gt=0)
    end_learning_rate: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=2.0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _warmup_ends_before_the_decay(self) -> "Optimisation":
        """Refuse a decay that would be over before the peak is reached."""
        if self.decay_steps <= self.warmup_steps:
            raise ValueError(f"decay_steps {self.decay_steps} must lie behind warmup_steps {self.warmup_steps}")
        return self


def learning_rate_at(step: int, settings: Optimisation) -> float:
    """Return the learning rate of an update: linear warm-up, then the decay.

    Args:
        step: 0 for the first update.
        settings: the schedule's numbers.

    Returns:
        The rate. Departs from fairseq in that the first update has 1 / warmup_steps of the peak and the second 2 of
        them; there the first two have the same.
    """
    done = step + 1
    if done <= settings.warmup_steps:
        share = settings.warmup_start + (1 - settings.warmup_start) * done / settings.warmup_steps
        return settings.learning_rate * share
    if settings.decay == "drops":
        return settings.learning_rate * _DROP ** sum(done > drop for drop in settings.drops)
    passed = min((done - settings.warmup_steps) / (settings.decay_steps - settings.warmup_steps), 1.0)
    if settings.decay == "cosine":
        left = (1 + math.cos(math.pi * passed)) / 2
    else:
        left = math.pow(1 - passed, settings.decay_power)
    return settings.end_learning_rate + (settings.learning_rate - settings.end_learning_rate) * left
