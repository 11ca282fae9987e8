"""How much of a text an encoder does not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

Tokenizer = Callable[..., Int[Tensor, "texts length"]]  # of (texts, context_length=its own)


@dataclass(frozen=True)
class Truncation:
    """How much of some texts an encoder does not read.

    Args:
        room: how many tokens it reads of each, special ones included.
        lost: tokens of each text beyond that; 0: it is read whole. Special ones cannot get lost.
    """

    room: int
    lost: tuple[int, ...]

    @property
    def cut(self) -> int:
        """How many texts are cut."""
        return sum(map(bool, self.lost))

    def __str__(self) -> str:
        said = f"{self.cut} of {len(self.lost)} texts cut to {self.room} tokens"
        return f"{said}, by {sum(self.lost) / self.cut:.0f} on average" if self.cut else said


def truncation(tokenizer: Tokenizer, texts: list[str], tokens: Int[Tensor, "texts length"]) -> Truncation:
    """What these tokens leave out of the texts. One that reads differently with room for one more was cut."""
    room = tokens.shape[1]
    cut = (tokenizer(texts, context_length=room + 1)[:, :room] != tokens).any(dim=1).tolist()
    rows = zip(texts, tokens, cut, strict=True)
    return Truncation(room, tuple(_lost(tokenizer, text, row) if is_cut else 0 for text, row, is_cut in rows))


def _lost(tokenizer: Tokenizer, text: str, row: Int[Tensor, " length"]) -> int:
    """How many more tokens a text has when there is room for all: each stands for at least one byte."""
    whole = tokenizer([text], context_length=len(row) + len(text.encode()))[0]
    padding = whole[-2]  # the last one is a class token for some
    return int((whole != padding).sum() - (row != padding).sum())
