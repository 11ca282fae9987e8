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


@needs_client
@pytest.mark.parametrize("listening", [False, True])
def test_a_server_that_is_down_or_silent_is_an_error_after_a_while(listening):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=uri):
            open_index(f"milvus:{uri}/photos", dim=8, encoder="x", patience=0.5)


@needs_client
@pytest.mark.parametrize(
    "place",
    [
        *("", "localhost:19530", "http://localhost:19530", "http://localhost:19530/two/parts"),
        *(
            "http://localhost:19530/drop table",
            "http://me:secret@localhost:19530/photos",
            "http://me:secret@/x",
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_a_password_not_repeated(place):
    with pytest.raises(BadInputError, match="where must") as caught:
        open_index(f"milvus:{place}", dim=8, encoder="x")
    assert "secret" not in str(caught.value)


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "geoclip_lite.index.milvus", raising=False)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingPackageError, match=r"pymilvus.*geoclip-lite\[milvus\]"):
        open_index("milvus:http://localhost:1/photos", dim=8, encoder="x")


def test_without_the_right_to_namespaces_the_server_is_skipped_but_not_under_ci(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "WAYS", [["false"], ["no-such-command"]])
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI"):
        way_to_be_alone()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception):
        way_to_be_alone()
