"""Why a picture is where it is, in a sentence.

A score is a sum: (1 - weight) / n times the cosine of each of n phrases, plus weight times the cosine of the
whole. So the difference of two pictures is a sum over the same terms, and the largest of them is what sets
them apart.
"""

from __future__ import annotations

from geoclip_lite.answers import Answer, Match, Result, place
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.tokenizer import WordTokenizer

SAME = 0.005  # a difference that two decimals do not show
WHOLE = ""  # the term of the picture as a whole

Terms = dict[tuple[int, str], tuple[float, float]]  # (number, phrase) -> (what it adds, its cosine)


def sentences(answer: Answer, weight: float, gallery: int, guessed: bool) -> list[str]:
    """One explanation a result.

    Args:
        weight: of the plain cosine; 1 where objects did not count.
        gallery: the number of pictures that were searched.
        guessed: whether the encoder did not know all the words.
    """
    numbers = range(len(answer.results))
    if weight == 1 or not answer.phrases:
        return [by_the_whole(answer, number, gallery) for number in numbers]
    parts = [terms(result, answer.phrases, weight) for result in answer.results]
    return [by_objects(answer.results[number], number, parts, guessed) for number in numbers]


def terms(result: Result, phrases: tuple[str, ...], weight: float) -> Terms:
    """The parts of a result's score. A phrase that is left without a window counts 0."""
    parts = {(-1, WHOLE): (weight * result.cosine, result.cosine)}
    for number, phrase in enumerate(phrases):
        cosines = [match.cosine for match in result.matches if match.phrase == phrase]
        same = phrases[:number].count(phrase)  # a phrase may be asked for twice
        cosine = cosines[same] if same < len(cosines) else 0.0
        parts[number, phrase] = ((1 - weight) / len(phrases) * cosine, cosine)
    return parts


def by_the_whole(answer: Answer, number: int, gallery: int) -> str:
    """For results in the order of the plain cosine."""
    cosine, best = answer.results[number].cosine, answer.results[0].cosine
    if number == 0:
        return (
            f"Of all {gallery:,} pictures, this one as a whole is nearest to what you asked for: "
            f"cosine {cosine:.2f}."
        )
    gap = "no less than the first" if best - cosine < SAME else f"the first has {best:.2f}"
    nearness = f"number {number + 1} by nearness to what you asked for"
    return f"As a whole it is {nearness}: cosine {cosine:.2f}, {gap}."


def by_objects(result: Result, number: int, parts: list[Terms], guessed: bool) -> str:
    """For results in the order of their matched objects."""
    if number:
        reasons = [apart(parts[0], parts[number], "What it lacks most against the first is", "the", 1)]
    else:
        opening = (
            "It came first, by guesses at words that are not known" if guessed else "It fits your words best"
        )
        reasons = [f"{opening}: {places(result.matches)}."]
        if len(parts) > 1:
            reasons.append(apart(parts[0], parts[1], "What sets it apart from the next is", "its", 0))
    if result.first_rank != number + 1:
        reasons.append(f"By the picture as a whole it would be number {result.first_rank}.")
    return " ".join(reasons)


def places(matches: tuple[Match, ...]) -> str:
    """What fits where, and how well; best first."""
    ordered = sorted(matches, key=lambda match: -match.cosine)
    spots = [place(match.focus) for match in ordered]
    spots = [spot if spot.startswith("in ") else f"at the {spot}" for spot in spots]
    texts = [f"“{m.phrase}” {spot} ({m.cosine:.2f})" for m, spot in zip(ordered, spots, strict=True)]
    return " and ".join(part for part in (", ".join(texts[:-1]), texts[-1]) if part)


def apart(first: Terms, other: Terms, opening: str, whose: str, here: int) -> str:
    """The term in which the first is furthest ahead of another; `here`: which of the two is explained."""
    key = max(first, key=lambda term: first[term][0] - other[term][0])
    if first[key][0] - other[key][0] < SAME:
        same = ("The next picture fits as well", "It fits as well as the first")[here]
        return f"{same}, to two decimals."
    name = f"{whose} fit as a whole" if key[1] == WHOLE else f"“{key[1]}”"
    ours, theirs = (first[key][1], other[key][1])[:: -1 if here else 1]
    return f"{opening} {name}: {ours:.2f} here, {theirs:.2f} there."


# --- words that an encoder does not know ---


def unknown_words(encoder: DualEncoder, text: str) -> list[str]:
    """The words that an encoder which reads by the word has never seen.

    Its own `TextWarning` says the same, but Python's warnings are shared by all threads.
    """
    tokenizer = word_tokenizer(encoder)
    return sorted({*tokenizer.split(text)} - tokenizer.ids.keys()) if tokenizer else []


def word_tokenizer(encoder: DualEncoder) -> WordTokenizer | None:
    """The tokenizer of an encoder that reads by the word."""
    tokenizer = getattr(encoder, "tokenizer", None)
    return tokenizer if isinstance(tokenizer, WordTokenizer) else None
