"""What went wrong, in words that a stranger may read: a status, a reason, what to do about it.

Everything that can be raised below becomes a `Problem` here; what is not expected becomes a 500 that names
nothing but the line of the log in which the traceback stands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from geoclip_lite.images import PictureError, TooManyPixelsError, UnknownFormatError
from geoclip_lite.index import BadInputError, VectorStoreError
from geoclip_lite.service.desk import BusyError, TooSlowError

MEDIA = "application/problem+json"


@dataclass
class Refusal(Exception):
    """A request that is not answered as it was meant.

    Args:
        detail: the reason, and what to do about it.
        headers: of the answer.
    """

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """As JSON, in ASCII: what a client sent may not even be Unicode."""
        title = HTTPStatus(self.status).phrase
        problem = {"title": title, "status": self.status, "detail": self.detail, "request_id": request_id}
        return json.dumps(problem).encode()


def refusal_of(error: Exception) -> Refusal | None:
    """How an error is told to a client; None for one that nobody expected."""
    match error:
        case Refusal():
            return error
        case BusyError():
            return Refusal(429, "all workers are busy and the queue is full: try again", {"Retry-After": "1"})
        case TooSlowError():
            return Refusal(503, "the answer did not come in time: try again", {"Retry-After": "2"})
        case PictureError():
            statuses = {UnknownFormatError: 415, TooManyPixelsError: 413, PictureError: 422}
            status = next(status for kind, status in statuses.items() if isinstance(error, kind))
            return Refusal(status, f"the picture cannot be read: {error}")
        case BadInputError():
            return Refusal(422, str(error))
        case VectorStoreError():
            detail = "the vector store cannot be used just now: try again later"
            return Refusal(503, detail, {"Retry-After": "5"})
        case RequestValidationError():
            return Refusal(400, "; ".join(map(told, error.errors())))
        case HTTPException():
            return Refusal(error.status_code, str(error.detail), dict(error.headers or {}))
    return None


def told(problem: dict) -> str:
    """One problem of a request, with its place but without what was sent."""
    where, *place = problem["loc"]
    if problem["type"] == "json_invalid":
        return f"the body is no JSON, from character {place[0]} on"
    name = ".".join(str(part) for part in place)[:100] or f"the {where}"
    return f"{name}: {problem['msg']}"
