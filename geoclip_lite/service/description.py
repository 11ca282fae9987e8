"""What the OpenAPI says beyond the types: refusals, bodies and answers that are not JSON."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Response

from geoclip_lite.service.limits import MEDIA as PICTURES
from geoclip_lite.service.models import Problem
from geoclip_lite.service.problems import MEDIA

BINARY = {"type": "string", "format": "binary"}
PICTURE_BODY = {"requestBody": {"required": True, "content": {kind: {"schema": BINARY} for kind in PICTURES}}}
REASONS = {
    400: "The request does not fit the types",
    403: "This service only reads",
    404: "There is no such encoder or picture",
    408: "The request did not arrive in time",
    413: "Too many bytes or pixels",
    415: "Another kind of body",
    422: "Understood, and cannot be answered",
    429: "Too busy",
    503: "The vector store is away, or the answer took too long",
}


def problems(*statuses: int) -> dict[int, dict]:
    """The refusals of a route; every route has 400."""
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": REASONS[status], "content": content} for status in sorted({400, *statuses})
    }


def other(media: str, schema: dict, *statuses: int) -> dict[str, object]:
    """A route that answers with something else than JSON."""
    answer = {200: {"description": "As it is", "content": {media: {"schema": schema}}}}
    return {"responses": problems(*statuses) | answer, "response_class": Response}


COPY = other("image/webp", BINARY, 404)
FIGURES = other("text/plain", {"type": "string"})


def completed(openapi: Callable[[], dict]) -> dict:
    """FastAPI's description with the service's own kind of problem in place of FastAPI's."""
    described = openapi()
    schemas = described["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in described["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return described
