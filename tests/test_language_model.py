"""A language model that answers well, badly, slowly and not at all, played by a server on the loopback."""

import json
import socket
import threading
import time

import pytest
from chat_server import completion

from geoclip_lite.answers import Answer, Match, Result
from geoclip_lite.language_model import (
    BadReplyError,
    Endpoint,
    RefusedError,
    UnreachableError,
    ask,
    evidence,
)

pytestmark = pytest.mark.usefixtures("no_pauses")
RESULTS = tuple(
    Result(
        f"picture-{i}",
        0.9 - i / 10,
        0.5,
        i + 1,
        (Match("red cube", 0.8, (0, 0, 0.3, 0.3), (0, 0, 0.3, 0.3)),),
        {"price": i},
    )
    for i in range(3)
)
ANSWER = Answer("a red cube", ("red cube",), RESULTS, {})


def said(text="the first", results=(1,)):
    return completion(json.dumps({"answer": text, "results": list(results)}))


# --- well -----------------------------------------------------------------------------------------


def test_an_answer_names_the_pictures_it_rests_on(serve):
    server, endpoint = serve(said("number two, then one", [2, 1, 2]))
    reply = ask("which?", ANSWER, endpoint)
    assert (reply.text, reply.cited) == ("number two, then one", ("picture-1", "picture-0"))
    assert 0 < reply.seconds < 5
    [(path, headers, body)] = server.seen
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "m"
    assert body["messages"][1]["content"].endswith("question: which?")


def test_a_model_is_told_what_was_found_where(serve):
    told = json.loads(evidence(ANSWER, most=2))
    assert told["query"] == "a red cube"
    assert [r["result"] for r in told["results"]] == [1, 2]
    assert told["results"][1]["about"] == {"price": 1}
    assert told["results"][0]["matches"] == [{"phrase": "red cube", "cosine": 0.8, "place": "top left"}]


def test_a_fence_around_the_reply_is_taken_off(serve):
    _, endpoint = serve(completion('```json\n{"answer": "none", "results": []}\n```'))
    assert ask("which?", ANSWER, endpoint).cited == ()


def test_a_key_is_never_shown():
    assert "secret" not in repr(Endpoint("http://localhost/v1", "m", "secret"))


def test_without_a_key_none_is_sent(serve):
    server, endpoint = serve(said())
    ask("which?", ANSWER, Endpoint(endpoint.url, "m"))
    assert "Authorization" not in server.seen[0][1]


# --- badly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        completion("It is the first one."),
        completion(""),
        completion('{"answer": "x"}'),
        completion('{"answer": "x", "results": "1"}'),
        completion('{"answer": "x", "results": [true]}'),
        completion('{"answer": "", "results": [1]}'),
        completion('["answer"]'),
        (200, b'{"choices": []}'),
        (200, b"<html>login</html>"),
        (200, b""),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_refused(serve, reply):
    server, endpoint = serve(reply)
    with pytest.raises(BadReplyError):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 1, "asking again would cost money and change nothing"


def test_a_reply_that_is_too_long_is_called_that(serve, monkeypatch):
    """Cut off it would be no JSON, and the model would be blamed."""
    reply = said()
    monkeypatch.setattr("geoclip_lite.chat.MAX_REPLY", len(reply[1]))
    assert ask("which?", ANSWER, serve(reply)[1]).cited == ("picture-0",)
    monkeypatch.setattr("geoclip_lite.chat.MAX_REPLY", len(reply[1]) - 1)
    with pytest.raises(BadReplyError, match=f"longer than {len(reply[1]) - 1} bytes"):
        ask("which?", ANSWER, serve(reply)[1])


@pytest.mark.parametrize("number", [0, 4, -1])
def test_an_answer_that_rests_on_what_was_not_found_is_refused(serve, number):
    _, endpoint = serve(said(results=[1, number]))
    with pytest.raises(BadReplyError, match=f"result {number}, it was shown 3"):
        ask("which?", ANSWER, endpoint)


def test_results_that_were_not_shown_cannot_be_cited(serve):
    _, endpoint = serve(said(results=[2]))
    with pytest.raises(BadReplyError, match="it was shown 1"):
        ask("which?", ANSWER, endpoint, most=1)


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_refusal_is_not_tried_again(serve, code):
    server, endpoint = serve((code, b"no such model"))
    with pytest.raises(RefusedError, match=rf"{code}.*no such model"):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 1


# --- slowly, and not at all -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_in_trouble_is_tried_again(serve, code):
    server, endpoint = serve((code, b"later"), (code, b"later"), said())
    assert ask("which?", ANSWER, endpoint).text == "the first"
    assert len(server.seen) == 3


def test_after_three_attempts_it_is_over(serve):
    server, endpoint = serve((503, b"later"))
    with pytest.raises(UnreachableError, match=r"in trouble \(503\): later"):
        ask("which?", ANSWER, endpoint)
    assert len(server.seen) == 3


def test_a_slow_server_is_given_up(serve):
    _, endpoint = serve(said(), delay=1.5, timeout=0.2)
    started = time.perf_counter()
    with pytest.raises(UnreachableError, match=r"within 0\.2 s"):
        ask("which?", ANSWER, endpoint)
    assert time.perf_counter() - started < 1.4, "three attempts of 0.2 s"


def test_half_an_answer_is_none(serve):
    _, endpoint = serve(said(), cut=True, timeout=0.5)
    with pytest.raises((UnreachableError, BadReplyError)):
        ask("which?", ANSWER, endpoint)


def test_who_does_not_speak_http():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            for _ in range(3):
                caller, _ = listener.accept()
                with caller:
                    caller.recv(1)
                    caller.sendall(b"220 mail is ready\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(UnreachableError, match="gave no answer"):
            ask(
                "which?", ANSWER, Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "m", timeout=2)
            )


def test_nobody_there():
    with pytest.raises(UnreachableError, match="gave no answer"):
        ask("which?", ANSWER, Endpoint("http://127.0.0.1:9/v1", "m", timeout=1))


# --- what is refused before anything is sent ------------------------------------------------------


@pytest.mark.parametrize("question", ["", "  ", "x" * 2001])
def test_questions_without_sense_are_not_sent(question):
    with pytest.raises(ValueError, match="question must have 1 to 2,000"):
        ask(question, ANSWER, Endpoint("http://127.0.0.1:9/v1", "m"))


def test_without_results_there_is_nothing_to_ask():
    with pytest.raises(ValueError, match="the search found none"):
        ask("which?", Answer("q", ("q",), (), {}), Endpoint("http://127.0.0.1:9/v1", "m"))


@pytest.mark.parametrize(("url", "timeout"), [("ftp://x", 1), ("localhost:80", 1), ("http://x", 0)])
def test_an_endpoint_that_cannot_be_is_refused(url, timeout):
    with pytest.raises(ValueError, match=r"url must begin|timeout must be"):
        Endpoint(url, "m", timeout=timeout)
