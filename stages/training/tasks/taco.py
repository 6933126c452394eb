"""TACo as a task: sentences, nouns and verbs, and fused pairs of hard negatives, over all pairs of a batch.

Source: TACo, arXiv:2108.09980 (papers.md 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.encoders.packed import unpack
from models.encoders.taco import TACoEncoder
from models.losses.taco import (
    FusionLoss,
    SentenceLoss,
    TACoLoss,
    TokenLoss,
    cascade_scores,
    hard_negatives,
    pack_tokens,
    token_weights,
)
from stages.errors import ConfigError
from stages.text.tagging import LexicalTagger, Tagger
from stages.text.word_weights import NOT_OF_INTEREST, WordWeights, count_words
from stages.training.batches import Draw, PairBatch, PairSource, collate
from stages.training.layout import epoch_order
from stages.training.objectives.base import Opening
from stages.training.objectives.taco import TACoSettings, WordSettings
from stages.training.task import Loss
from stages.training.tasks.layouts import open_layout
from stages.training.tasks.text_video import EncoderTask, ScaledEncoder, TextVideo, open_text_video
from stages.training.team import Part, Team
from stages.training.token_marks import TokenMarks


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """The pairs of one process, with the marks of their tokens.

    Attributes:
        pairs: P of this process.
        marks: (P, L) float32, idf of each token of interest, NOT_OF_INTEREST for others.
        text_length: tokens of the longest text in all processes: L.
        window_length: rows of the longest window in all processes.
        captions: (P of all,) int64, equal where captions are; None where equal ones are negatives like others.
    """

    pairs: PairBatch
    marks: Tensor
    text_length: int
    window_length: int
    captions: Tensor | None

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the batch with its tensors on a device."""
        return TokenBatch(
            pairs=self.pairs.to(device),
            marks=self.marks.to(device),
            text_length=self.text_length,
            window_length=self.window_length,
            captions=None if self.captions is None else self.captions.to(device),
        )


class TokenAssembly:
    """Makes a `TokenBatch` of draws."""

    def __init__(self, marks: TokenMarks, *, same_caption_negatives: bool) -> None:
        self._marks, self._same_caption_negatives = marks, same_caption_negatives

    def __call__(self, index: int, draws: Sequence[Draw], part: Part) -> TokenBatch:
        """See `stages.training.batches.Assemble`."""
        own = draws[part.of(len(draws))]
        longest = max(len(draw.pair.tokens) for draw in draws) + 2
        marks = torch.full((len(own), longest), NOT_OF_INTEREST)
        for row, draw in enumerate(own):
            found = self._marks.of_draw(draw)
            marks[row, 1 : 1 + len(found)] = torch.from_numpy(found)
        return TokenBatch(
            pairs=collate(own, self._marks.frame),
            marks=marks,
            text_length=longest,
            window_length=max(draw.pair.end_row - draw.pair.start_row for draw in draws),
            captions=None if self._same_caption_negatives else _caption_ids(draws),
        )


def _caption_ids(draws: Sequence[Draw]) -> Tensor:
    """Number the texts of draws, equal ones alike: (P,) int64."""
    numbers: dict[bytes, int] = {}
    return torch.tensor([numbers.setdefault(draw.pair.tokens.tobytes(), len(numbers)) for draw in draws])


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """States of all processes: texts (B, L, E), windows (B, T, E), and which of them are real."""

    texts: Tensor
    text_mask: Tensor
    windows: Tensor
    window_mask: Tensor


class TACoModule(nn.Module):
    """The three losses of a batch, over the pairs of all processes that share it.

    The cheap scores are computed by every process for all pairs; the fused ones each for its part of the candidates.
    """

    def __init__(self, scaled: ScaledEncoder, settings: TACoSettings, sharers: Team) -> None:
        super().__init__()
        self.scaled, self._sharers, self._settings = scaled, sharers, settings
        self.sentence = SentenceLoss(
            temperature=settings.temperature, symmetric=settings.symmetric_sentence, normalise=settings.normalise
        )
        self.token = TokenLoss(
            temperature=settings.temperature,
            symmetric=settings.symmetric_token,
            normalise=settings.normalise,
            detach_text=settings.detach_text,
        )
        self.fusion = FusionLoss(symmetric=settings.symmetric_fusion)
        self.total = TACoLoss(token_weight=settings.token_weight, fusion_weight=settings.fusion_weight)

    def forward(self, batch: TokenBatch) -> Loss:
        """Return the loss and its three parts."""
        states = self._states(batch)
        text = states.texts[:, 0]
        real = states.window_mask[..., None]
        video = (states.windows * real).sum(dim=1) / real.sum(dim=1)
        marks = self._sharers.gather(batch.marks)
        weights, chosen = self._weights(marks, states.text_mask)
        words, kept = pack_tokens(states.texts, chosen)
        packed_weights = pack_tokens(weights, chosen)[0] * kept
        token_scores = self.token.scores(words, states.windows, states.window_mask)
        cheap = cascade_scores(self.sentence.scores(text, video), token_scores, kept)
        num_negatives = min(self._settings.negatives, len(cheap) - 1)  # a batch of similar videos may be small
        negatives = hard_negatives(cheap, num_negatives, batch.captions)
        pairs = torch.stack(negatives.pairs(), dim=1)
        own = self._sharers.part.of(len(pairs))
        lengths = states.text_mask.sum(dim=1), states.window_mask.sum(dim=1)
        fused = self._sharers.gather(self._encoder.fusion(states.texts, states.windows, lengths, pairs[own]))
        terms = {
            "sentence": self.sentence(text, video),
            "token": self.token(token_scores, packed_weights),
            "fusion": self.fusion(fused, negatives),
        }
        return Loss(total=self.total(**terms), terms=terms)

    @property
    def _encoder(self) -> TACoEncoder:
        encoder = self.scaled.encoder
        assert isinstance(encoder, TACoEncoder)
        return encoder

    def _states(self, batch: TokenBatch) -> _States:
        encoder, gather = self._encoder, self._sharers.gather
        windows, texts = self.scaled.scale.packed(batch.pairs.windows), batch.pairs.texts
        window_states, window_mask = unpack(encoder.window_states(windows), windows, length=batch.window_length)
        text_states, text_mask = unpack(encoder.text_states(texts), texts, length=batch.text_length)
        return _States(
            texts=gather(text_states.float()),
            text_mask=gather(text_mask.byte()).bool(),
            windows=gather(window_states.float()),
            window_mask=gather(window_mask.byte()).bool(),
        )

    def _weights(self, marks: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of tokens, (B, L), and which have a part in the token loss."""
        words, interest = self._settings.words, marks > NOT_OF_INTEREST
        weights = token_weights(
            marks.clamp(min=0), interest, text_mask, empty=words.empty, normalisation=words.normalisation
        )
        return weights, interest | (weights > 0)


def open_taco(settings: TACoSettings, opening: Opening) -> EncoderTask[TokenBatch]:
    """Build the task; see `ObjectiveSettings.open`."""
    built = open_text_video(settings, opening)
    if not isinstance(built.checkpoint.encoder, TACoEncoder):
        raise ConfigError(f"[train] start = {opening.start}: this is no encoder of TACo, which has a fusion; give one")
    tagger = open_tagger(settings.words)
    words = count_words(training_texts(built, settings, opening.seed), tagger, settings.words.classes)
    built = replace(built, checkpoint=replace(built.checkpoint, fusion=fusion_facts(settings, words)))
    marks = TokenMarks(
        tokenizer=built.checkpoint.tokenizer,
        narrations=built.narrations,
        tagger=tagger,
        words=words,
        sampling=settings.sampling,
    )
    scaled = ScaledEncoder(built.checkpoint.encoder, built.scale)
    module = TACoModule(scaled, settings, opening.sharers)
    assembly = TokenAssembly(marks, same_caption_negatives=settings.same_caption_negatives)
    layout = open_layout(settings, built, scaled, opening)
    source = PairSource(built.videos, settings.sampling, layout, assembly, seed=opening.seed)
    return EncoderTask(built, module, source)


def fusion_facts(settings: TACoSettings, words: WordWeights) -> dict[str, Any]:
    """What scores a pair beside the encoder, for whoever re-ranks with it."""
    return {
        "token_weight": settings.token_weight,
        "temperature": settings.temperature,
        "normalise": settings.normalise,
        "normalisation": settings.words.normalisation,
        "empty": settings.words.empty,
        "words": words.to_json(),
    }


def open_tagger(settings: WordSettings) -> Tagger:
    """Return the tagger of the settings."""
    if settings.spacy is None:
        return LexicalTagger()
    from stages.text.spacy_tagger import SpacyTagger

    return SpacyTagger(settings.spacy)


def training_texts(built: TextVideo, settings: TACoSettings, seed: int) -> list[str]:
    """The captions of the training videos, of drawn videos if there are very many."""
    texts: list[str] = []
    for video_id in epoch_order(built.video_ids, seed=seed, epoch=0):
        texts += [row.text[: settings.sampling.max_caption_chars] for row in built.narrations[video_id]]
        if len(texts) >= settings.words.most_counted:
            break
    return texts
