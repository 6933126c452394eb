"""Training a WordPiece vocabulary, the same for the same sentences.

The trainer of the `tokenizers` library iterates over hash maps with random seeds: two runs give different ids and
different pieces. This one breaks every tie by spelling.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"

_Pair = tuple[str, str]


def train_word_pieces(sentences: Iterable[str], vocab_size: int) -> list[str]:
    """Learn word pieces by merging the most frequent neighbours (Sennrich et al., arXiv:1508.07909, algorithm 1).

    Args:
        sentences: The corpus; lower-cased, stripped of accents and split as BERT does.
        vocab_size: Upper limit of the number of tokens; the special tokens and all letters are kept even beyond it.

    Returns:
        Tokens by id: `SPECIAL_TOKENS`, letters in code order, then merged pieces, most frequent first. Only pairs
        that occur at least twice are merged.
    """
    counts = _count_words(sentences)
    words = [[word[0], *(CONTINUATION + letter for letter in word[1:])] for word in counts]
    tokens = [*SPECIAL_TOKENS, *sorted({symbol for word in words for symbol in word})]
    known = set(tokens)
    merges = _Merges(words, list(counts.values()))
    while len(tokens) < vocab_size and (piece := merges.merge_most_frequent()) is not None:
        if piece not in known:
            known.add(piece)
            tokens.append(piece)
    return tokens


def _count_words(sentences: Iterable[str]) -> dict[str, int]:
    normalise, split = BertNormalizer(lowercase=True).normalize_str, BertPreTokenizer().pre_tokenize_str
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(word for word, _ in split(normalise(sentence)))
    return dict(sorted(counts.items()))


class _Merges:
    """Pair counts over the corpus' distinct words, kept up to date while pairs are merged."""

    def __init__(self, words: list[list[str]], counts: list[int]) -> None:
        self._words = words
        self._counts = counts
        self._pairs: Counter[_Pair] = Counter()
        self._found_in: defaultdict[_Pair, set[int]] = defaultdict(set)
        for index in range(len(words)):
            self._add(index, +1)
        self._heap = [(-count, pair) for pair, count in self._pairs.items()]
        heapq.heapify(self._heap)

    def merge_most_frequent(self) -> str | None:
        """Merge one pair everywhere; return the new piece, or None if no pair occurs twice."""
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if -count != self._pairs[pair]:
                continue  # outdated: every change of a count pushed a new entry
            if -count < 2:
                return None
            return self._merge(pair)
        return None

    def _merge(self, pair: _Pair) -> str:
        piece = pair[0] + pair[1].removeprefix(CONTINUATION)
        changed: set[_Pair] = set()
        for index in sorted(self._found_in[pair]):
            changed |= self._add(index, -1)
            self._words[index] = _joined(self._words[index], pair, piece)
            changed |= self._add(index, +1)
        for other in changed:
            heapq.heappush(self._heap, (-self._pairs[other], other))
        return piece

    def _add(self, index: int, sign: int) -> set[_Pair]:
        word = self._words[index]
        pairs = list(pairwise(word))
        for pair in pairs:
            self._pairs[pair] += sign * self._counts[index]
            if sign > 0:
                self._found_in[pair].add(index)
            else:
                self._found_in[pair].discard(index)
        return set(pairs)


def _joined(word: list[str], pair: _Pair, piece: str) -> list[str]:
    result: list[str] = []
    for symbol in word:
        if result and (result[-1], symbol) == pair:
            result[-1] = piece
        else:
            result.append(symbol)
    return result
