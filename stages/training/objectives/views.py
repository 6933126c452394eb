"""Settings of random views of pictures."""

from pydantic import Field, model_validator

from stages.contract import StageConfig


class ViewSettings(StageConfig):
    """How views are drawn; the defaults are the published ones.

    Attributes:
        crop: width and height of a view in pixels.
        least_area: share of the picture that a crop has at least.
        most_area: at most.
        brightness: greatest relative change.
        contrast: greatest relative change.
        saturation: greatest relative change.
        hue: greatest turn, in turns.
        jitter_rate: share of views whose colours change.
        grey_rate: share of grey ones.
        blur_rate: share of blurred ones.
        least_blur: smallest deviation of the Gaussian in pixels.
        most_blur: greatest.
        flip_rate: share of mirrored ones.
    """

    crop: int = Field(default=224, ge=8)
    least_area: float = Field(default=0.2, gt=0, le=1)
    most_area: float = Field(default=1.0, gt=0, le=1)
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.4, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)
    jitter_rate: float = Field(default=0.8, ge=0, le=1)
    grey_rate: float = Field(default=0.2, ge=0, le=1)
    blur_rate: float = Field(default=0.5, ge=0, le=1)
    least_blur: float = Field(default=0.1, ge=0)
    most_blur: float = Field(default=2.0, ge=0)
    flip_rate: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "ViewSettings":
        """Refuse a least that is above its greatest."""
        if self.least_area > self.most_area or self.least_blur > self.most_blur:
            raise ValueError("least_area or least_blur is above most_area or most_blur")
        return self
