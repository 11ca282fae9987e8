"""What asking a model costs, known before it is asked; and its replies, kept: nothing is asked twice."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import ceil
from pathlib import Path

from geoclip_lite.files import write_atomically

CHARACTERS, PATCH, REPLY = 4, 28, 60  # letters a token, pixels a side of one of a picture, tokens a reply


class BudgetError(ValueError):
    """A run would cost more than was allowed. Nothing has been asked."""


class JudgeWarning(UserWarning):
    """A damaged reply on disk, or a model that gave no valid one."""


@dataclass(frozen=True)
class Cost:
    """Calls that a run takes besides those answered before, their tokens, and their price."""

    calls: int
    cached: int
    text: int
    pictures: int
    replies: int
    price: float

    def __str__(self) -> str:
        tokens = f"{self.text:,} tokens of text, {self.pictures:,} of pictures, {self.replies:,} of replies"
        return f"{self.calls:,} calls ({self.cached:,} answered before), {tokens}: {self.price:.2f}"


@dataclass(frozen=True)
class Budget:
    """What a run may take, `calls` and `price`, at prices of a million tokens `read` and `written`."""

    calls: int = 1000
    price: float = 1.0
    read: float = 0.0
    written: float = 0.0

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")

    def cost(self, prompts: Iterable[str], sizes: Iterable[tuple[int, int]], cached: int = 0) -> Cost:
        """What calls would take, by rules of thumb: a prompt and the size of a picture in pixels for each."""
        texts = [ceil(len(prompt) / CHARACTERS) for prompt in prompts]
        pictures = sum(ceil(width / PATCH) * ceil(height / PATCH) for width, height in sizes)
        replies = REPLY * len(texts)
        price = ((sum(texts) + pictures) * self.read + replies * self.written) / 1e6
        return Cost(len(texts), cached, sum(texts), pictures, replies, price)

    def check(self, cost: Cost) -> None:
        if cost.calls > self.calls or cost.price > self.price:
            least = f"Budget(calls={cost.calls}, price={cost.price:.2f})"
            raise BudgetError(f"budget: the run would take {cost}. To confirm it, pass {least} or more")


@dataclass(frozen=True)
class Entry:
    """A reply on disk, named by all that it depends on: a model, its prompt, the pixels of a picture."""

    model: str
    prompt: str
    picture: str

    def path(self, folder: Path) -> Path:
        key = sha256(json.dumps([self.model, self.prompt, self.picture]).encode()).hexdigest()
        return Path(folder) / key[:2] / f"{key}.json"

    def load(self, folder: Path) -> str | None:
        """The reply, or None; a damaged one counts as missing, with a warning."""
        path = self.path(folder)
        if not path.exists():
            return None
        with suppress(ValueError, LookupError, TypeError):
            reply = json.loads(path.read_bytes())["reply"]
            if path.read_bytes() == self._content(reply):
                return reply
        warnings.warn(f"{path} is damaged: the model is asked anew", JudgeWarning, stacklevel=2)
        return None

    def save(self, folder: Path, reply: str) -> None:
        write_atomically(self.path(folder), self._content(reply))

    def _content(self, reply: str) -> bytes:
        """The file, for people and with a checksum."""
        about = asdict(self) | {"reply": reply, "checksum": sha256(f"{self} {reply}".encode()).hexdigest()}
        return json.dumps(about, ensure_ascii=False, indent=1).encode()
