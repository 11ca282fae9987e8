"""From a caption to the phrases of its objects.

listed_phrases  for captions that list objects, like those of the worlds; any other caption is refused
noun_phrases    for free text, by spaCy (an extra: pip install "geoclip-lite[nlp]")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.transport import PointSets
from geoclip_lite.words import readable

PREFIX = re.compile(r"^(an?|the) (photo|picture|image|drawing|rendering) of ", re.IGNORECASE)
BETWEEN = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)
ARTICLE = re.compile(r"^(an?|the)(\s+|$)", re.IGNORECASE)
# Words that tie phrases to each other: a caption that holds one within a phrase says more than a list does.
TIES = re.compile(
    r"(?<!\S)(a|above|an|and|at|behind|below|beside|between|by|for|from|has|have|holding|in|inside|is|are|near|next|of|on"
    r"|or|over|than|that|the|to|under|where|which|while|with|without|wearing)(?!\S)",
    re.IGNORECASE,
)
SPACY_MODEL = "en_core_web_sm"


def listed_phrases(caption: str) -> list[str]:
    """The objects of a caption that is a list: "[a photo of] [a] PHRASE, [a] PHRASE and [a] PHRASE".

    "a photo of a red cube and a blue ball." -> ["red cube", "blue ball"]. Repeated objects stay repeated.
    Punctuation around words is left out; see `words.readable`.

    Raises:
        ValueError: an empty phrase, or a word such as "on" or "with", which says that this is no list.
    """
    listed = BETWEEN.split(PREFIX.sub("", readable(caption)))
    phrases = [ARTICLE.sub("", phrase.strip()) for phrase in listed]
    for phrase in phrases:
        tie = TIES.search(phrase)
        if tie or not phrase:
            found = f"{tie[0]!r} in {phrase!r}" if tie else "an empty phrase"
            raise ValueError(
                f"caption: {caption!r} is no list of objects ({found}); for free text use noun_phrases"
            )
    return phrases


def noun_phrases(text: str, parse: Callable | None = None) -> list[str]:
    """The noun phrases of free text, without their articles; pronouns are left out.

    Args:
        parse: text -> spaCy document; None loads spaCy's small English model.

    Raises:
        ImportError: spaCy or its model is not installed.
        ValueError: a text without noun phrases.
    """
    document = (parse or _english())(text)
    chunks = [chunk for chunk in document.noun_chunks if chunk.root.pos_ != "PRON"]
    phrases = [" ".join(word.text for word in chunk if word.pos_ != "DET") for chunk in chunks]
    if not any(phrases):
        raise ValueError(f"text: no noun phrase in {text!r}: name an object")
    return [phrase for phrase in phrases if phrase]


@cache
def _english() -> Callable:
    """spaCy's small English model."""
    if find_spec("spacy") is None:
        raise ImportError('noun_phrases needs spaCy: `pip install "geoclip-lite[nlp]"`')
    import spacy

    if not spacy.util.is_package(SPACY_MODEL):
        raise ImportError(f"noun_phrases needs a model of English: `python -m spacy download {SPACY_MODEL}`")
    return spacy.load(SPACY_MODEL)


def phrase_sets(
    captions: Sequence[str],
    encode: Callable[[list[str]], Float[Tensor, "phrases dim"]],
    parse: Callable[[str], list[str]] = listed_phrases,
) -> PointSets:
    """For each caption the set of its phrases' vectors; every different phrase is encoded once.

    Args:
        encode: phrases -> unit rows, e.g. with templates around the phrase.
        parse: caption -> phrases.

    Raises:
        ValueError: a caption that `parse` refuses.
    """
    parsed = [parse(caption) for caption in captions]
    row_of = {phrase: row for row, phrase in enumerate(dict.fromkeys(p for listed in parsed for p in listed))}
    vectors = encode(list(row_of))
    rows = [torch.tensor([row_of[phrase] for phrase in listed], dtype=torch.int64) for listed in parsed]
    return PointSets.of([vectors[of_caption] for of_caption in rows])
