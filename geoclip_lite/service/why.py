"""Why a picture is where it is, in a sentence.

A score is a sum: (1 - weight) / n times the cosine of each of n phrases, plus weight times the cosine of the
whole. So the difference of two pictures is a sum over the same terms, and the largest of them is what sets
them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from geoclip_lite.answers import Answer, Match, Result, place

SAME = 0.005  # a difference that two decimals do not show
WHOLE = (-1, "")  # the term of the picture as a whole


@dataclass(frozen=True)
class Term:
    """A part of a score.

    Args:
        value: what it adds.
        cosine: before it is weighed.
    """

    value: float
    cosine: float


Terms = Mapping[tuple[int, str], Term]  # by number and phrase


def terms(result: Result, phrases: tuple[str, ...], weight: float) -> Terms:
    """The parts of a result's score. A phrase that is left without a window counts 0."""
    parts = {WHOLE: Term(weight * result.cosine, result.cosine)}
    share = (1 - weight) / max(1, len(phrases))
    for number, phrase in enumerate(phrases):
        found = [m.cosine for m in result.matches if m.phrase == phrase]
        same = phrases[:number].count(phrase)  # a phrase may be asked for twice
        cosine = found[same] if same < len(found) else 0.0
        parts[number, phrase] = Term(share * cosine, cosine)
    return parts


def sentences(answer: Answer, weight: float, gallery: int) -> list[str]:
    """One explanation a result.

    Args:
        weight: of the plain cosine; 1 where objects did not count.
        gallery: the number of pictures that were searched.
    """
    if not answer.results:
        return []
    if weight == 1 or not answer.phrases:
        return [by_the_whole(answer, i, gallery) for i in range(len(answer.results))]
    parts = [terms(result, answer.phrases, weight) for result in answer.results]
    return [by_objects(answer, i, parts) for i in range(len(answer.results))]


def by_the_whole(answer: Answer, number: int, gallery: int) -> str:
    """For results in the order of the plain cosine."""
    cosine, best = answer.results[number].cosine, answer.results[0].cosine
    if number == 0:
        nearest = "this one as a whole is nearest to what you asked for"
        return f"Of all {gallery:,} pictures, {nearest}: cosine {cosine:.2f}."
    gap = "no less than the first" if best - cosine < SAME else f"the first has {best:.2f}"
    return (
        f"As a whole it is number {number + 1} by nearness to what you asked for: cosine {cosine:.2f}, {gap}."
    )


def by_objects(answer: Answer, number: int, parts: list[Terms]) -> str:
    """For results in the order of their matched objects."""
    result = answer.results[number]
    said = [f"It fits your words best: {places(result.matches)}."] if number == 0 else []
    if number:
        said.append(behind(parts[number], parts[0]))
    elif len(parts) > 1:
        said.append(ahead(parts[0], parts[1]))
    if result.first_rank != number + 1:
        said.append(f"By the picture as a whole it would be number {result.first_rank}.")
    return " ".join(said)


def places(matches: tuple[Match, ...]) -> str:
    """What fits where, and how well; best first."""
    ordered = sorted(matches, key=lambda m: -m.cosine)
    said = [f"“{m.phrase}” {where(m)} ({m.cosine:.2f})" for m in ordered]
    return ", ".join(said[:-1]) + " and " * (len(said) > 1) + said[-1]


def where(match: Match) -> str:
    name = place(match.focus)
    return name if name.startswith("in ") else f"at the {name}"


def ahead(ours: Terms, second: Terms) -> str:
    """What sets the first apart from the second."""
    key = max(ours, key=lambda k: ours[k].value - second[k].value)
    if ours[key].value - second[key].value < SAME:
        return "The next picture fits as well, to two decimals."
    here, there = ours[key].cosine, second[key].cosine
    return f"What sets it apart from the next is {named(key, 'its')}: {here:.2f} here, {there:.2f} there."


def behind(ours: Terms, first: Terms) -> str:
    """What a picture lacks against the first."""
    key = max(ours, key=lambda k: first[k].value - ours[k].value)
    if first[key].value - ours[key].value < SAME:
        return "It fits as well as the first, to two decimals."
    here, there = ours[key].cosine, first[key].cosine
    return f"What it lacks most against the first is {named(key, 'the')}: {here:.2f} here, {there:.2f} there."


def named(key: tuple[int, str], whose: str) -> str:
    return f"{whose} fit as a whole" if key == WHOLE else f"“{key[1]}”"
