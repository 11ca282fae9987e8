"""Checks of chapter 10: residual heads, several right answers, a clamp, and a bound."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from geoclip_lite.checks.feedback import check, expect, near, number, returned, tensor, unit


@check
def residual(function: Callable) -> str:
    """`function(vectors, head, alpha)`: x + alpha f(x), scaled back to unit rows."""
    generator = torch.Generator().manual_seed(0)
    for alpha in (0.2, 0.0, 1.5):
        vectors, weight = unit(5, generator), torch.randn(8, 8, generator=generator)

        def head(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
            return torch.relu(x @ weight) - 0.3

        answer = tensor(function(vectors.clone(), head, alpha), (5, 8), "one row per vector")
        moved = vectors + alpha * head(vectors)
        expect(not near(answer, moved) or alpha == 0, "Scale each row back to length 1.")
        expect(
            alpha == 0 or not near(answer, normalize(head(vectors), dim=1)),
            "That is the two-tower head: the vector itself is lost.",
        )
        blended = normalize((1 - alpha) * vectors + alpha * head(vectors), dim=1)
        expect(
            alpha == 0 or not near(answer, blended),
            "That blends, as CLIP-Adapter does: here the vector keeps its full weight.",
        )
        inner = normalize(vectors + alpha * normalize(head(vectors), dim=1), dim=1)
        expect(
            alpha == 0 or not near(answer, inner), "You scale f(x) first: that is the normalised residual."
        )
        expect(near(answer, normalize(moved, dim=1)), f"alpha {alpha:g}: the adapted rows differ.")
    return "Right. At alpha 0 it is the frozen encoder, and that is the whole trick."


@check
def shared_targets(function: Callable) -> str:
    """`function(pictures, titles)`: a row of shares per pair, over all pairs of the batch."""
    batches = [
        ([0, 1, 2, 3], ["a", "b", "a", "c"]),
        ([0, 0, 1, 2], ["a", "b", "c", "c"]),
        ([0, 1, 2], ["a", "a", "a"]),
        ([0, 1], ["a", "b"]),
    ]
    for pictures, titles in batches:
        n = len(titles)
        answer = tensor(function(list(pictures), list(titles)), (n, n), "one row per pair").double()
        same = torch.tensor(
            [[pictures[i] == pictures[j] or titles[i] == titles[j] for j in range(n)] for i in range(n)]
        ).double()
        text = torch.tensor([[a == b for b in titles] for a in titles]).double()
        wanted = same / same.sum(1, keepdim=True)
        repeats = bool((same.sum(1) > 1).any())
        expect(
            not repeats or not near(answer, torch.eye(n).double()),
            "That is the plain target. Pairs with one title, or one picture, are right for each other.",
        )
        expect(not repeats or not near(answer, same), "Every row must sum to 1: share the target out.")
        only_text = text / text.sum(1, keepdim=True)
        expect(
            near(only_text, wanted) or not near(answer, only_text),
            "Equal pictures count too: one picture may come with two titles.",
        )
        expect(near(answer, wanted), f"Pictures {pictures} with titles {titles}: the shares differ.")
    return "Right. Nothing that is right is pushed away any more."


@check
def clamped_scale(function: Callable) -> str:
    """`function(scale)`: the factor and its gradient with respect to the learned logarithm."""
    top = math.log(100)
    for scale in (0.0, 2.5, top - 1e-3, top + 0.01, 7.0):
        answer = function(scale)
        returned(answer)
        expect(
            isinstance(answer, tuple) and len(answer) == 2,
            "Return two numbers: the factor, and its gradient.",
        )
        factor, gradient = (number(value) for value in answer)
        expect(
            abs(factor - math.exp(min(scale, top))) < 1e-3 * max(1, factor),
            f"log scale {scale:.2f}: the factor is exp of it, and at most 100.",
        )
        expect(
            scale <= top or gradient != math.exp(scale),
            "Above the clamp the factor no longer changes with the parameter: what is its slope there?",
        )
        wanted = math.exp(scale) if scale <= top else 0.0
        expect(
            abs(gradient - wanted) < 1e-3 * max(1, wanted),
            f"log scale {scale:.2f}: the slope is {wanted:.2f}, got {gradient:.2f}.",
        )
    return "Right. Beyond the clamp nothing pulls the temperature back: do not start there."


@check
def least_cosine(function: Callable) -> str:
    """`function(alpha)`: how small the cosine of x with x + alpha u can become, u any unit vector."""
    for alpha in (0.0, 0.3, 0.5, 0.9, 0.999):
        answer, wanted = number(function(alpha)), math.sqrt(1 - alpha**2)
        square = 1 / math.sqrt(1 + alpha**2)
        expect(
            alpha == 0 or abs(answer - square) > 1e-4,
            "That is a step at a right angle to x. A step that leans backwards turns the vector further.",
        )
        expect(
            alpha == 0 or abs(answer - (1 - alpha)) > 1e-4,
            "1 - alpha is how short the vector can become, not how far it can turn.",
        )
        expect(alpha == 0 or abs(answer - 1) > 1e-4, "A step along x does not turn it at all.")
        expect(
            abs(answer - wanted) < 1e-4, f"alpha {alpha:g}: {wanted:.4f} can be reached, got {answer:.4f}."
        )
    for alpha in (1.5, 2.0):
        answer = number(function(alpha))
        expect(
            abs(answer + 1) < 1e-4,
            f"alpha {alpha:g}: a step longer than x can take it to its opposite. What is the cosine there?",
        )
    return "Right. Below 1, alpha bounds the angle by its arc sine; above, it bounds nothing."
