"""Settings of retrieval-augmented batches. Knows no torch and no faiss."""

from pydantic import Field, model_validator

from stages.contract import StageConfig


class RetrievalSettings(StageConfig):
    """How batches of similar videos are found; the defaults are VideoCLIP's (papers.md 2.6), but for `parts`.

    Attributes:
        from_epoch: the first epoch that has such batches, counted from 1; earlier ones are shuffled.
        candidates: nearest videos of a centre, itself included, of which a batch is drawn.
        lists: of the IVF index, at most one a 39 videos; 1 searches exactly.
        probes: nearest lists that are looked at; a candidate beyond them is not found.
        parts: shares that the videos are dealt to for good, each with an index of its own. The published training has
            one a GPU (8); here it is a number of its own, so that the batches do not depend on the workers.
        draws_per_video: exactly aligned pairs that a video's vector is the mean of.
        batch_pairs: pairs that are encoded at once.
    """

    from_epoch: int = Field(default=1, ge=1)
    candidates: int = Field(default=64, ge=1)
    lists: int = Field(default=512, ge=1)
    probes: int = Field(default=1, ge=1)
    parts: int = Field(default=1, ge=1)
    draws_per_video: int = Field(default=16, ge=1)
    batch_pairs: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _no_more_probes_than_lists(self) -> "RetrievalSettings":
        """Refuse probes of lists that are not there."""
        if self.probes > self.lists:
            raise ValueError(f"probes is {self.probes}, but there are {self.lists} lists")
        return self
