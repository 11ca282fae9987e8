"""A question at a bench: first the cosine or the steered query, then, if asked for, the objects."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from geoclip_lite import answers, regions, steering
from geoclip_lite.retrieval import Ranking, shortlist
from geoclip_lite.widgets.bench import Bench, Notes, Reranker

CANDIDATES = 100  # that a reranker gets
SHOWN = 10  # of them


@dataclass(frozen=True)
class Question:
    """What a reader asks.

    Args:
        text: the query.
        reranker: "none" leaves the order of the cosine; "objects" matches the query's phrases with places.
        weight: of the cosine beside the matched objects, 0 to 1.
        source, target: the words to steer from and to; both or none.
        strength: of the push, in lengths of the query.
    """

    text: str
    reranker: Reranker = "none"
    weight: float = 0.2
    source: str = ""
    target: str = ""
    strength: float = 0.0


@dataclass(frozen=True)
class Match:
    """A phrase of the query on a place of a picture.

    Args:
        box: left, top, right and bottom, as fractions of the picture's middle square.
    """

    phrase: str
    box: tuple[float, float, float, float]
    cosine: float

    @property
    def place(self) -> str:
        """Where the box lies, in words: "top left"."""
        return answers.place(self.box)


@dataclass(frozen=True)
class Found:
    """The answer.

    Args:
        ranking: of the one query, up to CANDIDATES pictures.
        captions: of the first SHOWN of them.
        matches: the query's phrases on the first picture; none without the reranker.
        notes: what the encoder could only guess at.
    """

    ranking: Ranking
    captions: tuple[str, ...]
    matches: tuple[Match, ...] = ()
    notes: Notes = ()


def search(bench: Bench, question: Question) -> Found:
    """Cosine or steered query first; then, if asked for, the objects.

    A push moves the query as a whole and so the candidates; the phrases stay as they were typed.

    Raises:
        ValueError: an empty query, one that is no list of objects (for the reranker), only one word to
            steer by, equal or unknown ones, an unknown reranker, a weight outside 0..1.
        NoTokensError: an encoder that cannot say what is where (for the reranker).
    """
    query, notes = bench.read(question.text)
    deque(bench.prepare(question.reranker), maxlen=0)
    ranking, matches = first_stage(bench, question, query), ()
    if question.reranker == "objects":
        phrases, more = bench.phrases(question.text)
        reranked = regions.rerank(ranking, phrases, bench.regions)
        ranking = regions.mix(reranked, ranking, question.weight)
        matches = matched(bench, question.text, int(ranking.indices[0, 0]))
        notes += tuple(note for note in more if note not in notes)
    captions = tuple(bench.scenes[i].caption for i in ranking.indices[0, :SHOWN].tolist())
    return Found(ranking, captions, matches, notes)


def first_stage(bench: Bench, question: Question, query: Float[Tensor, "1 dim"]) -> Ranking:
    """The candidates, by the cosine of the query, or of the steered query."""
    k = min(CANDIDATES, len(bench.scenes))
    if bool(question.source) != bool(question.target):
        raise ValueError("steering: name both words, the one to leave and the one to reach")
    if not question.source:
        return shortlist(query, bench.gallery, k)
    direction = bench.direction(question.source, question.target)
    if question.strength == 0:
        return shortlist(query, bench.gallery, k)
    [(_, ranking)] = steering.steered_rankings(query, direction, bench.gallery, [question.strength], k)
    return ranking


def matched(bench: Bench, text: str, picture: int) -> tuple[Match, ...]:
    """Which region of a picture each phrase takes: the pairs behind the score of `regions.rerank`."""
    (sets, _), seen = bench.phrases(text), bench.regions
    cosines = sets[0] @ seen.vectors[picture].T
    taken = answers.assigned(cosines).tolist()
    return tuple(
        Match(phrase, tuple(seen.boxes[window].tolist()), float(cosines[row, window]))
        for row, (phrase, window) in enumerate(zip(regions.listed_phrases(text), taken, strict=True))
        if window >= 0
    )
