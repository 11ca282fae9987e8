"""How retrieval of composed scenes goes wrong: what the first answer has in common with the query."""

from __future__ import annotations

from collections import Counter

from geoclip_lite.relevance import pairs_of
from geoclip_lite.retrieval import Ranking
from geoclip_lite.scenes import Scene

RIGHT, BINDING, SUBSTITUTION, OMISSION = KINDS = ("right", "binding error", "substitution", "omission")


def kind_of_answer(query: Scene, answer: Scene) -> str:
    """Which of KINDS an answer is, by how many of the query's words (attribute values, nouns) it lacks.

    None: a binding error, the right words paired differently. One: a substitution, such as a circle for a
    hexagon (the paper's appendix E). More: omission, though from the answer alone a forgotten object cannot
    be told from several mistaken words.
    """
    if query.image_id == answer.image_id:
        return RIGHT
    missing = (Counter(pairs_of(query)) - Counter(pairs_of(answer))).total()
    return (BINDING, SUBSTITUTION)[missing] if missing < 2 else OMISSION


def kinds_of_answers(ranking: Ranking, queries: list[Scene], items: list[Scene]) -> list[str]:
    """The kind of every query's first answer."""
    first = ranking.indices[:, 0].tolist()
    return [kind_of_answer(query, items[i]) for query, i in zip(queries, first, strict=True)]
