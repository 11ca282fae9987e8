"""A search, from the request's words to the answer's: what a worker of the service does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from geoclip_lite.answers import Answer, place
from geoclip_lite.answers import Result as Ranked
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import fit_of
from geoclip_lite.encoders.tokenizer import WordTokenizer
from geoclip_lite.index import BadInputError
from geoclip_lite.pipeline import Pipeline, Push, phrases_of
from geoclip_lite.service import why
from geoclip_lite.service.collection import Collection
from geoclip_lite.service.limits import MOST_PHRASES
from geoclip_lite.service.models import Found, Match, PictureQuery, Result, TextQuery
from geoclip_lite.service.pictures import opened
from geoclip_lite.service.problems import Refusal
from geoclip_lite.words import listed

ATTEMPTS = 3  # a picture that is found may be taken out before it is read
PICTURES = "/api/pictures/"  # where copies are
QUOTED = "“{}”"


def by_text(collection: Collection, asked: TextQuery) -> Found:
    """The pictures that a description fits best."""
    pipeline = chosen(collection, asked.encoder)
    if asked.reranker is None:
        asked = asked.model_copy(update={"reranker": "assignment" if pipeline.cut else "none"})
    none = asked.reranker == "none"
    if not none and pipeline.note:
        raise Refusal(422, f"reranker: {pipeline.note}, so ask for 'none'")
    if (n := len(phrases_of(asked.query))) > MOST_PHRASES:
        raise Refusal(422, f"query: it lists {n} objects, more than {MOST_PHRASES}: ask for less")
    weight = 1.0 if none else asked.weight
    settings = replace(pipeline.settings, weight=weight)
    settings = settings if none else replace(settings, matcher=asked.reranker)
    push = asked.push and checked(Push(**asked.push.model_dump()), pipeline.encoder)
    answer = again(lambda: pipeline.search(asked.query, asked.k, settings=settings, push=push), push)
    return told(answer, pipeline, weight, notes(pipeline, asked))


def by_picture(collection: Collection, asked: PictureQuery, content: bytes) -> Found:
    """The pictures that look most like one."""
    pipeline, picture, push = chosen(collection, asked.encoder), opened(content), None
    if (asked.source is None) != (asked.target is None):
        raise Refusal(422, "push: name both source and target, or none of them")
    if asked.source is not None:
        push = checked(Push(asked.source, asked.target, asked.strength), pipeline.encoder)
    answer = again(lambda: pipeline.search_picture(picture, asked.k, push=push), push)
    return told(answer, pipeline, 1.0, [])


def chosen(collection: Collection, encoder: str | None) -> Pipeline:
    """The pipeline of an encoder."""
    name = next(iter(collection.pipelines)) if encoder is None else encoder
    if name not in collection.pipelines:
        raise Refusal(
            404, f"encoder: there is none of this name, there are {', '.join(collection.pipelines)}"
        )
    return collection.pipelines[name]


def checked(push: Push, encoder: DualEncoder) -> Push:
    """Refuses to steer by words that the encoder could only guess at."""
    if unknown := unknown_words(encoder, f"{push.source} {push.target}"):
        raise Refusal(
            422, f"push: {encoder.name} never saw {listed(unknown, QUOTED)}: steer by words that it knows"
        )
    return push


def again(search: Callable[[], Answer], push: Push | None) -> Answer:
    """A search; once more if a picture was taken out between finding and reading it."""
    for attempt in range(ATTEMPTS):
        try:
            return search()
        except KeyError:
            if attempt == ATTEMPTS - 1:
                raise Refusal(503, "pictures are being taken out: try again", {"Retry-After": "1"}) from None
        except ValueError as error:
            if push is None or isinstance(error, BadInputError):
                raise
            raise Refusal(422, f"push: {error}") from error  # equal texts in other letters, say
    raise AssertionError("the last attempt returns or raises")


def told(answer: Answer, pipeline: Pipeline, weight: float, said: list[str]) -> Found:
    """An answer in the types of the interface."""
    reasons = why.sentences(answer, weight, len(pipeline))
    results = [result(r, reason) for r, reason in zip(answer.results, reasons, strict=True)]
    return Found(
        query=answer.query,
        encoder=pipeline.encoder.name,
        phrases=list(answer.phrases),
        weight=weight,
        fit=fit_of(pipeline.encoder),
        results=results,
        notes=said,
        seconds=dict(answer.seconds),
    )


def result(found: Ranked, reason: str) -> Result:
    matches = [
        Match(phrase=m.phrase, cosine=m.cosine, box=m.focus, place=place(m.focus)) for m in found.matches
    ]
    return Result(
        id=found.id,
        caption=str(found.fields["caption"]),
        picture=f"{PICTURES}{found.fields['copy']}",
        score=found.score,
        cosine=found.cosine,
        first_rank=found.first_rank,
        matches=matches,
        why=reason,
    )


# --- what a reader should know --------------------------------------------------------------------


def notes(pipeline: Pipeline, asked: TextQuery) -> list[str]:
    """What the encoder cannot do, or could only guess at, and what a push does not do."""
    encoder, said = pipeline.encoder, [f"{pipeline.note}."] if pipeline.note else []
    read = asked.query if asked.reranker == "none" else ", ".join(phrases_of(asked.query))
    if unknown := unknown_words(encoder, read):
        said.append(f"{encoder.name} never saw {listed(unknown, QUOTED)}: what rests on this is a guess.")
    if (tokenizer := reads_words(encoder)) and len(tokenizer.split(asked.query)) > tokenizer.room:
        said.append(
            f"{encoder.name} reads {tokenizer.room} words and commas, and no more: the rest was passed over."
        )
    if asked.push and asked.push.strength and asked.reranker != "none" and asked.weight < 1:
        said.append(
            "Steering chose the candidates. Their order still follows the objects that you typed; "
            "order by the whole picture to see steering alone."
        )
    return said


def unknown_words(encoder: DualEncoder, text: str) -> list[str]:
    """The words of a text that are not in an encoder's vocabulary, for one that reads by the word.

    The encoder's own `TextWarning` says the same, but Python's warnings are shared by all threads: one
    client could be told another one's words.
    """
    tokenizer = reads_words(encoder)
    return sorted({*tokenizer.split(text)} - tokenizer.ids.keys()) if tokenizer else []


def reads_words(encoder: DualEncoder) -> WordTokenizer | None:
    """The tokenizer of an encoder that reads by the word."""
    tokenizer = getattr(encoder, "tokenizer", None)
    return tokenizer if isinstance(tokenizer, WordTokenizer) else None
