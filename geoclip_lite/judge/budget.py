"""What asking a model costs, known before it is asked.

The rules of thumb: a token of text is four characters (English, byte-pair vocabularies); a picture has one
token for every 28 x 28 pixels, sides rounded up (Qwen2.5-VL; others count otherwise); a reply that keeps to
its one sentence has 60. A second attempt at a bad reply is not foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

CHARACTERS = 4  # a token of text
PATCH = 28  # pixels on either side of a token of a picture
REPLY = 60  # tokens


class BudgetError(ValueError):
    """A run would cost more than was allowed. Nothing has been asked."""


@dataclass(frozen=True)
class Cost:
    """What a run would take.

    Args:
        calls: questions that have to be asked; each is one call.
        cached: questions that were answered before.
        text, pictures, replies: tokens of the calls.
        price: of the calls, in the currency of the budget.
    """

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
    """The prices of a model, and what a run may cost. To confirm a dearer run, give a larger one.

    Args:
        calls: at most.
        price: at most, in the currency of the two prices.
        read: price of a million tokens of text or pictures.
        written: price of a million tokens of replies.

    Raises:
        ValueError: one of them is below 0 or no number.
    """

    calls: int = 1000
    price: float = 1.0
    read: float = 0.0
    written: float = 0.0

    def __post_init__(self):
        for name in ("calls", "price", "read", "written"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def cost(self, prompts: Iterable[str], sizes: Iterable[tuple[int, int]], cached: int = 0) -> Cost:
        """What these calls would take: for each a prompt and the size of a picture in pixels."""
        texts = [ceil(len(prompt) / CHARACTERS) for prompt in prompts]
        text = sum(texts)
        pictures = sum(ceil(width / PATCH) * ceil(height / PATCH) for width, height in sizes)
        replies = REPLY * len(texts)
        price = ((text + pictures) * self.read + replies * self.written) / 1e6
        return Cost(len(texts), cached, text, pictures, replies, price)

    def check(self, cost: Cost) -> None:
        """Refuses what goes beyond.

        Raises:
            BudgetError: more calls or a higher price than allowed.
        """
        if cost.calls > self.calls or cost.price > self.price:
            raise BudgetError(
                f"budget: the run would take {cost}; allowed are {self.calls:,} calls and {self.price:.2f}. "
                f"To confirm it, pass a Budget with at least calls={cost.calls} and price={cost.price:.2f}"
            )
