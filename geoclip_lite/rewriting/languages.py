"""What a scene of coloured shapes is called in French, German, Spanish and Chinese.

    phrase(objects, "fr")            "deux cercles rouges et une étoile verte"
    phrase(objects, "de", "dative")  "zwei roten Kreisen und einem grünen Stern"

Adjectives follow the noun in French and Spanish and agree with it in gender and number. In German they
stand before it, and their ending depends on gender, number, case and article. Chinese has neither, but counts
with a measure word. Equal objects are counted, others are listed in the order that they are given in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from geoclip_lite.rewriting.errors import UnknownLanguageError
from geoclip_lite.scenes import SceneObject

Language = Literal["fr", "de", "es", "zh"]
Case = Literal["nominative", "accusative", "dative"]
LANGUAGES: tuple[Language, ...] = ("fr", "de", "es", "zh")

# Noun -> gender, singular, plural.
FRENCH_NOUNS = {
    "circle": ("m", "cercle", "cercles"),
    "hexagon": ("m", "hexagone", "hexagones"),
    "pentagon": ("m", "pentagone", "pentagones"),
    "square": ("m", "carré", "carrés"),
    "star": ("f", "étoile", "étoiles"),
    "triangle": ("m", "triangle", "triangles"),
}
GERMAN_NOUNS = {
    "circle": ("m", "Kreis", "Kreise"),
    "hexagon": ("n", "Sechseck", "Sechsecke"),
    "pentagon": ("n", "Fünfeck", "Fünfecke"),
    "square": ("n", "Quadrat", "Quadrate"),
    "star": ("m", "Stern", "Sterne"),
    "triangle": ("n", "Dreieck", "Dreiecke"),
}
SPANISH_NOUNS = {
    "circle": ("m", "círculo", "círculos"),
    "hexagon": ("m", "hexágono", "hexágonos"),
    "pentagon": ("m", "pentágono", "pentágonos"),
    "square": ("m", "cuadrado", "cuadrados"),
    "star": ("f", "estrella", "estrellas"),
    "triangle": ("m", "triángulo", "triángulos"),
}
CHINESE_NOUNS = {
    "circle": "圆形",
    "hexagon": "六边形",
    "pentagon": "五边形",
    "square": "正方形",
    "star": "星形",
    "triangle": "三角形",
}
# Colour -> masculine, feminine, masculine plural, feminine plural. "orange" is a noun and stays as it is.
FRENCH_COLOURS = {
    "black": ("noir", "noire", "noirs", "noires"),
    "blue": ("bleu", "bleue", "bleus", "bleues"),
    "green": ("vert", "verte", "verts", "vertes"),
    "orange": ("orange", "orange", "orange", "orange"),
    "purple": ("violet", "violette", "violets", "violettes"),
    "red": ("rouge", "rouge", "rouges", "rouges"),
    "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
}
SPANISH_COLOURS = {
    "black": ("negro", "negra", "negros", "negras"),
    "blue": ("azul", "azul", "azules", "azules"),
    "green": ("verde", "verde", "verdes", "verdes"),
    "orange": ("naranja", "naranja", "naranjas", "naranjas"),
    "purple": ("morado", "morada", "morados", "moradas"),
    "red": ("rojo", "roja", "rojos", "rojas"),
    "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
}
GERMAN_COLOURS = {  # the stem, to which an ending is added
    "black": "schwarz",
    "blue": "blau",
    "green": "grün",
    "orange": "orangefarben",
    "purple": "violett",
    "red": "rot",
    "yellow": "gelb",
}
CHINESE_COLOURS = {
    "black": "黑色",
    "blue": "蓝色",
    "green": "绿色",
    "orange": "橙色",
    "purple": "紫色",
    "red": "红色",
    "yellow": "黄色",
}
COUNTS = {"fr": ("deux", "trois"), "de": ("zwei", "drei"), "es": ("dos", "tres"), "zh": ("两", "三")}
ARTICLES = {"fr": {"m": "un", "f": "une"}, "es": {"m": "un", "f": "una"}}
# (gender, case) -> indefinite article, ending of the adjective behind it.
GERMAN_SINGULAR = {
    ("m", "nominative"): ("ein", "er"),
    ("m", "accusative"): ("einen", "en"),
    ("m", "dative"): ("einem", "en"),
    ("n", "nominative"): ("ein", "es"),
    ("n", "accusative"): ("ein", "es"),
    ("n", "dative"): ("einem", "en"),
}
AND = {"fr": "et", "de": "und", "es": "y"}


def check_language(language: str) -> None:
    """Refuses a language without grammar here.

    Raises:
        UnknownLanguageError: it is none of `LANGUAGES`.
    """
    if language not in LANGUAGES:
        raise UnknownLanguageError(
            f"language must be one of {', '.join(LANGUAGES)}, got {language!r}: "
            "add its nouns, colours and sentences to geoclip_lite/rewriting/languages.py"
        )


def phrase(objects: Sequence[SceneObject], language: str, case: Case = "nominative") -> str:
    """The objects in this language: "un cercle rouge et deux étoiles vertes".

    Args:
        objects: shapes with a colour; equal ones are counted.
        case: in German, of the whole list.

    Raises:
        UnknownLanguageError: see `check_language`.
        ValueError: no objects, more than three equal ones, or one that is no coloured shape.
    """
    check_language(language)
    if not objects:
        raise ValueError("objects must not be empty: a phrase needs something to name")
    counted = Counter(objects)
    return _listed([_counted(thing, n, language, case) for thing, n in counted.items()], language)


def _counted(thing: SceneObject, n: int, language: Language, case: Case) -> str:
    """One kind of object, as often as it is there."""
    colour = dict(thing.attributes).get("colour")
    if thing.noun not in FRENCH_NOUNS or colour not in FRENCH_COLOURS or n > 3:
        raise ValueError(
            f"objects: one to three equal coloured shapes have a name, got {n} x {thing.phrase!r}"
        )
    if language == "de":
        return _german(thing.noun, colour, n, case)
    if language == "zh":
        count = "一" if n == 1 else COUNTS["zh"][n - 2]
        return f"{count}个{CHINESE_COLOURS[colour]}的{CHINESE_NOUNS[thing.noun]}"
    return _romance(thing.noun, colour, n, language)


def _romance(noun: str, colour: str, n: int, language: Literal["fr", "es"]) -> str:
    """French and Spanish: article or number, noun, colour."""
    nouns, colours = (FRENCH_NOUNS, FRENCH_COLOURS) if language == "fr" else (SPANISH_NOUNS, SPANISH_COLOURS)
    gender, singular, plural = nouns[noun]
    masculine, feminine, masculines, feminines = colours[colour]
    if n == 1:
        return f"{ARTICLES[language][gender]} {singular} {masculine if gender == 'm' else feminine}"
    return f"{COUNTS[language][n - 2]} {plural} {masculines if gender == 'm' else feminines}"


def _german(noun: str, colour: str, n: int, case: Case) -> str:
    """Article or number, colour with its ending, noun. Behind a bare number the endings are strong."""
    gender, singular, plural = GERMAN_NOUNS[noun]
    if n == 1:
        article, ending = GERMAN_SINGULAR[gender, case]
        return f"{article} {GERMAN_COLOURS[colour]}{ending} {singular}"
    if case == "dative":
        return f"{COUNTS['de'][n - 2]} {GERMAN_COLOURS[colour]}en {plural}n"
    return f"{COUNTS['de'][n - 2]} {GERMAN_COLOURS[colour]}e {plural}"


def _listed(parts: Sequence[str], language: Language) -> str:
    """ "a, b and c" in this language."""
    if language == "zh":
        return "和".join(["、".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f" {AND[language]} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
