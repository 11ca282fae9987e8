"""Elements of a long JSON array, one at a time: Visual Genome's objects would fill several GB at once.

The parser is the standard library's, which is written in C; here is only the window that moves over the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PIECE = 2**20  # characters read at once
LONGEST = 2**28  # characters in one element: beyond it, a file is damaged, not large
NEAR_THE_END = 16  # characters: what ends or fails so close to the end may have been cut: tru, \u00, 1e

BLANKS = re.compile(r"[ \t\n\r]*")

_decode = json.JSONDecoder().raw_decode


def elements(path: Path, key: str | None = None) -> Iterator[object]:
    """The elements of the array that is the file, or that stands under a key of the object that is the file.

    Raises:
        ValueError: no JSON, or no such array. What stands before the damage has been yielded by then.
    """
    with Path(path).open(encoding="utf-8-sig") as file:
        window = _Window(file)
        try:
            if key is not None:
                _seek(window, key)
            yield from _array(window)
            if key is None and window.next():
                raise ValueError("more follows after the end of the array")
        except (ValueError, RecursionError) as error:
            what = f"a JSON array under {key!r}" if key else "a JSON array"
            raise ValueError(
                f"{path} is damaged or not {what}: {error}, around character {window.place:,}: fetch it again"
            ) from error


def _seek(window: _Window, key: str) -> None:
    """Moves on to the value of a key of the outermost object."""
    window.take("{")
    while window.value() != key:
        window.take(":")
        window.value()
        window.take(",")
    window.take(":")


def _array(window: _Window) -> Iterator[object]:
    window.take("[")
    if window.next() == "]":
        window.take("]")
        return
    while True:
        element = window.value()
        ends = window.take(",]") == "]"  # before the element is handed out: a cut number looks whole
        yield element
        if ends:
            return


class _Window:
    """The part of a file that is in memory."""

    def __init__(self, file: TextIO):
        self.file, self.text, self.at, self.passed = file, "", 0, 0

    @property
    def place(self) -> int:
        """In the file, in characters."""
        return self.passed + self.at

    def next(self) -> str:
        """The next character that is no blank; "" at the end of the file."""
        while True:
            self.at = BLANKS.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, expected: str) -> str:
        """The next character that is no blank, which must be one of these."""
        found = self.next()
        if not found or found not in expected:
            raise ValueError(f"expected {' or '.join(expected)}, got {found!r}")
        self.at += 1
        return found

    def value(self) -> object:
        """The next value, however many pieces it takes."""
        self.next()
        while True:
            try:
                found, end = _decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if not self.may_go_on(error) or not self.more():
                    raise ValueError(error.msg) from error
                continue
            if end <= len(self.text) - NEAR_THE_END or not self.more():
                self.at = end
                return found

    def may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the text is right as far as it goes."""
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - NEAR_THE_END
        return cut and len(self.text) - self.at < LONGEST

    def more(self) -> bool:
        """Reads on; False at the end of the file. Twice as much each time, so a long value stays cheap."""
        piece = self.file.read(max(PIECE, len(self.text) - self.at))
        if piece:
            self.text, self.passed, self.at = self.text[self.at :] + piece, self.passed + self.at, 0
        return bool(piece)
