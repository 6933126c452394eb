"""Captions to ids: BERT's lower-casing WordPiece, from a published vocabulary or one trained on the corpus.

Letters: B captions, L tokens of the longest.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor

from models.backbones.weights import read_lines
from models.encoders.word_pieces import train_word_pieces

MAX_WORD_PIECES = 61


class CaptionTokenizer:
    """Turns sentences into the text tower's input `[CLS] w_1 .. w_n [SEP] [PAD] ..`.

    Attributes:
        vocab_size: Number of tokens.
        pad_id, unk_id, cls_id, sep_id: Ids of the special tokens.
        max_len: Largest n; VideoCLIP keeps 61 word pieces.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_len: int = MAX_WORD_PIECES) -> None:
        """Wrap a tokenizer of the `tokenizers` library.

        Raises:
            ValueError: One of BERT's special tokens is not in its vocabulary.
        """
        self._tokenizer = tokenizer
        self.max_len = max_len
        self.vocab_size: int = tokenizer.get_vocab_size()
        self.pad_id, self.unk_id = self._special("[PAD]"), self._special("[UNK]")
        self.cls_id, self.sep_id = self._special("[CLS]"), self._special("[SEP]")

    @classmethod
    def train(cls, sentences: Iterable[str], *, vocab_size: int, max_len: int = MAX_WORD_PIECES) -> "CaptionTokenizer":
        """Learn the vocabulary from sentences; the same sentences give the same ids."""
        return cls(_word_piece(train_word_pieces(sentences, vocab_size)), max_len=max_len)

    @classmethod
    def load(cls, path: Path, *, max_len: int = MAX_WORD_PIECES) -> "CaptionTokenizer":
        """Read a tokenizer: a `tokenizer.json`, a `vocab.txt`, or a folder (such as bert-base-uncased) with either.

        Raises:
            ValueError: Neither is there, or the file is not a WordPiece tokenizer.
        """
        if path.is_dir():
            found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
            if not found:
                raise ValueError(f"tokenizer: {path} holds neither tokenizer.json nor vocab.txt")
            path = found[0]
        if not path.is_file():
            raise ValueError(f"tokenizer: there is no file {path}; give a bert-base-uncased folder or its vocab.txt")
        if path.suffix == ".txt":
            return cls(_word_piece(read_lines(path)), max_len=max_len)
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception for a malformed file
            raise ValueError(f"tokenizer {path}: cannot be read ({error}); expected a tokenizer.json") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer, max_len=max_len)

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`; the same tokenizer gives the same bytes."""
        path.write_text(self._tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")

    def pieces(self, text: str) -> list[int]:
        """Return the ids of a text's word pieces, without special tokens, not cut."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def pieces_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what `pieces` returns for each text."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where in the text each of its word pieces stands: first character, and the one behind its last."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encode captions.

        Returns:
            ids: (B, L) int64, `[CLS] w_1 .. w_n [SEP] [PAD] ..`, n <= `max_len`.
            mask: (B, L) bool, True where a token is real.
        """
        return self.frame([self.pieces(text) for text in texts])

    def framed(self, pieces: Sequence[int]) -> list[int]:
        """Put [CLS] and [SEP] around the first `max_len` ids of word pieces."""
        return [self.cls_id, *pieces[: self.max_len], self.sep_id]

    def frame(self, pieces: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Put [CLS], [SEP] and padding around ids of word pieces; see `encode`."""
        rows = [self.framed(ids) for ids in pieces]
        width = max((len(row) for row in rows), default=0)
        ids = torch.tensor([row + [self.pad_id] * (width - len(row)) for row in rows], dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return ids.reshape(len(rows), width), torch.arange(width) < lengths[:, None]

    def _special(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        if number is None:
            raise ValueError(f"tokenizer: {token} is not in its vocabulary, expected BERT's special tokens")
        return number


def _word_piece(tokens: Sequence[str]) -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if "[UNK]" not in vocabulary:
        raise ValueError("tokenizer: [UNK] is not in its vocabulary, expected BERT's special tokens")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
