"""A search page over a folder of pictures, or over drawn scenes.

    python -m geoclip_lite.service
    python -m geoclip_lite.service photos --encoder ViT-B-32-quickgelu/openai

Without a folder it draws a gallery first (half a minute, kept in the cache). Without --encoder it takes a
mini, which knows drawn scenes only: for photographs name another one. Files that cannot be read are left out
and named on stderr. On the open internet, put a reverse proxy in front (see README).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", help="pictures to search; none: a drawn gallery")
    add(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME",
        help="as load_encoder takes it; may be repeated",
    )
    add("--index", metavar="PLACE", help="a folder, or as open_index takes it; default: in the cache")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    add("--name", action="append", default=[], help="a host name under which it is reached; may be repeated")
    add("--writable", action="store_true", help="let clients send pictures in and take them out")
    add("--workers", type=int, default=min(4, os.cpu_count() or 1), help="searches side by side")
    add("--waiting", type=int, default=16, help="searches that may wait; more are sent away with 429")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 after a stop, 2 for what a person can mend."""
    chosen = options(arguments)
    import torch  # this and what follows takes seconds: not for --help

    from geoclip_lite.encoders import TextWarning, WeightsError
    from geoclip_lite.index import VectorStoreError
    from geoclip_lite.service import running
    from geoclip_lite.service.app import create_app
    from geoclip_lite.service.collection import open_collection
    from geoclip_lite.service.guard import LOOPBACK, Limits

    torch.set_num_threads(1)  # the workers are what runs side by side
    warnings.simplefilter("ignore", TextWarning)  # clients are told, and words of theirs are not logged
    try:
        limits = Limits(workers=chosen.workers, waiting=chosen.waiting)
        running.listening(chosen.host, chosen.port).close()  # a taken port is better known now
        collection = open_collection(chosen.folder, chosen.encoder, chosen.index)
        sock = running.listening(chosen.host, chosen.port)
    except (ValueError, OSError, WeightsError, VectorStoreError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for line in (*collection.notes, *(f"left out: {reason}" for reason in collection.left_out.values())):
        print(line, file=sys.stderr)
    if removed := sum(not stamp for stamp in collection.written.stamps().values()):
        print(f"{removed:,} pictures stay out: clients have taken them out", file=sys.stderr)
    names = (*LOOPBACK, chosen.host, socket.gethostname(), *chosen.name)
    names = tuple(name.lower() for name in names)
    readers = names if chosen.host in LOOPBACK else ()
    app = create_app(collection, limits, writable=chosen.writable, readers=readers, writers=names)
    running.log_as_json()
    print(f"{collection.folder.name}: search at {running.address(sock)} (Ctrl+C stops)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once all is finished
        running.server(app).run([sock])
    return 0


if __name__ == "__main__":
    sys.exit(main())
