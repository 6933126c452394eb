"""Settings of TACo (arXiv:2108.09980)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.contract import Inputs, StageConfig
from stages.training.objectives.base import Material, Opening, TrainSplit
from stages.training.objectives.text_video import TextVideoSettings, check_folder, content_of_folder
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes

if TYPE_CHECKING:
    from models.encoders.config import FusionConfig
    from stages.training.task import Task


class TACoSizes(EncoderSizes):
    """Sizes of TACo's encoder; the defaults are those of its pre-training (papers.md 5.1).

    Attributes:
        fusion_layers: layers that read a text and a window together.
    """

    video_layers: int = Field(default=4, ge=0)
    max_video_len: int = Field(default=48, ge=1)
    max_text_len: int = Field(default=30, ge=1)
    fusion_layers: int = Field(default=2, ge=1)

    def to_config(self, **fixed: Any) -> "FusionConfig":
        """See `EncoderSizes`."""
        from models.encoders.config import FusionConfig

        return FusionConfig(**self.model_dump(exclude={"vocab_size"}), **fixed)

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> "TACoSizes":
        """Refuse VideoCLIP's ablation: here the video encoder is no BERT."""
        if self.shared:
            raise ValueError("shared: TACo has one encoder for each side; leave it out")
        return self


class WordSettings(StageConfig):
    """Which words are looked at one by one.

    Attributes:
        spacy: folder of a spaCy pipeline that tags words; None takes the lexical tagger (`stages.text.tagging`).
        classes: of words of interest, by Universal Dependencies. The lexical tagger calls names nouns, too, and tells
            auxiliaries (AUX) from verbs.
        normalisation: of the idf weights of a sentence: to the sum 1 (`sum`), by `softmax`, or `none`.
        empty: what a sentence without such words weighs: nothing (`zero`), or all its tokens alike (`uniform`).
        most_counted: captions that document frequencies are counted over at most, drawn from all.
    """

    spacy: Path | None = None
    classes: tuple[str, ...] = Field(default=("NOUN", "VERB"), min_length=1)
    normalisation: Literal["sum", "softmax", "none"] = "sum"
    empty: Literal["zero", "uniform"] = "zero"
    most_counted: int = Field(default=1_000_000, ge=1)


class TACoSettings(TextVideoSettings):
    """Sentence, token and fused loss; the defaults are those of pre-training (papers.md 5).

    Attributes:
        words: which words the token loss looks at.
        token_weight: of the token loss.
        fusion_weight: of the fused loss.
        negatives: K', hard negatives of each text and of each video in the batch, or all others of a smaller one.
        temperature: of the sentence and of the token loss.
        symmetric_sentence: add the direction video to text to the sentence loss.
        symmetric_token: the same for the token loss.
        symmetric_fusion: count each video's hard negatives, too.
        normalise: compare unit vectors in the sentence and the token loss.
        detach_text: keep the token loss's gradient from the text encoder.
        same_caption_negatives: whether pairs with equal captions may be each other's hard negatives.
    """

    not_in_identity: ClassVar[Mapping[str, Any]] = {"bert": True, "words": {"spacy": True}}

    kind: Literal["taco"] = "taco"
    encoder: TACoSizes = TACoSizes()
    batch_videos: int = Field(default=64, ge=1)
    sampling: OverlapSampling = OverlapSampling(
        alignment="exact", draws_per_video=1, min_text_tokens=10, max_text_tokens=10, kept_text_tokens=30,
        max_caption_chars=1000, max_caption_tokens=30, max_rows=48,
    )  # fmt: skip
    words: WordSettings = WordSettings()
    token_weight: float = Field(default=0.5, ge=0)
    fusion_weight: float = Field(default=1.0, ge=0)
    negatives: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    symmetric_sentence: bool = False
    symmetric_token: bool = False
    symmetric_fusion: bool = True
    normalise: bool = False
    detach_text: bool = False
    same_caption_negatives: bool = True

    @model_validator(mode="after")
    def _a_batch_has_the_negatives(self) -> "TACoSettings":
        """Refuse more hard negatives than a batch has other pairs."""
        if self.negatives >= self.items_a_batch:
            raise ValueError(
                f"negatives is {self.negatives}, but a batch has {self.items_a_batch} pairs; raise batch_videos"
            )
        return self

    def check_files(self) -> None:
        """See `ObjectiveSettings`."""
        super().check_files()
        check_folder(self.words.spacy)

    def plan(self, inputs: Inputs, split: TrainSplit, *, accumulate: int) -> Material:
        """See `ObjectiveSettings`; the content of a spaCy pipeline belongs to the identity."""
        material = super().plan(inputs, split, accumulate=accumulate)
        identity = {**material.identity, "spacy": content_of_folder(self.words.spacy)}
        return Material(video_ids=material.video_ids, identity=identity)

    def open(self, opening: Opening) -> "Task[Any]":
        """See `ObjectiveSettings`."""
        from stages.training.tasks.taco import open_taco

        return open_taco(self, opening)
