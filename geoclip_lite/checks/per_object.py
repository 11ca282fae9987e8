"""Checks of chapter 03, per-object composition failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from geoclip_lite.checks.feedback import Wrong, check, expect, number, same, tensor
from geoclip_lite.composition import merge as reference_merge


def _towers(texts: Sequence[str]) -> torch.Tensor:
    """A stand-in for a text tower: a unit vector that depends on every letter of the text."""
    rows = [torch.randn(6, generator=torch.Generator().manual_seed(sum(map(ord, t)) * len(t))) for t in texts]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


@check
def encode_with_templates(function: Callable) -> str:
    """`function(encode, phrases, templates)`: unit vectors of phrases, averaged over templates."""
    phrases, templates = ["red star", "cube"], ["{}", "a photo of a {}", "one {}, drawn"]
    vectors = torch.stack([_towers([t.format(p) for p in phrases]) for t in templates])
    right = torch.nn.functional.normalize(vectors.mean(0), dim=1)
    answer = function(_towers, list(phrases), list(templates))
    answer = tensor(answer, tuple(right.shape), "a vector of 6 numbers for each of 2 phrases")
    expect(
        not torch.allclose(answer, _towers([templates[0].format(p) for p in phrases]), atol=1e-4),
        "You use the first template only.",
    )
    if torch.allclose(torch.nn.functional.normalize(answer, dim=1), right, atol=1e-4):
        expect(
            torch.allclose(answer, right, atol=1e-4),
            "The right direction. The mean of unit vectors is no unit vector: scale it to unit length again.",
        )
        return "Right. What the templates have in common stays, what each adds averages out."
    raise Wrong("Not the normalised mean over templates. Average over templates, not over phrases.")


@check
def merge(function: Callable) -> str:
    """`function(scores, temperature)`: softmin over objects, one score per image."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(3, 5, generator=generator)
    answer = tensor(function(scores.clone(), 0.1), (5,), "one score per image, of 3 objects and 5 images")
    right = reference_merge(scores, "softmin", 0.1)
    if torch.allclose(answer, right, atol=1e-4):
        cold = function(scores.clone(), 1e-4)
        expect(
            cold.isfinite().all(),
            "Right at 0.1, but not finite at 0.0001: exp() of large numbers. Use torch.logsumexp.",
        )
        return "Right. A cold softmin is the minimum, a hot one the average."
    expect(
        not torch.allclose(answer, right - 0.1 * torch.log(torch.tensor(3.0)), atol=1e-4),
        "You sum over the objects where the formula has a mean: a query of many objects would score lower.",
    )
    softmax = 0.1 * (torch.logsumexp(scores / 0.1, 0) - torch.log(torch.tensor(3.0)))
    expect(
        not torch.allclose(answer, softmax, atol=1e-4), "That is a soft maximum. Mind the two minus signs."
    )
    raise Wrong(f"For the first image expected {right[0]:.3f}, got {float(answer[0]):.3f}.")


@check
def at_least_one(function: Callable) -> str:
    """`function(slots)`: probability that at least one of so many fair coins shows heads."""
    one, many = number(function(1)), number(function(8))
    expect(one <= 1 and many <= 1, "A probability is at most 1: are you in percent?")
    expect(same(one, 0.5), f"One coin shows heads with probability 0.5; you return {one:g}.")
    expect(not same(many, 0.5**8), "That is the probability that *all* eight show heads.")
    expect(same(many, 1 - 0.5**8), f"For eight coins expected {1 - 0.5**8:.4f}, got {many:.4f}.")
    return "Right. With twenty slots, coins would degrade at least one in 999,999 of a million queries."
