"""Words to numbers, for a language model of a few hundred words.

A prompt is the query's words and `GO`; a rewrite is words and `END`. Chinese characters are words of their
own, since Chinese leaves no blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders.diets import ALT_TEXTS
from geoclip_lite.rewriting import sentences
from geoclip_lite.rewriting.errors import UnknownWordsError
from geoclip_lite.rewriting.languages import LANGUAGES, phrase
from geoclip_lite.words import composed, listed, words_of

PAD, GO, END = 0, 1, 2
QUOTED = "'{}'"
SPECIAL = ("<pad>", "<go>", "<end>")
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_]+|[^\w\s]")


def split(text: str) -> list[str]:
    """The words of a text, in lower case; punctuation and Chinese characters are words."""
    return _WORD.findall(composed(text).lower())


def join(words: Sequence[str]) -> str:
    """Words as a text, commas behind the word before them."""
    return " ".join(words).replace(" ,", ",")


class Vocabulary:
    """The words that a policy reads and writes.

    Args:
        words: each once, without the special ones.
    """

    def __init__(self, words: Iterable[str]):
        self.words = (*SPECIAL, *words)
        self.ids = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's words. Punctuation that no word of the vocabulary is, is passed over.

        Raises:
            UnknownWordsError: words that are not in the vocabulary, by name.
            ValueError: a text without words.
        """
        words = [word for word in split(text) if word in self.ids or words_of(word)]
        if not words:
            raise ValueError(f"text must have words, got {text!r}")
        if unknown := sorted(set(words) - self.ids.keys()):
            raise UnknownWordsError(
                f"text: the policy does not know {listed(unknown, QUOTED)}. It reads the sentences of "
                "geoclip_lite.rewriting.queries only; another vocabulary needs a warm-up of its own"
            )
        return [self.ids[word] for word in words]

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first END."""
        ids = list(ids)
        ids = ids[: ids.index(END)] if END in ids else ids
        return join([self.words[i] for i in ids if i not in (PAD, GO)])


@cache
def all_words() -> tuple[str, ...]:
    """Every word that a query of `queries` or a rewrite of `prior` can hold, sorted."""
    texts = [scene.caption for scene in shapes.references()]
    texts += [*sentences.SYNONYMS, *sentences.SYNONYMS.values(), *sentences.NUMBERS, *ALT_TEXTS]
    texts += ["a photo of a, an and that is are. ", *_english()]
    called = {sentences.SYNONYMS.get(noun, noun) for noun in shapes.SHAPES}
    texts += [sentences.plural(noun) for noun in called.union(shapes.SHAPES)]
    for language in LANGUAGES:
        texts += [frame.format("") for frame, _ in sentences.FRAMES[language]]
        texts += [
            phrase([*[a] * n, b], language, case)
            for (a, b), n, case in product(
                zip(shapes.PRIMITIVES, shapes.PRIMITIVES[::-1], strict=True),
                (1, 2, 3),
                ("nominative", "accusative", "dative"),
            )
        ]
        texts.append(phrase(shapes.PRIMITIVES[:3], language))  # a list of three, for its commas
    return tuple(sorted({word for text in texts for word in split(text)}))


def _english() -> Iterable[str]:
    """The sentences of long and composed queries, without what they name."""
    lists = (
        sentences.OPENINGS,
        sentences.LINKS,
        sentences.ASIDES,
        sentences.REMARKS,
        sentences.CLOSINGS,
        sentences.REFERENCES,
        sentences.RECOLOUR,
        sentences.REPLACE,
    )
    return (re.sub(r"{\d?}", "", text) for sentences_ in lists for text in sentences_)
