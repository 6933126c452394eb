"""Typed results: what Python, the CLI's JSON, the HTTP API and the web page share.

Every answer names the encoder that made it and whether that encoder's weights were random, because scores of a
random encoder look like scores and mean nothing. Fields are only ever added; `to_json` gives plain JSON values.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A moment: neighbouring windows of one video that answer a sentence or look like another video.

    Attributes:
        video_id: The video.
        path: Its first path, relative to the media folder.
        start_s: First second of the moment.
        end_s: Its end, not included.
        score: Inner product of the query with the best window (a cosine if the encoder's vectors are normalised). If
            a video was asked about: the mean of that over its windows.
        text: Narrations that overlap the moment, joined by a space; '' if there are none.
    """

    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSpan:
    """Where one sentence of a paragraph was placed in a video.

    Attributes:
        text: The sentence as asked.
        start_s: First second of the moment around the best of the windows that were aligned with it.
        end_s: Its end, not included.
        score: Cosine of the sentence with that window, -1 to 1.
        found: False if that is closer to the sentence's background than to its best place among the candidates.
    """

    text: str
    start_s: float
    end_s: float
    score: float
    found: bool

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParagraphHit:
    """A video in which the sentences of a paragraph happen in their order.

    Attributes:
        video_id: The video.
        path: Its first path, relative to the media folder.
        score: Minus the mean cost (1 - cosine) along the best alignment: 0 is perfect, -2 the worst.
        sentences: One span a sentence, in the order asked.
    """

    video_id: str
    path: str
    score: float
    sentences: tuple[SentenceSpan, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields by name; `sentences` is a list."""
        return {**asdict(self), "sentences": [sentence.to_json() for sentence in self.sentences]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The hits of one query, best first.

    Attributes:
        encoder: The encoder's own description of itself.
        random_weights: True if its weights were never trained: then no score means anything.
        features: The frozen features that it reads; they, too, may come from random weights, and then say so.
        query: The sentence, the sentences of a paragraph one a line, or the name of the video asked about.
        hits: Moments (sentence, like) or videos (paragraph).
    """

    encoder: str
    random_weights: bool
    features: str
    query: str
    hits: tuple[Hit, ...] | tuple[ParagraphHit, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields by name; `hits` is a list."""
        return {
            "encoder": self.encoder,
            "random_weights": self.random_weights,
            "features": self.features,
            "query": self.query,
            "hits": [hit.to_json() for hit in self.hits],
        }
