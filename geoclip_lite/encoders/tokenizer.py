"""A word-level tokenizer: the worlds' captions need some fifty words, not CLIP's 49,408 tokens."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from geoclip_lite.inputs import check_texts
from geoclip_lite.words import listed, words_of

PAD, START, UNKNOWN = 0, 1, 2


class TextWarning(UserWarning):
    """A text reached the encoder changed: words it does not know, or more words than fit."""


class WordTokenizer:
    """Words to ids, in CLIP's layout: start, words, end, padding.

    The end-of-text id is the highest of all, because open_clip reads a text's vector at `argmax(ids)`.
    Unknown words become one shared id, and a warning names them. Punctuation is passed over, but for commas
    where the vocabulary has one (see `words`).

    Args:
        words: the vocabulary, without special tokens.
        context_length: ids per text, start and end included; longer texts are cut, with a warning.
    """

    def __init__(self, words: Sequence[str], context_length: int = 64):
        self.words = tuple(words)
        self.context_length = context_length
        self.ids = {word: UNKNOWN + 1 + i for i, word in enumerate(self.words)}
        self.end = UNKNOWN + 1 + len(self.words)

    @property
    def vocabulary_size(self) -> int:
        return self.end + 1

    @property
    def room(self) -> int:
        """Words and commas that it reads of a text."""
        return self.context_length - 2

    def split(self, text: str) -> list[str]:
        """What is read of a text, known or not."""
        return [word for word in words_of(text) if word != "," or word in self.ids]

    def __call__(self, texts: Iterable[str]) -> Int[Tensor, "texts length"]:
        """Ids, padded to the longest text: shorter than the context, and cheaper, with the same result.

        Raises:
            TypeError, ValueError: see `check_texts`.
        """
        split = [self.split(text) for text in check_texts(texts)]
        self._report(split)
        rows = [[START, *(self.ids.get(w, UNKNOWN) for w in words)] for words in split]
        rows = [[*row[: self.context_length - 1], self.end] for row in rows]
        length = max(map(len, rows), default=2)
        return torch.tensor([row + [PAD] * (length - len(row)) for row in rows]).reshape(len(rows), length)

    def _report(self, split: list[list[str]]) -> None:
        """Warns of unknown words and of texts that are cut."""
        unknown = sorted({w for words in split for w in words} - self.ids.keys())
        if unknown:
            warnings.warn(f"words this encoder never saw: {listed(unknown)}", TextWarning, stacklevel=4)
        long = sum(len(words) > self.room for words in split)
        if long:
            warnings.warn(f"{long} of {len(split)} texts cut to {self.room} words", TextWarning, stacklevel=4)
