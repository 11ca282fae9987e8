"""What is asked and what is answered, in types: the OpenAPI is made of these."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from geoclip_lite.encoders.squares import Fit

PART = r"\w[^\x00-\x1f\x7f\\/]*"  # of an id from outside: it could lead a reader of answers astray
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]
K = Annotated[int, Field(strict=False, ge=1, le=50, description="how many results")]
EncoderName = Annotated[str | None, Field(max_length=200, description="see /api/about; none takes the first")]
Id = Annotated[str, Query(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
NewId = Annotated[str, Query(max_length=512, pattern=f"^{PART}(/{PART})*$")]
Caption = Annotated[str, Query(max_length=1000, pattern=r"^[^\x00]*$")]
Version = Annotated[str, Query(pattern=r"^[0-9a-f]{16}$")]
Size = Literal["small", "full"]
Reranker = Literal["assignment", "max-sim", "none"]


class Asked(BaseModel):
    """A request: nothing unknown, nothing of another type, no number that is none."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PushQuery(Asked):
    """Steering: moves a query from what `source` says to what `target` says, before the first stage."""

    source: Words = Field(examples=["blue"])
    target: Words = Field(examples=["red"])
    strength: float = Field(ge=-4, le=4, description="in lengths of the query")


class TextQuery(Asked):
    """A description of a scene."""

    query: Words = Field(examples=["a red circle and a blue star"])
    encoder: EncoderName = None
    k: K = 12
    reranker: Reranker | None = Field(None, description="left out: assignment where there are windows")
    weight: float = Field(0.2, ge=0, le=1, description="of the plain cosine beside the matched objects")
    push: PushQuery | None = None


class Picture(BaseModel):
    """A picture, and its address; with &size=full, of all of it."""

    id: str
    caption: str
    picture: str


class Match(BaseModel):
    """A phrase of the query, and where it was found."""

    phrase: str
    cosine: float
    box: tuple[float, float, float, float] = Field(
        description="left, top, right, bottom, as fractions; see fit"
    )
    place: str = Field(examples=["top left"])


class Result(Picture):
    """A picture and why it is where it is."""

    score: float
    cosine: float = Field(description="of the whole query with the whole picture")
    first_rank: int = Field(description="its place by the plain cosine")
    matches: list[Match]
    why: str


class SearchAnswer(BaseModel):
    """The results, best first."""

    query: str
    encoder: str
    phrases: list[str] = Field(description="what the query was read as")
    weight: float = Field(description="of the plain cosine in the scores")
    fit: Fit = Field(description="looked at was: shortest, the middle; squash, all; longest, all and margins")
    results: list[Result]
    notes: list[str] = Field(description="what a reader should know before trusting them")
    seconds: dict[str, float]


class EncoderInfo(BaseModel):
    """An encoder under which the pictures can be searched."""

    name: str
    pictures: int
    windows: bool = Field(description="whether it looks for objects in windows, or at whole pictures only")


class About(BaseModel):
    """What there is to search."""

    title: str
    encoders: list[EncoderInfo]
    examples: list[str] = Field(description="queries to begin with")
    pictures: list[Picture] = Field(description="some of them")
    notes: list[str] = Field(description="what the encoders do not know")
    left_out: list[str] = Field(description="files of the folder that are not searched; of many, a few")
    writable: bool


class Problem(BaseModel):
    """What went wrong, and what to do about it (RFC 9457)."""

    title: str
    status: int
    detail: str
    request_id: str
