"""A search page over drawn scenes, or over a folder of pictures of your own.

    python -m geoclip_lite.service
    python -m geoclip_lite.service photos --encoder ViT-B-32-quickgelu/openai

Without a folder it draws a gallery first (half a minute, kept in the cache). The minis know drawn scenes
only: for photos name another encoder. Files that are damaged, and pictures in formats that are not decoded,
are left out and named on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import torch

from geoclip_lite.encoders import WeightsError
from geoclip_lite.index import VectorStoreError
from geoclip_lite.service import running, sources, watching
from geoclip_lite.service.app import create_app
from geoclip_lite.service.collection import Collection
from geoclip_lite.service.limits import Limits

CANNOT = (ValueError, OSError, WeightsError, VectorStoreError)  # what a person can mend


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", help="pictures to search; none: a drawn gallery")
    add("--encoder", action="append", metavar="NAME", help="as load_encoder takes it; may be repeated")
    add(
        "--index", metavar="PLACE", help="a folder, or as open_index takes it, with {}; default: in the cache"
    )
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    add("--writable", action="store_true", help="let clients send pictures in and take them out")
    add("--workers", type=int, default=min(4, os.cpu_count() or 1), help="searches side by side")
    add("--waiting", type=int, default=16, help="searches that may wait; more are sent away with 429")
    return parser.parse_args(arguments)


def collected(chosen: argparse.Namespace) -> Collection:
    if chosen.folder is None:
        return sources.demo(chosen.encoder or sources.DEMO_ENCODERS, chosen.index)
    return sources.of_folder(chosen.folder, chosen.encoder or sources.DEMO_ENCODERS[:1], chosen.index)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 after a stop, 2 for what a person can mend."""
    chosen = options(arguments)
    running.quiet()
    running.thrifty()
    torch.set_num_threads(1)  # the workers are what runs side by side
    try:
        limits = Limits(workers=chosen.workers, waiting=chosen.waiting)
        running.listening(chosen.host, chosen.port).close()  # a taken port is better known now
        collection = collected(chosen)
        sock = running.listening(chosen.host, chosen.port)
    except CANNOT as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for one in collection.left_out:
        print(f"left out: {one.reason}", file=sys.stderr)
    for pipeline in collection.pipelines.values():
        if pipeline.note:
            print(f"{pipeline.note}.", file=sys.stderr)
    app = create_app(collection, limits, writable=chosen.writable, hosts=running.names(chosen.host))
    watching.log_as_json()
    print(f"{collection.title}: search at {running.address(sock)} (Ctrl+C stops)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once all is finished
        running.server(app, limits).run([sock])
    return 0


if __name__ == "__main__":
    sys.exit(main())
