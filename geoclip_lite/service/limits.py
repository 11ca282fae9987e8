"""How much a stranger may ask for, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from geoclip_lite.images import FORMATS

MOST_RESULTS = 50
MOST_PHRASES = 24  # of a query: beyond the windows of a picture, phrases would only stay alone
MOST_CAPTION = 1000  # characters
MOST_PIXELS = 40_000_000  # of a picture, once unpacked: 120 MB
MOST_PUSH = 4.0  # lengths of the query

MEDIA = (  # what clients call a picture; what it is, its content says
    *(f"image/{name.lower()}" for name in FORMATS),
    *("image/jpg", "image/pjpeg", "image/x-ms-bmp", "application/octet-stream"),
)


@dataclass(frozen=True)
class Limits:
    """What the service takes on at a time.

    Args:
        workers: searches that run side by side.
        waiting: searches that wait for a worker; who comes later is sent away with 429.
        seconds: for an answer, waiting included.
        head_seconds, body_seconds: for a request to arrive.
        text_bytes, picture_bytes: of a body.
        held_bytes: of all bodies that have arrived or are arriving.
        connections: open at a time.
        stop_seconds: to finish what was accepted when told to stop.
    """

    workers: int = 2
    waiting: int = 16
    seconds: float = 10.0
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    text_bytes: int = 32_000
    picture_bytes: int = 10_000_000
    held_bytes: int = 100_000_000
    connections: int = 500
    stop_seconds: int = 30

    def __post_init__(self):
        for name in ("workers", "waiting", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.stop_seconds <= self.seconds:
            raise ValueError(
                f"stop_seconds must be above seconds, {self.seconds:g}, got {self.stop_seconds:g}: "
                "what was accepted could be cut off"
            )
