"""How people ask: the sentences that shifted queries are made of, some of them kept for tests.

Every list ends with sentences that only test queries use (`HELD_OUT` of them). They hold no word that the
others do not hold, so a rewriter knows their words and has to read their order.
"""

from __future__ import annotations

from collections.abc import Sequence

HELD_OUT = 2  # sentences at the end of every list that no training query uses

# --- long: English, with asides -------------------------------------------------------------------

OPENINGS = (
    "hello, i am looking for a picture that shows {}",
    "could you please help me to find the drawing with {}",
    "i hope that you can find this one for me: it has {}",
    "some time ago i saw a picture with {}",
    "hello, please help me to find a picture: it has {}",
    "i am looking for a drawing that i saw some time ago, with {}",
)
LINKS = (
    "and",
    "and also",
    "together with",
    "and, if i remember well,",
    "and then there is",
    "and then also",
    "and then, if i remember well,",
)
ASIDES = (  # each names something that the picture does not show
    "there was no {} in it",
    "i do not mean the one with {}",
    "i first thought of {}, but that was another picture",
    "somebody told me of {}, which is wrong",
    "there was no {} in it, if i remember well",
    "i do not mean the picture with {}, that was another one",
)
REMARKS = (
    "it was in a book that i had as a child",
    "my sister made it for me",
    "i am not sure where each of them was",
    "it is for the wall of my room",
    "as a child i had it for my wall",
    "it was in a book of my sister",
)
CLOSINGS = (
    "thank you very much for your help",
    "please take your time",
    "it would make me very happy",
    "please help me, it would make me very happy",
    "thank you for your time",
)
# What people say for a word that captions use. The retrievers have seen none of these.
SYNONYMS = {
    "black": "ebony",
    "blue": "navy",
    "green": "emerald",
    "orange": "tangerine",
    "purple": "violet",
    "red": "crimson",
    "yellow": "golden",
    "circle": "disc",
    "square": "box",
    "triangle": "wedge",
}
NUMBERS = ("two", "three")

# --- multilingual ---------------------------------------------------------------------------------

# Language -> (sentence, case of what it names).
FRAMES = {
    "fr": (
        ("{}", "nominative"),
        ("une image avec {}", "nominative"),
        ("je cherche {}", "nominative"),
        ("un dessin qui montre {}", "nominative"),
        ("je cherche un dessin avec {}", "nominative"),
        ("je cherche une image qui montre {}", "nominative"),
    ),
    "de": (
        ("{}", "nominative"),
        ("ein Bild mit {}", "dative"),
        ("ich suche {}", "accusative"),
        ("das Bild zeigt {}", "accusative"),
        ("ich suche ein Bild mit {}", "dative"),
        ("ich suche das Bild mit {}", "dative"),
    ),
    "es": (
        ("{}", "nominative"),
        ("una imagen con {}", "nominative"),
        ("busco {}", "nominative"),
        ("un dibujo que muestra {}", "nominative"),
        ("busco un dibujo con {}", "nominative"),
        ("busco una imagen que muestra {}", "nominative"),
    ),
    "zh": (
        ("{}", "nominative"),
        ("一张有{}的图片", "nominative"),
        ("我在找{}", "nominative"),
        ("图片上有{}", "nominative"),
        ("我在找一张有{}的图片", "nominative"),
        ("我在找有{}的图片", "nominative"),
    ),
}

# --- composed: a reference picture in words, and a change -----------------------------------------

REFERENCES = (
    "like {}",
    "the same as {}",
    "{}",
    "a picture like {}",
    "the same picture as {}",
    "a picture as {}",
)
RECOLOUR = (  # colour before, noun, colour wanted
    "but the {0} {1} is {2}",
    "but with a {2} {1} instead of the {0} {1}",
    "only that the {0} {1} should be {2}",
    "but the {0} {1} should be {2}",
    "only with a {2} {1} instead of the {0} {1}",
)
REPLACE = (  # phrase before, phrase wanted
    "but with a {1} instead of the {0}",
    "only that there is a {1} where the {0} is",
    "the {0} should be a {1}",
    "but there is a {1} instead of the {0}",
    "but a {1} should be where the {0} is",
)


def some(sentences: Sequence, held_out: bool) -> Sequence:
    """The sentences for training, or the ones for tests."""
    return sentences[-HELD_OUT:] if held_out else sentences[:-HELD_OUT]


def article(words: str) -> str:
    """The indefinite article before these English words."""
    return "an" if words[0] in "aeiou" else "a"


def plural(noun: str) -> str:
    """Several of an English noun."""
    return noun + ("es" if noun.endswith("x") else "s")
