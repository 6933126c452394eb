"""Which tokens of a drawn text belong to words of interest, and how much each counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoders.tokenizer import CaptionTokenizer
from stages.text.tagging import Tagger
from stages.text.word_weights import WordWeights, mark_pieces
from stages.training.batches import Draw
from stages.training.dataset import TimedText
from stages.training.sampling import OverlapSampling


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMarks:
    """Marks the tokens of draws, caption by caption, as the sampler has cut them.

    Attributes:
        tokenizer: that made the tokens.
        narrations: of all videos.
        tagger: finds words of interest.
        words: weighs them.
        sampling: how captions and texts were cut.
    """

    tokenizer: CaptionTokenizer
    narrations: Mapping[str, Sequence[TimedText]]
    tagger: Tagger
    words: WordWeights
    sampling: OverlapSampling

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """The tokenizer's."""
        return self.tokenizer.framed(pieces)

    def of_draw(self, draw: Draw) -> NDArray[np.float32]:
        """Return one mark a token of the drawn text, without the special ones."""
        captions, rows = draw.video.captions, self.narrations[draw.video.video_id]
        chosen = captions.narrations[draw.pair.first_caption : draw.pair.last_caption + 1]
        texts = [rows[number].text[: self.sampling.max_caption_chars] for number in chosen]
        marks = [
            mark_pieces(self.tokenizer.spans(text), self.words.weigh(tagged))[: self.sampling.max_caption_tokens]
            for text, tagged in zip(texts, self.tagger.tag(texts), strict=True)
        ]
        return np.concatenate(marks)[: len(draw.pair.tokens)]
