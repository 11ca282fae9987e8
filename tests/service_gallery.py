"""A small collection of drawn scenes for the tests of the service, and a server for it within the process."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from functools import partial

from geoclip_lite.datasets import shapes
from geoclip_lite.service import running, sources
from geoclip_lite.service.app import create_app
from geoclip_lite.service.collection import Collection, Entry
from geoclip_lite.service.limits import Limits

SCENES = shapes.evaluation_scenes()[:60]
STAMP = "drawn"


def drawn_collection(folder, scenes=SCENES, encoders=("mini-pairs",)):
    """Scenes under encoders, centred as the demo is."""
    place = str(folder)
    pipelines = sources.opened(encoders, place, centred=True)
    examples = sources.captions(scenes)
    made = Collection("Shapes", pipelines, sources.shelf_of(place, "tests"), examples)
    made.sync([Entry(s.image_id, s.caption, partial(s.image, 96), STAMP) for s in scenes])
    return made


def encoded(picture, kind="PNG"):
    """A picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


@contextmanager
def served(collection, limits=None, **options):
    """The address of a collection on a free port. It is stopped as a signal would."""
    limits = limits or Limits()
    sock = running.listening("127.0.0.1", 0)
    server = running.server(create_app(collection, limits, **options), limits)
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
