"""A conversation with a model behind an OpenAI-compatible interface; takes the extra `chat`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

MAX_REPLY = 1_000_000  # bytes; a caption or a verdict needs a thousandth of it
Message = Mapping[str, object]  # {"role": "user", "content": a text, or a list of parts}


class LanguageModelError(Exception):
    """No usable answer came back."""


class UnreachableError(LanguageModelError):
    """No connection, no answer in time, or a server in trouble, three times in a row."""


class RefusedError(LanguageModelError):
    """The server refuses the request: a wrong key, an unknown model, too much text."""


class BadReplyError(LanguageModelError):
    """An answer came, and is not what was asked for."""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers; its key is never shown.

    Args:
        url: up to and including the version, e.g. "http://localhost:8000/v1".
        timeout: seconds for a connection, for a sign of life, and for all of a reply.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 30.0

    def __post_init__(self):
        if not re.fullmatch(r"https?://(\[[\da-fA-F:.]+\](:\d+)?|[^\s/?#@\[\]]+)(/[^\s?#@]*)?", self.url):
            raise ValueError("url must be like https://host:8000/v1, without a name, a password or a query")
        if not re.fullmatch(r"[!-~]*", self.key):
            raise ValueError("key must be ASCII without spaces and line breaks (what came is not shown)")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {self.timeout}")


def complete(messages: Sequence[Message], endpoint: Endpoint) -> str:
    """What the model says next. Trouble (429, 5xx) is met by two more attempts, a refusal by none.

    Raises:
        ImportError: `openai` is not installed.
        LanguageModelError: one of the three above.
    """
    try:
        import openai
    except ImportError:
        raise ImportError("asking a language model takes the extra chat: pip install openai") from None
    key, omitted = endpoint.key, dict.fromkeys(["OpenAI-Organization", "OpenAI-Project"], openai.omit)
    headers = omitted | {"Authorization": f"Bearer {key}" if key else openai.omit}
    hooks = {"response": [partial(_bound, seconds=endpoint.timeout)]}
    http = openai.DefaultHttpxClient(follow_redirects=False, event_hooks=hooks)
    about = {"base_url": endpoint.url, "timeout": endpoint.timeout, "http_client": http}
    body = {"model": endpoint.model, "messages": list(messages), "temperature": 0}
    try:
        with openai.OpenAI(api_key="-", **about) as client:
            reply = client.chat.completions.create(**body, extra_headers=headers)
            if content := reply.choices[0].message.content.strip():
                return content
            kind, problem = BadReplyError, "says nothing"
    except openai.APIStatusError as error:
        trouble = error.status_code in (408, 409, 429) or error.status_code >= 500
        kind = UnreachableError if trouble else RefusedError
        problem = f"answers {error.status_code}: {error.response.text}"
    except openai.APIConnectionError as error:
        kind, problem = UnreachableError, f"gave no answer within {endpoint.timeout:g} s: {error.__cause__}"
    except BadReplyError as error:
        kind, problem = BadReplyError, str(error)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        kind, problem = BadReplyError, "sends no chat completion: is the url right?"
    problem = problem.replace(key, "[key]") if key else problem  # a server may repeat it
    raise kind(f"{endpoint.url} {problem[:400]}")


def _bound(response: Any, seconds: float) -> None:
    """Reads a reply, which must not have more than MAX_REPLY bytes or take longer than some seconds."""
    from httpx2 import ByteStream

    body, end = bytearray(), time.monotonic() + seconds
    for piece in response.stream:
        body += piece
        if len(body) > MAX_REPLY or time.monotonic() > end:
            raise BadReplyError(
                f"sent a reply of more than {MAX_REPLY:,} bytes or {seconds:g} s: give it a limit"
            )
    response.headers.pop("Content-Encoding", None)  # nothing grows by being unpacked
    response.stream = ByteStream(bytes(body))


def read_json(reply: str) -> dict[str, object]:
    """The one JSON object in a reply; thoughts before it, a fence, and words around it are passed over.

    Raises:
        BadReplyError: there is none, or more than one.
    """
    text = re.split("<think>", re.split("</think>", reply, flags=re.I)[-1], flags=re.I)[0]
    objects, at = [], text.find("{")
    while at >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(text, at)
            objects.append(value)
        except (ValueError, RecursionError) as error:
            end = at + 1 if isinstance(error, ValueError) else len(text)
        at = text.find("{", end)
    if len(objects) != 1:
        raise BadReplyError(f"the model did not reply with the JSON it was asked for: {reply[:200]!r}")
    return objects[0]
