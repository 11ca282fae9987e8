"""What a search found, and why: pictures, the places where phrases were matched, and words for both.

Answer    the results of a query
Result    a picture, its scores, its matches
Match     a phrase and the window that it took
place     a box in words
assigned  which window each phrase takes when no window is taken twice
focused   where in between the windows a phrase fits best
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geoclip_lite.encoders.squares import Fit, square_size
from geoclip_lite.images import rgb

A_PICTURE = "a picture"  # what an answer calls a query without words
SHARPNESS = 2.0  # of a focus, per standard deviation of a phrase's cosines; chosen on validation scenes

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the square looked at


@dataclass(frozen=True)
class Match:
    """A phrase of the query, and where it was found.

    Args:
        cosine: of the phrase with the window, centred where the pipeline is.
        box: of the window.
        focus: the box, moved to where the phrase fits best between the windows; to be shown, not scored.
    """

    phrase: str
    cosine: float
    box: Box
    focus: Box


@dataclass(frozen=True)
class Result:
    """A picture and why it is where it is.

    Args:
        score: what results are ordered by.
        cosine: of the whole query, pushed where it was, with the whole picture: the first stage's score.
        first_rank: its place in the first stage, from 1.
        matches: one a phrase of the query; none where a picture was asked for.
        fields: as they were given to `add`.
        fit: how the encoder made the picture square.
    """

    id: str
    score: float
    cosine: float
    first_rank: int
    matches: tuple[Match, ...]
    fields: Mapping[str, object]
    fit: Fit = "shortest"

    def explain(self) -> str:
        """In words."""
        found = "; ".join(f"'{m.phrase}' {m.cosine:.2f} {place(m.box)}" for m in self.matches)
        said = f"{self.id}: {self.score:.3f}, number {self.first_rank} by the plain cosine. {found}"
        return said.rstrip()

    def draw(
        self, picture: Image.Image, colours: Sequence[str] = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
    ):
        """A copy of the picture with a frame around every match."""
        shown = rgb(picture).copy()
        (width, height), pen = square_size(*shown.size, self.fit), ImageDraw.Draw(shown)
        left, top = (shown.width - width) / 2, (shown.height - height) / 2
        for i, match in enumerate(self.matches):
            x0, y0, x1, y1 = match.box
            frame = (left + x0 * width, top + y0 * height, left + x1 * width - 1, top + y1 * height - 1)
            pen.rectangle(frame, outline=colours[i % len(colours)], width=max(1, min(width, height) // 64))
        return shown


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Args:
        query: as it was typed, or A_PICTURE.
        phrases: what the query was read as.
        results: best first.
        seconds: of every stage, by name.
    """

    query: str
    phrases: tuple[str, ...]
    results: tuple[Result, ...]
    seconds: Mapping[str, float]


def place(box: Box) -> str:
    """A box in words."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column = "left" if x < 0.4 else "right" if x > 0.6 else "middle"
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else "middle"
    return (
        "in the middle" if row == column else f"{row} {column}".replace("middle ", "").replace(" middle", "")
    )


def assigned(cosines: Float[Tensor, "phrases windows"]) -> Int[Tensor, " phrases"]:
    """The window of each phrase when no window is taken twice; -1 where none is left."""
    taken = torch.full((len(cosines),), -1)
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    taken[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return taken


def focused(
    boxes: Float[Tensor, "windows 4"],
    cosines: Float[Tensor, "phrases windows"],
    taken: Int[Tensor, " phrases"],
) -> Float[Tensor, "phrases 4"]:
    """The mean of a window and of those that share at least a third of its sides, by how well they fit.

    Windows lie on a coarse grid and see beyond their edges; objects lie where they like.
    """
    own = boxes[taken]
    reach = (own[:, 2:] - own[:, :2]) * 2 / 3 + 1e-6
    near = ((boxes[:, :2] - own[:, None, :2]).abs() <= reach[:, None]).all(-1)
    sharpness = SHARPNESS / cosines.std(1, correction=0, keepdim=True).clamp(min=1e-6)
    weights = (cosines * sharpness).masked_fill(~near, -torch.inf).softmax(1)
    return (weights @ boxes).clamp(0, 1)
