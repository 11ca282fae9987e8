"""A conversation with a model behind an OpenAI-compatible interface.

Endpoint    where the model answers
complete    messages -> what the model says next; a server in trouble is tried again
picture     a picture as a part of a message
read_json   the JSON object that the model was asked for
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from io import BytesIO

from PIL import Image

from geoclip_lite.images import rgb

MAX_REPLY = 1_000_000  # bytes; a caption or a verdict needs a thousandth of it
PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt

Message = Mapping[str, object]  # {"role": "user", "content": a text, or a list of parts}


class LanguageModelError(Exception):
    """No usable answer came back."""


class UnreachableError(LanguageModelError):
    """No connection, no answer in time, or a server in trouble."""


class RefusedError(LanguageModelError):
    """The server refuses the request: a wrong key, an unknown model, too much text."""


class BadReplyError(LanguageModelError):
    """An answer came, and is not what was asked for."""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Args:
        url: up to and including the version, e.g. "http://localhost:8000/v1".
        model: as the server calls it.
        key: sent as a bearer token; never shown.
        timeout: seconds for one attempt.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 30.0

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {self.url!r}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {self.timeout}")


def complete(messages: Sequence[Message], endpoint: Endpoint) -> str:
    """What the model says next.

    A server in trouble (429 and 5xx) and a lost connection are tried again twice; refusals are not.

    Raises:
        UnreachableError, RefusedError: see there.
        BadReplyError: what came is no chat completion, says nothing, or is longer than MAX_REPLY.
    """
    body = {"model": endpoint.model, "messages": list(messages), "temperature": 0}
    return _content(_posted(endpoint, body))


def picture(image: Image.Image) -> dict[str, object]:
    """A part of a message's content: the picture itself, without loss, as a data address."""
    png = BytesIO()
    rgb(image).save(png, "PNG")
    address = f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}


def read_json(reply: str) -> dict[str, object]:
    """The JSON object that a reply consists of; a fence around it is taken off.

    Raises:
        BadReplyError: the reply is anything else.
    """
    bare = re.sub(r"^\s*```(?:json)?\s*|\s*```\s*$", "", reply)
    try:
        said = json.loads(bare)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise BadReplyError(f"the model did not reply with the JSON it was asked for: {reply[:200]!r}")
    return said


# --- over the wire --------------------------------------------------------------------------------


def _posted(endpoint: Endpoint, body: Mapping[str, object]) -> bytes:
    """The server's reply, after up to three attempts."""
    for pause in (*PAUSES, None):
        try:
            return _attempt(endpoint, body)
        except UnreachableError:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _attempt(endpoint: Endpoint, body: Mapping[str, object]) -> bytes:
    headers = {"Content-Type": "application/json"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    url = endpoint.url.rstrip("/") + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=endpoint.timeout) as response:
            reply = response.read(MAX_REPLY + 1)
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace")
        if error.code == 429 or error.code >= 500:
            raise UnreachableError(f"{url} is in trouble ({error.code}): {said}") from error
        raise RefusedError(f"{url} refuses the request ({error.code}): {said}") from error
    except (OSError, HTTPException, ValueError) as error:  # no connection, no answer in time, not HTTP
        raise UnreachableError(f"{url} gave no answer within {endpoint.timeout:g} s: {error}") from error
    if len(reply) > MAX_REPLY:
        raise BadReplyError(f"{url} sent a reply longer than {MAX_REPLY:,} bytes: give the server a limit")
    return reply


def _content(reply: bytes) -> str:
    """What the model said, out of the server's envelope."""
    try:
        content = json.loads(reply)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadReplyError(f"no chat completion came back, but {reply[:200]!r}") from error
    if not isinstance(content, str) or not content.strip():
        raise BadReplyError(f"the model said nothing, got {content!r}")
    return content
