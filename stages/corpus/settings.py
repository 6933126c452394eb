"""Settings of the demo corpus: its size, its pace and its difficulty."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class CorpusSettings(BaseModel):
    """One draw of the demo corpus; equal settings give equal bytes (one lock, one machine type).

    Attributes:
        seed: seed of everything that is drawn.
        num_train: videos of the train split.
        num_val: videos of the val split.
        num_test: videos of the test split.
        num_train_pairs: pairs (two videos, same steps, other order) among the train videos.
        num_val_pairs: pairs among the val videos.
        num_pairs: pairs among the test videos.
        pair_order: how the second video of a pair differs: `deranged`, every step stands at another place; `swapped`,
            two neighbours have changed places, which is harder to tell the more scenes there are.
        min_scenes: fewest scenes a video.
        max_scenes: most scenes a video.
        min_scene_s: shortest scene in seconds.
        max_scene_s: longest scene in seconds.
        long_scenes: 0 makes nearly all scenes short, 1 spreads their lengths evenly.
        width: frame width in pixels, even.
        height: frame height in pixels, even.
        fps: frames a second, constant.
        position_jitter: how far a shape's home lies from the middle, as a part of half the shorter side.
        size_jitter: relative spread of a shape's size.
        speed_jitter: relative spread of a motion's frequency.
        extent_jitter: relative spread of a motion's reach.
        tint: strength of the random background colour and gradient.
        grain: standard deviation of the ground's texture, in 8-bit levels.
        num_places: how many patterns of the ground there are, one behind all scenes of a video; 0: a plain ground.
        num_distractors: grey specks that drift through every scene.
        timing_jitter_s: a sentence is spoken up to so many seconds too early or too late.
        filler_rate: share of scenes after which the narrator says something without content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0)] = 0
    num_train: Annotated[int, Field(ge=0)] = 200
    num_val: Annotated[int, Field(ge=0)] = 8
    num_test: Annotated[int, Field(ge=0)] = 104
    num_train_pairs: Annotated[int, Field(ge=0)] = 50
    num_val_pairs: Annotated[int, Field(ge=0)] = 0
    num_pairs: Annotated[int, Field(ge=0)] = 44
    pair_order: Literal["deranged", "swapped"] = "deranged"
    min_scenes: Annotated[int, Field(ge=2, le=36)] = 3
    max_scenes: Annotated[int, Field(ge=2, le=36)] = 4
    min_scene_s: Annotated[float, Field(ge=1.0, le=60.0)] = 4.0
    max_scene_s: Annotated[float, Field(ge=1.0, le=60.0)] = 8.0
    long_scenes: Fraction = 0.2
    width: Annotated[int, Field(ge=32, le=1920, multiple_of=2)] = 96
    height: Annotated[int, Field(ge=32, le=1080, multiple_of=2)] = 96
    fps: Annotated[int, Field(ge=4, le=60)] = 8
    position_jitter: Fraction = 0.15
    size_jitter: Fraction = 0.15
    speed_jitter: Fraction = 0.12
    extent_jitter: Fraction = 0.15
    tint: Fraction = 0.3
    grain: NonNegative = 2.0
    num_places: Annotated[int, Field(ge=0, le=6)] = 0
    num_distractors: Annotated[int, Field(ge=0, le=64)] = 0
    timing_jitter_s: NonNegative = 0.5
    filler_rate: Fraction = 0.2

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        """Pairs fit their split, and every lower bound is below its upper bound."""
        for pairs, videos, split in (
            (self.num_train_pairs, self.num_train, "train"),
            (self.num_val_pairs, self.num_val, "val"),
            (self.num_pairs, self.num_test, "test"),
        ):
            if 2 * pairs > videos:
                raise ValueError(f"{pairs} pairs need {2 * pairs} videos, but {split} has {videos}: raise num_{split}")
        if self.min_scenes > self.max_scenes:
            raise ValueError(f"min_scenes {self.min_scenes} is above max_scenes {self.max_scenes}")
        if self.min_scene_s > self.max_scene_s:
            raise ValueError(f"min_scene_s {self.min_scene_s} is above max_scene_s {self.max_scene_s}")
        return self

    @property
    def num_videos(self) -> int:
        """Videos of all splits."""
        return self.num_train + self.num_val + self.num_test
