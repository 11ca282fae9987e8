"""Which parts of a text are words: one rule for tokenizers, for the phrases of a query and for live pages.

A word is made of letters and digits; signs that stand for things, such as emoji, are words too. Commas divide
a list. All other punctuation tells an encoder of words nothing, and neither do case, width or ways of
composing a letter.

`PATTERNS` are read by Python's regex and by JavaScript (flag u) alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex

_LETTER = r"\p{L}\p{M}\p{N}"
_MARK = rf"[^{_LETTER}\p{{So}}\s,]"
PATTERNS = {
    "marks": r"[©®™℠¦]",  # no signs for things, nor letters, though NFKC makes "tm" of one
    "invisible": r"(?!\u200b)\p{Default_Ignorable_Code_Point}",  # U+200B divides words, soft hyphens do not
    "listing": r"[\u060c\u3001]",  # the commas of Arabic and Chinese
    "loose": rf"(?<![{_LETTER}]){_MARK}+|{_MARK}+(?![{_LETTER}])|[\u200b\p{{Cc}}]",  # not within a word
    "commas": r" ?,[ ,]*",
    "possessive": rf"(?<=[{_LETTER}])['‘’ʼ]s(?![{_LETTER}])",
    "word": r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*|\p{So}+|,",
}
_COMPILED = {name: regex.compile(pattern) for name, pattern in PATTERNS.items()}


def composed(text: str) -> str:
    """A text in Unicode's compatible composed form (NFKC), without what cannot be seen and trade marks."""
    return _COMPILED["invisible"].sub("", unicodedata.normalize("NFKC", _COMPILED["marks"].sub(" ", text)))


def readable(text: str) -> str:
    """A text without the punctuation around its words; commas stay where they divide something.

    '"A red cube" ,, (a t-shirt).' -> 'A red cube, a t-shirt'.
    """
    text = _COMPILED["loose"].sub(" ", _COMPILED["listing"].sub(",", composed(text)))
    return _COMPILED["commas"].sub(", ", " ".join(text.split())).strip(" ,")


def words_of(text: str) -> list[str]:
    """The words and commas of a text, in lower case: "The cube's T-shirt." -> the, cube, t, shirt."""
    return _COMPILED["word"].findall(_COMPILED["possessive"].sub("", readable(text).lower()))


def listed(words: Sequence[str], form: str = "{}", most: int = 5) -> str:
    """As in a sentence: a few of many, and of each its beginning."""
    shown = ", ".join(form.format(word[:30]) for word in words[:most])
    return shown + (f" and {len(words) - most} more words" if len(words) > most else "")
