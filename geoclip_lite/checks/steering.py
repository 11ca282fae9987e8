"""Checks of chapters 08 and 09: steering one query, and one object of several."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from geoclip_lite.checks.feedback import check, expect, near, number, returned, tensor, unit


@check
def push(function: Callable) -> str:
    """`function(queries, directions, strengths)`: unit rows."""
    generator = torch.Generator().manual_seed(0)
    for n in (5, 1):
        queries, directions = unit(n, generator), unit(n, generator)
        strengths = torch.linspace(0.2, 2.0, n)
        answer = function(queries.clone(), directions.clone(), strengths.clone())
        answer = tensor(answer, (n, 8), "one row per query")
        moved = queries + strengths[:, None] * directions
        expect(not near(answer, moved), "Scale each row back to length 1.")
        expect(
            n == 1 or not near(answer, moved / moved.norm()),
            "You divide by the length of the whole matrix: each row has a length of its own.",
        )
        blended = normalize((1 - strengths[:, None]) * queries + strengths[:, None] * directions, dim=1)
        expect(not near(answer, blended), "That blends: the query itself keeps its full weight.")
        away = normalize(queries - strengths[:, None] * directions, dim=1)
        expect(not near(answer, away), "You push backwards: a strength above 0 leads towards the target.")
        expect(near(answer, normalize(moved, dim=1)), f"{n} queries: the steered rows differ.")
    return "Right. One line, and chapter 8 is about what else it moves."


def _two_lines(generator: torch.Generator, forward: bool) -> tuple[torch.Tensor, ...]:
    """Query, direction, a picture ahead, and one that gains on it (or falls behind)."""
    while True:
        query, direction, a, b = unit(4, generator)
        ahead, faster = float(query @ (a - b)), float(direction @ (b - a))
        if ahead > 0.05 and (faster > 0.05 if forward else faster < -0.05):
            return query, direction, a, b


@check
def tipping_point(function: Callable) -> str:
    """`function(query, direction, a, b)`: where two straight lines cross."""
    generator = torch.Generator().manual_seed(1)
    a = unit(1, generator)[0]
    level = (normalize(a + 0.1, dim=0), torch.eye(8)[0], a, torch.cat([a[:1], -a[1:]]))
    cases = [_two_lines(generator, forward) for forward in (True, False, True)]
    for query, direction, a, b in (*cases, level):
        answer = number(function(query.clone(), direction.clone(), a.clone(), b.clone()))
        ahead, faster = float(query @ (a - b)), float(direction @ (b - a))
        if faster <= 0:
            expect(
                answer == math.inf,
                "Here b does not gain on a as the strength grows: no push can do it, so return infinity.",
            )
            continue
        wanted = ahead / faster
        expect(abs(answer + wanted) > 1e-3, "The sign is wrong: b has to make up for what a is ahead by.")
        expect(abs(answer - 1 / wanted) > 1e-3, "Upside down: lead divided by how much faster b rises.")
        expect(
            abs(answer - wanted) < 1e-3 * max(1, wanted),
            f"At strength {answer:.3f} the scores are not level; they are at {wanted:.3f}.",
        )
    return "Right. Two lines cross once."


@check
def without(function: Callable) -> str:
    """`function(direction, others)`: the unit vector orthogonal to all others."""
    generator = torch.Generator().manual_seed(2)
    for n in (3, 1, 5):
        direction, others = unit(1, generator)[0], unit(n, generator)
        answer = tensor(function(direction.clone(), others.clone()), (8,), "one vector of 8 numbers")
        once = direction - (others @ direction) @ others
        step = direction.clone()
        for other in others:
            step = step - (step @ other) * other
        for wrong, words in ((once, "all projections at once"), (step, "one projection after the other")):
            expect(
                n == 1 or not near(normalize(answer, dim=0), normalize(wrong, dim=0)),
                f"You subtract {words}: right only if the others are orthogonal to each other. "
                "Find an orthonormal basis of their span first.",
            )
        most = float((others @ answer).abs().max())
        expect(most < 1e-4, f"Your vector still has a component of {most:.3f} along one of the others.")
        basis = torch.linalg.qr(others.T).Q
        left = direction - basis @ (basis.T @ direction)
        expect(not near(answer, left), "Scale the result to length 1.")
        expect(near(answer, left / left.norm()), "It is orthogonal, but not what is left of the direction.")
    return "Right. What is left points nowhere near the others."


# --- chapter 09 -----------------------------------------------------------------------------------


@check
def steer_then_merge(function: Callable) -> str:
    """`function(objects, which, direction, strength)`: one object steered, all averaged."""
    generator = torch.Generator().manual_seed(3)
    for n, which, strength in ((3, 1, 0.7), (2, 0, 0.4), (5, 4, 1.5)):
        objects, direction = unit(n, generator), unit(1, generator)[0]
        given = objects.clone()
        answer = function(given, which, direction.clone(), strength)
        expect(torch.equal(given, objects), "You changed `objects` itself: work on a copy.")
        answer = tensor(answer, (8,), "one vector of 8 numbers")
        rough, moved = objects.clone(), objects.clone()
        rough[which] += strength * direction
        moved[which] = normalize(rough[which], dim=0)
        everything = normalize(objects + strength * direction, dim=1)
        expect(not near(answer, moved.mean(0)), "Scale the average to length 1.")
        expect(
            not near(answer, normalize(rough.mean(0), dim=0)),
            "Scale the steered row back to length 1 before averaging: else it counts for more than others.",
        )
        expect(not near(answer, normalize(everything.mean(0), dim=0)), "You steered every object.")
        expect(near(answer, normalize(moved.mean(0), dim=0)), f"{n} objects, which = {which}: it differs.")
    return "Right. And the average has forgotten which one it was."


@check
def mispaired(function: Callable) -> str:
    """`function(wanted, shown, pairs)`: (number of the wanted object, slot) of mispaired slots."""
    cube, ball = {"shape": "cube", "colour": "red"}, {"shape": "ball", "colour": "blue"}
    swapped = [cube | {"colour": "blue"}, ball | {"colour": "red"}]
    cases = (
        ([cube, ball], [cube, ball], [(0, 0), (1, 1)], []),
        ([cube, ball], swapped, [(0, 0), (1, 1)], [(0, "colour"), (1, "colour")]),
        ([cube, ball], [cube | {"colour": "green"}, ball], [(0, 0), (1, 1)], []),
        ([ball, cube], [cube, ball | {"colour": "red"}], [(0, 1), (1, 0)], []),
        ([cube], [cube | {"colour": "blue"}, ball, ball | {"colour": "red"}], [(0, 0)], [(0, "colour")]),
        ([cube, ball], swapped, [(1, 1), (0, 0)], [(0, "colour"), (1, "colour")]),
        ([cube, cube], [cube, ball], [(0, 0), (1, 1)], [(1, "colour"), (1, "shape")]),
    )
    for wanted, shown, pairs, expected in cases:
        answer = function([dict(o) for o in wanted], [dict(o) for o in shown], list(pairs))
        returned(answer)
        expect(isinstance(answer, list), f"Return a list of (i, slot), got {type(answer).__name__}.")
        differs = [(i, s) for i, j in pairs for s in wanted[i] if wanted[i][s] != shown[j][s]]
        expect(
            sorted(differs) == sorted(expected) or sorted(answer) != sorted(differs),
            "You count missing values too: the wanted value must stand on another shown object.",
        )
        expect(
            sorted(answer) == sorted(expected),
            f"wanted {wanted}, shown {shown}, pairs {pairs}: expected {expected}, got {answer}.",
        )
    return "Right. Now ask how many a random picture has."


@check
def random_step(function: Callable) -> str:
    """`function(before, after, noise)`: as far from before as after is, towards the noise."""
    generator = torch.Generator().manual_seed(4)
    for dim in (3, 8, 32):
        before, after, noise = unit(3, generator, dim)
        noise = 5 * noise
        answer = function(before.clone(), after.clone(), noise.clone())
        answer = tensor(answer, (dim,), f"one vector of {dim} numbers")
        expect(abs(float(answer.norm()) - 1) < 1e-4, "The result must have length 1.")
        cosine, wanted = float(before @ answer), float(before @ after)
        expect(
            abs(cosine - wanted) < 1e-4,
            f"Its cosine with before is {cosine:.3f}; after's is {wanted:.3f}. Take from the noise what lies "
            "along before, then mix: cosine times before, sine times the rest.",
        )
        aside = normalize(noise - (noise @ before) * before, dim=0)
        expect(float(aside @ answer) >= -1e-4, "It goes against the noise: the sine is positive.")
        right = wanted * before + (1 - wanted**2) ** 0.5 * aside
        expect(near(answer, right), "As far as it should be, but not in the direction of the noise.")
    return "Right. A change means something only beside this one."
