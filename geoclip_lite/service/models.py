"""What is asked and what is answered, in types. The service's OpenAPI is made of these."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from geoclip_lite.encoders.squares import Fit
from geoclip_lite.index.base import MAX_ID
from geoclip_lite.pipeline import MAX_TEXT
from geoclip_lite.service.limits import MOST_CAPTION, MOST_PUSH, MOST_RESULTS

Reranker = Literal["assignment", "max-sim", "none"]
RERANKERS: tuple[Reranker, ...] = get_args(Reranker)

# The service never makes a path of an id. Whoever reads its answers might.
PART = r"\w[^\x00-\x1f\x7f\\/]*"
ID = re.compile(rf"{PART}(/{PART})*")


def tame(name: str) -> str:
    """Raises ValueError for an id that could lead a reader astray, or is too long for the index."""
    if not ID.fullmatch(name):
        rule = "each part between slashes must begin with a letter, a digit or _"
        raise ValueError(f"{rule}, and hold no backslash or control character")
    if (size := len(name.encode())) > MAX_ID:
        raise ValueError(f"must be at most {MAX_ID} bytes of UTF-8, got {size}")
    return name


def whole(number: object) -> object:
    """8.0 as 8: in JSON they are one number."""
    return int(number) if type(number) is float and number.is_integer() else number


Words = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, pattern=r"\S")]
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_ID),
    AfterValidator(tame),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": f"^{ID.pattern}$"}),
]


class Asked(BaseModel):
    """A request: nothing unknown, nothing of another type, nothing that is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, regex_engine="python-re")


class Push(Asked):
    """Steering: moves the query from what `source` says to what `target` says, before the first stage."""

    source: Words = Field(examples=["blue"])
    target: Words = Field(examples=["red"])
    strength: float = Field(ge=-MOST_PUSH, le=MOST_PUSH, description="in lengths of the query")


class TextQuery(Asked):
    """A description of a scene."""

    query: Words = Field(examples=["a red circle and a blue star"])
    encoder: str | None = Field(None, max_length=200, description="one of /api/about; none takes the first")
    k: Annotated[int, BeforeValidator(whole)] = Field(12, ge=1, le=MOST_RESULTS)
    reranker: Reranker | None = Field(
        None,
        description="none leaves the order of the plain cosine; left out: assignment where there are windows",
    )
    weight: float = Field(0.2, ge=0, le=1, description="of the plain cosine beside the matched objects")
    push: Push | None = None


class PictureQuery(BaseModel):
    """What a picture is asked with; a query string has no types, so numbers may be texts here."""

    model_config = ConfigDict(extra="forbid")

    encoder: str | None = Field(None, max_length=200)
    k: int = Field(12, ge=1, le=MOST_RESULTS)
    source: Words | None = Field(None, description="of a push, see there; with target and strength")
    target: Words | None = None
    strength: float = Field(0, ge=-MOST_PUSH, le=MOST_PUSH, allow_inf_nan=False)


class PictureName(BaseModel):
    """Which picture."""

    model_config = ConfigDict(extra="forbid")

    id: Id = Field(examples=["holiday/red cube.jpg"])


class NewPicture(PictureName):
    """A picture to keep."""

    caption: str = Field("", max_length=MOST_CAPTION, pattern=r"^[^\x00]*$")


# --- answers --------------------------------------------------------------------------------------


class Match(BaseModel):
    """A phrase of the query, and where it was found."""

    phrase: str
    cosine: float
    box: tuple[float, float, float, float] = Field(
        description="its focus: left, top, right, bottom, as fractions of what was looked at, see fit"
    )
    place: str = Field(examples=["top left"])


class Result(BaseModel):
    """A picture and why it is where it is."""

    id: str
    caption: str
    picture: str = Field(description="where its copy can be fetched")
    score: float
    cosine: float = Field(description="of the whole query with the whole picture")
    first_rank: int = Field(description="its place by the plain cosine")
    matches: list[Match]
    why: str


class Found(BaseModel):
    """The results, best first."""

    query: str
    encoder: str
    phrases: list[str] = Field(description="what the query was read as")
    weight: float = Field(description="of the plain cosine in the scores")
    fit: Fit = Field(
        description="what was looked at: shortest the middle square, squash all, longest all with margins"
    )
    results: list[Result]
    notes: list[str] = Field(description="what a reader should know before trusting them")
    seconds: dict[str, float]


class Encoder(BaseModel):
    """An encoder under which the pictures can be searched."""

    name: str
    pictures: int
    windows: bool = Field(description="whether it looks for objects in windows, or at whole pictures only")


class About(BaseModel):
    """What there is to search."""

    title: str
    encoders: list[Encoder]
    rerankers: list[Reranker]
    examples: list[str]
    writable: bool
    left_out: list[str] = Field(description="files of the folder that are not searched; of many, a few")


class Kept(BaseModel):
    """A picture that is safe: from here on it outlives a killed process."""

    id: str


class Health(BaseModel):
    """Whether the service is there, and whether it can answer."""

    status: Literal["ok", "not ready"]
    detail: str = ""


class Problem(BaseModel):
    """What went wrong, and what to do about it (RFC 9457)."""

    title: str
    status: int
    detail: str
    request_id: str
