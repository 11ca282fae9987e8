"""A search, from a request to its answer: what a worker of the service does."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from geoclip_lite.answers import Answer, place
from geoclip_lite.datasets import folder as folders
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import fit_of
from geoclip_lite.images import read
from geoclip_lite.index import BadInputError
from geoclip_lite.pipeline import Pipeline, Push, phrases_of
from geoclip_lite.service import why
from geoclip_lite.service.collection import Collection
from geoclip_lite.service.models import About, EncoderInfo, Match, Picture, Result, SearchAnswer, TextQuery
from geoclip_lite.service.pictures import MAX_PIXELS, version_of
from geoclip_lite.service.why import unknown_words, word_tokenizer
from geoclip_lite.words import listed

MAX_PHRASES = 24  # beyond the windows of a picture, phrases would only stay without one


def by_text(collection: Collection, asked: TextQuery) -> SearchAnswer:
    """The pictures that a description fits best."""
    pipeline = chosen(collection, asked.encoder)
    reranker = asked.reranker or ("assignment" if pipeline.cut else "none")
    whole = reranker == "none"
    if not whole and not pipeline.cut:
        raise HTTPException(422, f"reranker: {pipeline.note}, so ask for 'none'")
    if (n := len(phrases_of(asked.query))) > MAX_PHRASES:
        raise HTTPException(422, f"query: it lists {n} objects, more than {MAX_PHRASES}: ask for less")
    weight, matcher = (1.0, pipeline.settings.matcher) if whole else (asked.weight, reranker)
    settings, push = replace(pipeline.settings, weight=weight, matcher=matcher), None
    if asked.push:
        push = Push(**asked.push.model_dump())
        check_known(pipeline.encoder, f"{push.source} {push.target}")
    try:
        answer = pipeline.search(asked.query, asked.k, settings=settings, push=push)
    except ValueError as error:
        if not push or isinstance(error, BadInputError):
            raise
        raise HTTPException(422, f"push: {error}") from error  # between equal texts there is no direction
    unknown = unknown_words(pipeline.encoder, asked.query if whole else ", ".join(answer.phrases))
    notes = [*notes_on(pipeline, asked, unknown)]
    if push and push.strength and weight < 1:
        notes.append(
            "Steering chose the candidates. Their order still follows the objects that you typed; "
            "order by the whole picture to see steering alone."
        )
    return shown(answer, pipeline, weight, notes, guessed=bool(unknown))


def by_picture(collection: Collection, content: bytes, encoder: str | None, k: int) -> SearchAnswer:
    """The pictures that look most like one."""
    pipeline = chosen(collection, encoder)
    return shown(pipeline.search_picture(read(content, MAX_PIXELS), k), pipeline)


def by_likeness(collection: Collection, name: str, encoder: str | None, k: int) -> SearchAnswer:
    """The pictures that look most like one of them."""
    pipeline = chosen(collection, encoder)
    return shown(pipeline.search_like(name, k), pipeline)


def about(collection: Collection, writable: bool) -> About:
    """What there is to search."""
    encoders = [
        EncoderInfo(name=name, pictures=len(pipeline), windows=pipeline.cut is not None)
        for name, pipeline in collection.pipelines.items()
    ]
    return About(
        title=collection.folder.name,
        encoders=encoders,
        examples=collection.examples,
        pictures=[picture(*row) for row in collection.rows(collection.sample)],
        notes=collection.notes,
        left_out=folders.first([folders.shown(name) for name in collection.left_out]),
        writable=writable,
    )


def chosen(collection: Collection, encoder: str | None) -> Pipeline:
    """The pipeline of an encoder; None takes the first."""
    names = list(collection.pipelines)
    if encoder is not None and encoder not in names:
        raise HTTPException(404, f"encoder: there is none of this name, there are {', '.join(names)}")
    return collection.pipelines[encoder or names[0]]


def shown(
    answer: Answer,
    pipeline: Pipeline,
    weight: float = 1.0,
    notes: list[str] | None = None,
    guessed: bool = False,
) -> SearchAnswer:
    """An answer in the types of the interface."""
    reasons = why.sentences(answer, weight, len(pipeline), guessed)
    results = []
    for result, reason in zip(answer.results, reasons, strict=True):
        matches = [
            Match(phrase=m.phrase, cosine=m.cosine, box=m.focus, place=place(m.focus)) for m in result.matches
        ]
        about = picture(result.id, result.fields["caption"], result.fields["stamp"]).model_dump()
        scores = {"score": result.score, "cosine": result.cosine, "first_rank": result.first_rank}
        results.append(Result(**about, **scores, matches=matches, why=reason))
    return SearchAnswer(
        query=answer.query,
        encoder=pipeline.encoder.name,
        phrases=list(answer.phrases),
        weight=weight,
        fit=fit_of(pipeline.encoder),
        results=results,
        notes=notes or [],
        seconds=dict(answer.seconds),
    )


def picture(name: str, caption: str, stamp: str) -> Picture:
    """A picture with its address."""
    address = urlencode({"id": name, "version": version_of(stamp)})
    return Picture(id=name, caption=caption, picture=f"/api/picture?{address}")


# --- what a reader should know ---


def notes_on(pipeline: Pipeline, asked: TextQuery, unknown: list[str]) -> list[str]:
    """What the encoder cannot do, or could only guess at."""
    encoder, notes = pipeline.encoder, [f"{pipeline.note}."] if pipeline.note else []
    if unknown:
        words = listed(unknown, "“{}”")
        notes.append(f"{encoder.name} never saw {words}: what rests on this is a guess.")
    tokenizer = word_tokenizer(encoder)
    if tokenizer and len(tokenizer.split(asked.query)) > tokenizer.room:
        notes.append(f"{encoder.name} reads {tokenizer.room} words and commas: the rest was passed over.")
    return notes


def check_known(encoder: DualEncoder, text: str) -> None:
    """Refuses to steer by words that the encoder could only guess at."""
    if unknown := unknown_words(encoder, text):
        raise HTTPException(422, f"push: {encoder.name} never saw {listed(unknown, '“{}”')}: steer by others")
