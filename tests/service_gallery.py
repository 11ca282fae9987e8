"""A folder of drawn scenes for the tests of the service, and a server for it within the process."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager

from geoclip_lite.datasets import shapes
from geoclip_lite.service import running
from geoclip_lite.service.app import create_app
from geoclip_lite.service.collection import open_collection

SCENES = shapes.evaluation_scenes()[:60]


def draw(folder, scenes=SCENES, side=96):
    """Scenes as captioned files, 00.png and so on; returns the folder."""
    folder.mkdir(parents=True)
    for number, scene in enumerate(scenes):
        scene.image(side).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(scene.caption)
    return folder


def drawn_collection(folder, scenes=SCENES, encoders=("mini-pairs",), place=None):
    """A collection over drawn scenes."""
    return open_collection(draw(folder / "pictures", scenes), encoders, place or str(folder / "index"))


def encoded(picture, kind="PNG"):
    """A picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


@contextmanager
def served(collection, limits=None, **options):
    """The address of a collection on a free port. It is stopped as a signal would."""
    sock = running.listening("127.0.0.1", 0)
    server = running.server(create_app(collection, limits, **options))
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield running.address(sock)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def wait_for(condition, seconds=30):
    """Until it comes true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.01)
