"""A model that answers well, badly, slowly and not at all, played by a server on the loopback."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from geoclip_lite.chat import Endpoint


def completion(content):
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


class Server(ThreadingHTTPServer):
    """Gives one reply after the other, the last one for ever; keeps what it was sent."""

    daemon_threads = True

    def __init__(self, *replies, delay=0.0, cut=False):
        self.replies, self.delay, self.cut, self.seen = list(replies), delay, cut, []
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_):
        """A client that has gone is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers, body))
        replies = self.server.replies
        code, content, *headers = replies.pop(0) if len(replies) > 1 else replies[0]
        threading.Event().wait(self.server.delay)
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.server.cut else content)

    def log_message(self, *_):
        pass


@contextmanager
def serving(*replies, timeout=5.0, **about):
    """A running server and the endpoint that leads to it."""
    server = Server(*replies, **about)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server, Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", "secret", timeout)
    finally:
        server.shutdown()
        server.server_close()
