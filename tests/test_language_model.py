"""A language model that answers well, badly, slowly and not at all, played by a server on the loopback."""

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress

import pytest
from chat_server import completion

from geoclip_lite import chat
from geoclip_lite.answers import Answer, Match, Result
from geoclip_lite.chat import read_json
from geoclip_lite.language_model import (
    BadReplyError,
    Endpoint,
    LanguageModelError,
    RefusedError,
    UnreachableError,
    ask,
    evidence,
)

MATCH = Match("red cube", 0.8, (0, 0, 0.3, 0.3), (0, 0, 0.3, 0.3))
RESULTS = tuple(Result(f"picture-{i}", 0.9 - i / 10, 0.5, i + 1, (MATCH,), {"price": i}) for i in range(3))
ANSWER = Answer("a red cube", ("red cube",), RESULTS, {})
NOBODY = Endpoint("http://127.0.0.1:9/v1", "m", timeout=1)


@pytest.fixture(autouse=True)
def pauses(no_pauses):
    return no_pauses


def reply_of(text="the first", results=(1,)):
    return completion(json.dumps({"answer": text, "results": list(results)}))


def test_an_answer_names_the_pictures_it_rests_on(serve):
    server, endpoint = serve(reply_of("number two, then one", [2, 1, 2]))
    reply = ask("which?", ANSWER, endpoint)
    assert (reply.text, reply.cited) == ("number two, then one", ("picture-1", "picture-0"))
    assert reply.seconds > 0
    [(path, headers, body)] = server.seen
    assert (path, headers["Authorization"], body["model"]) == ("/v1/chat/completions", "Bearer secret", "m")
    assert body["messages"][1]["content"].endswith("question: which?")


def test_a_model_is_shown_what_was_matched_where():
    shown = json.loads(evidence(ANSWER, most=2))
    assert shown["query"] == "a red cube"
    assert [r["result"] for r in shown["results"]] == [1, 2]
    assert shown["results"][1]["about"] == {"price": 1}
    assert shown["results"][0]["matches"] == [{"phrase": "red cube", "cosine": 0.8, "place": "top left"}]


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}}',
        'Sure, here it is: {"a": {"b": 1}}',
        '```json\n{"a": {"b": 1}}\n```',
        '```JSON\n{"a": {"b": 1}}\n```\nI hope that {this} helps.',
        '<think>{"a": 2}, or </b>?</think>\n{"a": {"b": 1}}',
        'the prompt began it {"a": 2}</THINK>```{"a": {"b": 1}}```',
    ],
)
def test_json_is_read_out_of_thoughts_fences_and_sentences(text):
    assert read_json(text) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "[1]",
        '{"a": 1',
        '{"a": 1} or {"a": 2}',
        '<think>perhaps {"a": 1}',
        '{"a":' * 100_000,
        "{" * 9999,
    ],
)
def test_json_that_is_none_or_not_alone_is_refused(text):
    with pytest.raises(BadReplyError):
        read_json(text)


@pytest.mark.parametrize(
    "reply",
    [
        *map(completion, ["It is the first one.", "", None, '{"answer": "x"}', '["answer"]']),
        *map(completion, ['{"answer": "x", "results": "1"}', '{"answer": "x", "results": [true]}']),
        *map(completion, ['{"answer": "", "results": [1]}', '{"answer": 1, "results": [1]}']),
        *(reply_of(results=[1, number]) for number in (0, 4, -1)),
        *((200, content) for content in (b'{"choices": []}', b"<html>login</html>", b"", b"[" * 100_000)),
        (200, b"{no", ("Content-Type", "application/json")),
        (200, gzip.compress(bytes(50_000_000)), ("Content-Encoding", "gzip")),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_refused(serve, reply):
    server, endpoint = serve(reply)
    with pytest.raises(BadReplyError):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 1, "asking again would cost money and change nothing"


def test_results_that_were_not_shown_cannot_be_cited(serve):
    with pytest.raises(BadReplyError, match="shown 1"):
        ask("which?", ANSWER, serve(reply_of(results=[2]))[1], most=1)


@pytest.mark.parametrize("code", [200, 400])
def test_a_reply_that_is_too_long_is_not_read(serve, monkeypatch, code):
    content = reply_of()[1]
    monkeypatch.setattr(chat, "MAX_REPLY", len(content))
    assert ask("which?", ANSWER, serve((200, content))[1]).cited == ("picture-0",)
    monkeypatch.setattr(chat, "MAX_REPLY", len(content) - 1)
    with pytest.raises(BadReplyError, match=f"{len(content) - 1} bytes"):
        ask("which?", ANSWER, serve((code, content))[1])


# --- servers that refuse, are in trouble, or absent -----------------------------------------------


@pytest.mark.parametrize("code", [307, 400, 401, 404, 422])
def test_a_refusal_is_not_tried_again(serve, code):
    server, endpoint = serve((code, b"no such model", ("Location", "http://127.0.0.1:9/")))
    with pytest.raises(RefusedError, match=rf"{code}.*no such model"):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_server_in_trouble_is_tried_three_times(serve, code):
    server, endpoint = serve((code, b"later"), (code, b"later"), reply_of())
    assert ask("which?", ANSWER, endpoint).text == "the first"
    assert len(server.seen) == 3
    server, endpoint = serve((code, b"later"))
    with pytest.raises(UnreachableError, match=rf"{code}.*later"):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 3


@pytest.mark.parametrize(("seconds", "tries"), [("7", 3), ("3600", 1)])
def test_a_server_is_given_the_time_it_asks_for_up_to_a_cap(serve, pauses, seconds, tries):
    server, endpoint = serve((429, b"slow down", ("Retry-After", seconds)))
    with pytest.raises(UnreachableError, match="429"):
        ask("which?", ANSWER, endpoint)
    assert pauses == [float(seconds)] * (tries - 1)
    assert len(server.seen) == tries


@pytest.mark.parametrize("about", [{"delay": 1.5, "timeout": 0.2}, {"cut": True, "timeout": 0.5}])
def test_a_slow_server_or_half_an_answer_is_given_up(serve, about):
    server, endpoint = serve(reply_of(), **about)
    with pytest.raises(UnreachableError, match=r"timeout|answer"):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 3


@pytest.mark.parametrize("words", [b"220 mail is ready\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"drip" * 5])
def test_who_does_not_speak_http_or_never_ends(words):
    """The second one sends a byte now and then: a sign of life, but no reply."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            with suppress(OSError):  # the caller, or this test, is gone
                while True:
                    caller, _ = listener.accept()
                    caller.recv(9999)
                    for at in range(0, len(words), 19):
                        caller.sendall(words[at : at + 19])
                        threading.Event().wait(0.3)
                    caller.close()

        threading.Thread(target=greet, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "m", timeout=0.5)
        with pytest.raises(LanguageModelError):
            ask("which?", ANSWER, endpoint)


# --- keys, and what is refused before anything is sent ----------------------------------------------

KEY = "sk-0123456789"


@pytest.mark.parametrize(
    "reply",
    [
        (401, f"Incorrect API key: {KEY}".encode()),
        (503, f'{{"error": {{"message": "{KEY}"}}}}'.encode()),
        (200, f"you sent {KEY}".encode()),
        (200, b"nothing"),
    ],
)
def test_a_key_is_never_shown(serve, caplog, reply):
    caplog.set_level(logging.DEBUG)
    server, endpoint = serve(reply)
    endpoint = Endpoint(endpoint.url, "m", KEY)
    with pytest.raises(LanguageModelError) as caught:
        ask("which?", ANSWER, endpoint)
    assert server.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    everything = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(endpoint)
    assert KEY not in everything


@pytest.mark.parametrize("key", [f"{KEY}\n", f"Bearer {KEY}", f"{KEY}é", f"\0{KEY}"])
def test_a_key_that_cannot_be_sent_is_refused_without_a_look_at_it(key):
    with pytest.raises(ValueError, match="key must be") as caught:
        Endpoint("http://localhost/v1", "m", key)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_without_a_key_none_is_sent_not_even_that_of_the_environment(serve, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    server, endpoint = serve(reply_of())
    ask("which?", ANSWER, Endpoint(endpoint.url, "m"))
    assert "Authorization" not in server.seen[0][1]
    assert KEY not in str(server.seen[0][1])


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:80", "http://u:p@x/v1", "http://x/v1?key=p", "http://[x/v1"]
)
def test_an_address_that_cannot_be_is_refused(url):
    with pytest.raises(ValueError, match="url must be"):
        Endpoint(url, "m")


def test_a_time_or_a_question_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="timeout must be"):
        Endpoint("http://x", "m", timeout=0)
    for question in ("", "  ", "x" * 2001):
        with pytest.raises(ValueError, match="question must have 1 to 2,000"):
            ask(question, ANSWER, NOBODY)
    with pytest.raises(ValueError, match="answer must hold"):
        ask("which?", Answer("q", ("q",), (), {}), NOBODY)
    with pytest.raises(UnreachableError, match=NOBODY.url):
        ask("which?", ANSWER, NOBODY)


def test_the_client_is_loaded_on_use_and_named_if_it_is_missing():
    code = """import sys; sys.modules["openai"] = None
from geoclip_lite.chat import Endpoint, complete
complete([], Endpoint("http://127.0.0.1:9/v1", "m"))"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1].endswith("pip install openai")
