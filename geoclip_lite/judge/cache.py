"""Replies on disk: what a model was asked once, it is not asked again.

One JSON file a reply, named by all that the reply depends on: the model, every word of the prompt (so another
wording of the prompts never finds old replies), the pixels of the picture. The files can be read and searched
by people. Each carries a checksum, and one that is damaged counts as missing, with a warning.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from geoclip_lite.files import write_atomically


class JudgeWarning(UserWarning):
    """A damaged reply on disk, or a model that gave no valid one."""


@dataclass(frozen=True)
class Entry:
    """What a reply depends on.

    Args:
        model: its name.
        prompt: all that it was told.
        picture: names the pixels.
    """

    model: str
    prompt: str
    picture: str

    @property
    def key(self) -> str:
        """Names the entry: equal only if all three are."""
        return sha256(json.dumps([self.model, self.prompt, self.picture]).encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """Replies in a folder; several processes may share it."""

    folder: Path

    def read(self, entry: Entry) -> str | None:
        """The reply, or None."""
        path = self._path(entry)
        try:
            kept = json.loads(path.read_bytes())
            reply, checksum = kept["reply"], kept["checksum"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            reply = checksum = None
        if not isinstance(reply, str) or checksum != _checksum(entry, reply):
            warnings.warn(f"{path} is damaged: the model is asked anew", JudgeWarning, stacklevel=2)
            return None
        return reply

    def write(self, entry: Entry, reply: str) -> None:
        """Keeps a reply, whole or not at all."""
        about = {"model": entry.model, "prompt": entry.prompt, "picture": entry.picture}
        kept = about | {"reply": reply, "checksum": _checksum(entry, reply)}
        write_atomically(self._path(entry), json.dumps(kept, ensure_ascii=False, indent=1).encode())

    def _path(self, entry: Entry) -> Path:
        return Path(self.folder) / entry.key[:2] / f"{entry.key}.json"


def _checksum(entry: Entry, reply: str) -> str:
    return sha256(f"{entry.key} {reply}".encode()).hexdigest()
