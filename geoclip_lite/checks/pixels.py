"""Checks of chapter 07, objects from pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import normalize

from geoclip_lite.checks.feedback import check, expect, near, returned, tensor, unit

_near = partial(near, tolerance=2e-5)


@check
def value_path(function: Callable) -> str:
    """`function(features, W_v, b_v, W_c, b_c)`: unit vectors of all places."""
    generator = torch.Generator().manual_seed(0)
    for images, channels, rows, columns, inner, dim in ((2, 5, 2, 3, 5, 4), (1, 3, 3, 2, 4, 6)):
        shapes = ((images, channels, rows, columns), (inner, channels), (inner,), (dim, inner), (dim,))
        features, w_v, b_v, w_c, b_c = (torch.randn(*shape, generator=generator) for shape in shapes)
        places = [features[:, :, r, c] for r in range(rows) for c in range(columns)]
        said = torch.stack([(place @ w_v.T + b_v) @ w_c.T + b_c for place in places], dim=1)
        shape = (images, rows * columns, dim)
        answer = tensor(function(features, w_v, b_v, w_c, b_c), shape, "pictures x places x dim")
        expect(not _near(answer, said), "The values are right, but not of length one: divide by their norms.")
        by_column = said.view(images, rows, columns, dim).transpose(1, 2).flatten(1, 2)
        expect(
            not _near(answer, normalize(by_column, dim=-1)),
            "The places run column by column; they should run row by row.",
        )
        without = normalize(said - b_c, dim=-1)
        expect(not _near(answer, without), "The last bias, b_c, is missing.")
        expect(_near(answer, normalize(said, dim=-1)), "The vectors differ from W_c (W_v f + b_v) + b_c.")
    return "Right. Every place speaks in the captions' space."


@check
def max_sim(function: Callable) -> str:
    """`function(phrases, windows)`: mean over phrases of the best window's cosine."""
    generator = torch.Generator().manual_seed(0)
    for n, pictures, windows in ((3, 5, 4), (1, 2, 6), (4, 3, 2)):
        phrases = unit(n, generator)
        shown = normalize(torch.randn(pictures, windows, 8, generator=generator), dim=-1)
        answer = tensor(function(phrases.clone(), shown.clone()), (pictures,), "one score per picture")
        cosines = torch.stack([shown[p] @ phrases.T for p in range(pictures)])
        wanted = torch.tensor([float(cosines[p].max(dim=0).values.mean()) for p in range(pictures)])
        other = cosines.amax(2).mean(1)
        expect(
            _near(other, wanted) or not _near(answer, other),
            "You let every window take its best phrase. It is the other way round.",
        )
        expect(n == 1 or not _near(answer, wanted * n), "Take the mean over phrases, not the sum.")
        expect(_near(answer, wanted), "The scores differ from the mean over phrases of the best cosine.")
    return "Right. That is the score of late interaction."


@check
def best_picture(function: Callable) -> str:
    """`function(bounds, exact)`: the best picture, with as few exact scores as possible."""
    generator = torch.Generator().manual_seed(0)
    for pictures in (1, 5, 12, 40):
        scores = torch.rand(pictures, generator=generator) - pictures / 10  # cosines may be negative
        bounds = (scores + 0.8 * torch.rand(pictures, generator=generator)).tolist()
        asked: list[int] = []

        def exact(i: int, scores: torch.Tensor = scores, asked: list[int] = asked) -> float:
            asked.append(int(i))
            return float(scores[i])

        answer = function(list(bounds), exact)
        wanted = int(scores.argmax())
        returned(answer)
        expect(
            int(answer) == wanted,
            f"{pictures} pictures: the best is number {wanted}, you return {int(answer)}.",
        )
        needed = [i for i in range(pictures) if bounds[i] > float(scores[wanted])]
        expect(len(asked) == len(set(asked)), "You asked for the score of one picture twice.")
        expect(
            len(asked) <= max(1, len(needed)),
            f"{pictures} pictures: {max(1, len(needed))} scores are enough, you asked for {len(asked)}. "
            "Go in the order of the bounds, highest first, and stop at the first bound that cannot win.",
        )
    return "Right, with no score too many."
