"""A word-level tokenizer: the worlds' captions need some fifty words, not CLIP's 49,408 tokens."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

PAD, START, UNKNOWN = 0, 1, 2
_WORD = re.compile(r"[^\s,]+|,")


class TextWarning(UserWarning):
    """A text reached the encoder changed: words it does not know, or more words than fit."""


def check_texts(texts: Sequence[str], name: str = "texts") -> None:
    """Refuses what an encoder could only guess at.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: one bare string, which would be read letter by letter.
        ValueError: a text without words, which has no direction to point in.
    """
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of strings, got the string {texts!r}: write [{texts!r}]")
    for text in texts:
        if not text.strip():
            raise ValueError(f"{name} holds a text without words, {text!r}: leave it out")


class WordTokenizer:
    """Words to ids, in CLIP's layout: start, words, end, padding.

    The end-of-text id is the highest of all, because open_clip reads a text's vector at `argmax(ids)`.
    Unknown words become one shared id, and a warning names them.

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

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "texts length"]:
        """Ids, padded to the longest text: shorter than the context, and cheaper, with the same result."""
        check_texts(texts)
        split = [_WORD.findall(text.lower()) for text in texts]
        self._report(split)
        rows = [[START, *(self.ids.get(w, UNKNOWN) for w in words)] for words in split]
        rows = [[*row[: self.context_length - 1], self.end] for row in rows]
        length = max(map(len, rows), default=2)
        return torch.tensor([row + [PAD] * (length - len(row)) for row in rows]).reshape(len(rows), length)

    def _report(self, split: list[list[str]]) -> None:
        """Warns of unknown words and of texts that are cut."""
        unknown = sorted({w for words in split for w in words} - self.ids.keys())
        if unknown:
            warnings.warn(f"words this encoder never saw: {', '.join(unknown)}", TextWarning, stacklevel=4)
        room = self.context_length - 2
        long = sum(len(words) > room for words in split)
        if long:
            warnings.warn(f"{long} of {len(split)} texts cut to {room} words", TextWarning, stacklevel=4)
