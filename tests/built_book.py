"""Where the executed notebooks and the built pages lie, and a server that hands the pages out."""

from __future__ import annotations

import gzip
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXECUTED = ROOT / ".cache" / "executed"
PAGES = ROOT / "_build" / "html"


def built_pages() -> list[str]:
    """Every page of the book, relative to its root. (index.html is none: it leads to the first one.)"""
    pages = [path.relative_to(PAGES) for path in PAGES.rglob("*.html")]
    return sorted(str(path) for path in pages if path.parts[0] not in ("_static", "_sources", "index.html"))


@contextmanager
def serve() -> Iterator[str]:
    """Serve the book on a free local port; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BookHandler)
    server.handle_error = lambda *_: None  # a browser that moves on hangs up; what is missing it complains of
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class BookHandler(SimpleHTTPRequestHandler):
    """Serve files as the hosts of static pages do: text compressed, everything else as it is."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=str(PAGES), **kwargs)

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        kind = mimetypes.guess_type(path)[0] or ""
        if not path.is_file() or not any(word in kind for word in ("text", "javascript", "json", "xml")):
            super().do_GET()
            return
        body = compressed(path)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Stay silent: what goes wrong is noticed by the browser."""


@cache
def compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), compresslevel=6)
