"""The index on a Milvus server.

With GEOCLIP_MILVUS_URI, the contract runs on that server. Without it, it runs on a server of its own: this
file once more, beside the server, in namespaces that end with it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geoclip_lite.index import BadInputError, MissingPackageError, UnavailableError, open_index

HERE = Path(__file__)
ALONE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
WAYS = [ALONE, [*ALONE, "--map-root-user"], ["sudo", "-n", *ALONE]]  # as root, as anyone, by sudo
MOST_SECONDS = 480

if os.environ.get("GEOCLIP_MILVUS_URI"):
    from index_on_server import *
    from service_on_server import *
else:

    def test_a_server_of_its_own_keeps_the_contract(tmp_path):
        alone = way_to_be_alone()
        launcher = [sys.executable, "-B", HERE.with_name("milvus_server.py"), tmp_path / "milvus"]
        report = [HERE, "-q", "-p", "no:cacheprovider", "--durations=5"]
        command = ["timeout", "--kill-after=5", str(MOST_SECONDS), *alone, *launcher, *report]
        run = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
        shutil.rmtree(tmp_path / "milvus", ignore_errors=True)  # 400 MB
        assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5000:]
        assert " passed" in run.stdout
        assert "skipped" not in run.stdout
        print(run.stdout)


def way_to_be_alone() -> list[str]:
    """How namespaces can be had here; if not at all, a skip, or a failure where the run must be complete."""
    if importlib.util.find_spec("milvus") is None or importlib.util.find_spec("pymilvus") is None:
        cannot("milvus and pymilvus are not installed: requirements.txt has them")
    for way in WAYS:
        tried = shutil.which(way[0]) and subprocess.run([*way, "true"], capture_output=True).returncode == 0
        if tried:
            return way
    return cannot("no right to network and PID namespaces, and a server must not listen outside of them")


def cannot(why: str):
    if os.environ.get("CI") == "true":
        pytest.fail(f"under CI=true, the server's tests must run: {why}")
    pytest.skip(why)


# --- without a server -----------------------------------------------------------------------------

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("pymilvus") is None and os.environ.get("CI") != "true",
    reason="pymilvus is not installed",
)


def open_at(port, patience=0.5):
    return open_index(f"milvus:http://127.0.0.1:{port}/photos", dim=8, encoder="x", patience=patience)


@needs_client
def test_a_server_that_is_down_is_an_error_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UnavailableError, match=f"the server http://127.0.0.1:{port} .*is it up"):
        open_at(port)


@needs_client
def test_a_server_that_does_not_answer_is_an_error_after_a_while():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(UnavailableError, match=r"within 0\.5 s"):
            open_at(silent.getsockname()[1])
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("milvus:", "where must be memory:"),
        ("milvus:localhost:19530", "where must be like milvus:http"),
        ("milvus:http://localhost:19530", "where must be like milvus:http"),
        ("milvus:http://localhost:19530/two/parts", "where must be like"),
        ("milvus:http://localhost:19530/drop table", "where must be like"),
        ("milvus:http://me:secret@localhost:19530/photos", "GEOCLIP_MILVUS_TOKEN"),
    ],
)
def test_an_address_that_cannot_be_is_refused(where, message):
    with pytest.raises(BadInputError, match=message) as caught:
        open_index(where, dim=8, encoder="x")
    assert "secret" not in str(caught.value)


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setattr("geoclip_lite.index.server.MilvusClient", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'geoclip-lite\[milvus\]'"):
        open_at(1)


def test_without_the_right_to_namespaces_the_server_is_skipped_but_not_under_ci(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "WAYS", [["false"], ["no-such-command"]])
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="under CI=true, the server's tests must run"):
        way_to_be_alone()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception):
        way_to_be_alone()
