"""How a check answers: in words, never with an exception.

Each check runs the reader's function on seeded data, compares it with a reference, and looks for the
mistakes that people make here. It returns a `Feedback`, which a notebook shows; it never raises.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from geoclip_lite import course


@dataclass(frozen=True)
class Feedback:
    """What a check found, in words."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"


class Wrong(Exception):
    """Raised inside a check with the words for the reader."""


def expect(condition: object, message: str) -> None:
    """Ends the check with `message` unless the condition holds."""
    if not condition:
        raise Wrong(message)


def same(a: float, b: float) -> bool:
    """Equal up to rounding, in half precision too."""
    return abs(a - b) < 1e-3


def near(answer: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-4) -> bool:
    """Of one shape, and no entry further than the tolerance from the one that is wanted."""
    return answer.shape == wanted.shape and float((answer.double() - wanted.double()).abs().max()) < tolerance


def unit(n: int, generator: torch.Generator, dim: int = 8) -> torch.Tensor:
    """n random unit rows."""
    return normalize(torch.randn(n, dim, generator=generator), dim=1)


def returned(answer: object) -> None:
    """Ends the check if the answer is None, as that of a function without `return` is."""
    expect(answer is not None, "Your function returns nothing: did you forget `return`?")


def number(answer: object) -> float:
    """The answer as one number, or words on what it is instead."""
    returned(answer)
    shape = tuple(getattr(answer, "shape", ()))
    expect(shape in ((), (1,)), f"Return one number, not a tensor of shape {shape}.")
    return float(answer)


def tensor(answer: object, shape: tuple[int, ...], what: str) -> torch.Tensor:
    """The answer as a tensor of this shape, or words on what it is instead.

    Args:
        what: what to return, in words ("one number per image").
    """
    returned(answer)
    found = tuple(answer.shape) if hasattr(answer, "shape") else type(answer).__name__
    expect(found == shape, f"Return {what}: a tensor of shape {shape}, got {found}.")
    return torch.as_tensor(answer)


def check(body: Callable[[Callable], str]) -> Callable[[Callable], Feedback]:
    """Turns a function that praises or raises `Wrong` into a check that returns `Feedback`."""

    @functools.wraps(body)
    def checked(function: Callable) -> Feedback:
        try:
            return Feedback(True, body(function))
        except NotImplementedError as error:
            if str(error) != course.UNWRITTEN:  # torch raises it too
                return Feedback(False, _what_failed(error, function))
            return Feedback(
                False, "Not written yet: put your code in place of the `raise`, and run this again."
            )
        except Wrong as wrong:
            return Feedback(False, str(wrong))
        except Exception as error:  # the reader's own code failed: show them where
            return Feedback(False, _what_failed(error, function))

    return checked


def _what_failed(error: Exception, function: Callable) -> str:
    """The error, and the line of the reader's own code in which it happened."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if code and frame.filename == code.co_filename]
    where = f" in line {lines[-1]}" if lines else ""
    return f"Your function stopped{where} with {type(error).__name__}: {error}"
