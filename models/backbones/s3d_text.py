"""The sentence tower of the HowTo100M S3D-G release and its word list.

Source: Miech et al., arXiv:1912.06430, section 3.3, and the released inference module.

Letters: B sentences, L word slots.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_WORDS = 66249
WORD_SLOTS = 16

_WORD = re.compile(r"[\w']+")


class SentenceTower(nn.Module):
    """Word vectors -> linear -> ReLU -> maximum over the slots -> linear."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embd = nn.Embedding(NUM_WORDS + 1, 300)
        self.fc1 = nn.Linear(300, 2048)
        self.fc2 = nn.Linear(2048, 512)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode sentences.

        The padding slots take part in the maximum, as in the release: row 0 of the word table is a learnt vector.

        Args:
            ids: (B, L) int64 in [0, 66249]; 0 is padding. The released weights expect L = 16.

        Returns:
            (B, 512) float, not normalised.
        """
        hidden = F.relu(self.fc1(self.word_embd(ids)))
        embedding: Tensor = self.fc2(hidden.amax(dim=1))
        return embedding


class WordIds(Protocol):
    """Where the ids of words come from."""

    def __call__(self, word: str) -> int | None:
        """Return the id of a lower-case word (1 to 66249), or None if it has none."""


class WordList:
    """Word ids by position in a dictionary file: the word at index i has id i + 1; others have none."""

    def __init__(self, words: Sequence[str]) -> None:
        """Index a word list.

        Raises:
            ValueError: There are more words than the tower's table has rows.
        """
        if len(words) > NUM_WORDS:
            raise ValueError(f"S3D word list: got {len(words)} words, expected at most {NUM_WORDS}")
        self._ids = {word: index for index, word in enumerate(words, start=1)}

    def __call__(self, word: str) -> int | None:
        """Return the id of a lower-case word, or None."""
        return self._ids.get(word)


def hashed_word_id(word: str) -> int:
    """Return an id for any word, for towers whose weights are random and whose rows therefore mean nothing."""
    return zlib.crc32(word.encode()) % NUM_WORDS + 1


def word_ids(sentences: Sequence[str], ids: WordIds) -> Tensor:
    """Turn sentences into the tower's input.

    Sentences are lower-cased; a word is a run of letters, digits, underscores and apostrophes; words without an id
    are dropped; the first 16 are kept.

    Returns:
        (B, 16) int64, padded with 0 on the right.
    """
    rows = torch.zeros((len(sentences), WORD_SLOTS), dtype=torch.int64)
    for row, sentence in zip(rows, sentences, strict=True):
        found = [number for word in _WORD.findall(sentence.lower()) if (number := ids(word)) is not None]
        kept = found[:WORD_SLOTS]
        row[: len(kept)] = torch.tensor(kept, dtype=torch.int64)
    return rows
