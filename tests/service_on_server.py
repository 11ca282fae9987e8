"""The service over a Milvus server that is gone for a while, and back. See test_index_milvus.py."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from _service import Call, Client, search, sending
from service_gallery import SCENES, drawn_collection, served

from geoclip_lite.service.guard import Limits

URI = os.environ.get("GEOCLIP_MILVUS_URI", "")


class Wire:
    """A way to a server that can be cut, and mended."""

    def __init__(self, uri):
        place = urlsplit(uri)
        self.target, self.whole, self.ends = (place.hostname, place.port), True, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                if not self.whole:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self.target)
                except OSError:
                    near.close()
                    continue
                self.ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with suppress(OSError):
            while part := source.recv(65_536):
                sink.sendall(part)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.whole = False
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self):
        self.whole = True

    def close(self):
        self.cut()
        self.listener.close()


@pytest.fixture
def wire():
    made = Wire(URI)
    yield made
    made.close()


def test_a_service_whose_server_is_gone_says_so_and_goes_on_once_it_is_back(wire, monkeypatch, tmp_path):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    place = f"milvus:{wire.uri}/t{uuid.uuid4().hex[:8]}"
    call, sent = search(SCENES[0].caption, k=2), sending(SCENES[9])
    collection = drawn_collection(tmp_path, SCENES[:4], place=place)
    with served(collection, Limits(seconds=8), writable=True) as address:
        client = Client(address)
        wire.cut()
        for asked in (call, sent, Call("GET", "/ready")):
            assert client.ask(asked).status == 503
        assert client.ask(Call("GET", "/health")).status == 200
        wire.mend()
        await_status(client, call, 200)
        assert client.ask(Call("GET", "/ready")).status == 200
        assert client.ask(sent).status == 204
        assert client.ask(search(SCENES[9].caption, k=1)).status == 200
        client.close()


def await_status(client, call, status, seconds=100):
    """Asks until the answer has the status. gRPC looks for a lost server ever more seldom."""
    until = time.monotonic() + seconds
    while (reply := client.ask(call)).status != status:
        assert reply.status == 503, reply
        assert time.monotonic() < until, f"no {status} within {seconds} s"
        time.sleep(0.1)
