"""Regions: parts of a picture with a vector each, from the picture alone.

value_regions  windows over an encoder's value map: one pass per picture
suited_cut     which windows suit an encoder
crops          windows cut out and encoded as pictures: works with every encoder, at a pass per window
Centring       takes off what all phrases, and what all regions, have in common
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from geoclip_lite.encoders.base import DualEncoder, at_once
from geoclip_lite.encoders.mini import MiniClip, to_input, to_pixels
from geoclip_lite.images import rgb
from geoclip_lite.inputs import check_images
from geoclip_lite.regions.towers import NoTokensError, refinements, value_map
from geoclip_lite.retrieval import unit_rows
from geoclip_lite.transport import PointSets
from geoclip_lite.transport.shortlists import PATIENCE

WINDOW = 3 / 8  # of the picture's side: 3 x 3 of 8 x 8 cells were chosen on validation scenes
COARSEST, FINEST = 7, 8  # cells a side of the map that windows lie on, where the tower can have so many
NUMBERS = 2**15  # of all windows of a picture together: they are one row of an index

Boxes = Float[Tensor, "regions 4"]


@dataclass(frozen=True)
class Regions:
    """The same regions of every picture, a unit vector each.

    Args:
        vectors: unit rows.
        boxes: left, top, right and bottom of each region, as fractions of the square that was looked at (the
            middle of the picture, or all of it squeezed, as the preprocessing has it).

    Raises:
        ValueError: if the two do not fit.
    """

    vectors: Float[Tensor, "images regions dim"]
    boxes: Boxes

    def __post_init__(self):
        if self.vectors.ndim != 3 or self.vectors.shape[1] != len(self.boxes) or not self.vectors.numel():
            shapes = f"{tuple(self.vectors.shape)} and {tuple(self.boxes.shape)}"
            raise ValueError(f"vectors must be images x regions x dim with a box per region, got {shapes}")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def centres(self) -> Float[Tensor, "regions 2"]:
        """x and y of each region's middle."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def of(self, images: Sequence[int] | Int[Tensor, " some"]) -> Regions:
        """Those of some pictures."""
        return replace(self, vectors=self.vectors[torch.as_tensor(images)])


# --- from the value map ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """How pictures are cut into windows; `value_regions(encoder, images, **vars(cut))` does it."""

    refine: int
    window: int
    side: int | None = None

    def __str__(self) -> str:
        return f"windows {self.window} at {self.refine}" + (f", pooled to {self.side}" if self.side else "")


@torch.inference_mode()
def suited_cut(encoder: DualEncoder) -> Cut:
    """The cut for an encoder: windows of 3/8 of the picture's side, as many as fit into a row of an index.

    The map is as fine as that of a mini, 7 or 8 cells a side: a coarser one is refined if the tower can do
    that, a finer one pooled. Where vectors are long, fewer cells leave room for all windows.

    Raises:
        NoTokensError: an encoder without a value path.
    """
    tower = vision_tower(encoder)
    pixels = to_tensor(encoder, [Image.new("RGB", (encoder.image_size,) * 2)])
    for refine in refinements(tower):
        cells = value_map(tower, pixels, refine).shape[2:]
        if min(cells) >= COARSEST:
            break
    windows = {side: max(1, round(WINDOW * side)) for side in range(min(*cells, FINEST), 0, -1)}
    fitting = (s for s, window in windows.items() if (s - window + 1) ** 2 * encoder.dim <= NUMBERS)
    side = next(fitting, 1)
    return Cut(refine, windows[side], None if cells == (side, side) else side)


@torch.inference_mode()
def value_regions(
    encoder: DualEncoder,
    images: Sequence[Image.Image],
    *,
    refine: int = 1,
    window: int = 1,
    side: int | None = None,
    batch: int | None = None,
    progress: bool = True,
) -> Regions:
    """Windows of `window` x `window` cells of the value map, one starting at every cell.

    A window's vector points along the mean of its cells' values. Windows overlap; window = 1 gives the cells.

    Args:
        encoder: a mini or an open_clip model (also within a store, which does not keep maps).
        images: of any sizes; the encoder's own preprocessing makes them square.
        refine: see `value_map`.
        window: cells a side.
        side: cells a side that the map is pooled to, each over all cells that it touches; None leaves it.
        batch: pictures at a time; None: as many as memory has room for, see `at_once`.
        progress: whether work of more than a few seconds shows a bar.

    Raises:
        NoTokensError: an encoder without a value path; the message says which have one.
        ValueError: no images, a window larger than the map, a map smaller than `side`, a `refine` that the
            encoder cannot do.
    """
    images = _some(images)
    tower, parts, batch = vision_tower(encoder), [], batch or at_once(encoder.image_size)
    for start in _bar(range(0, len(images), batch), encoder.name, progress):
        cells = value_map(tower, to_tensor(encoder, images[start : start + batch]), refine).float()
        _check_cut(window, side, cells)
        cells = F.adaptive_avg_pool2d(cells, side) if side else cells
        parts.append(F.normalize(F.avg_pool2d(cells, window, stride=1).flatten(2).mT, dim=-1).cpu())
    return Regions(torch.cat(parts), window_boxes(*cells.shape[2:], window))


def vision_tower(encoder: DualEncoder) -> nn.Module:
    """The image tower of an encoder, also of one within a store.

    Raises:
        NoTokensError: an encoder that is no open_clip model.
    """
    encoder = getattr(encoder, "encoder", encoder)
    if not hasattr(encoder, "model"):
        raise NoTokensError(f"{encoder.name} is no open_clip model and has no value map; use regions.crops")
    return encoder.model.visual


def to_tensor(encoder: DualEncoder, images: Sequence[Image.Image]) -> Float[Tensor, "images 3 size size"]:
    """The pictures as the encoder's image tower takes them, on its device."""
    encoder = getattr(encoder, "encoder", encoder)
    if isinstance(encoder, MiniClip):
        return to_input(to_pixels(images).to(encoder.device))
    return torch.stack([encoder.preprocess(image) for image in images]).to(encoder.device)


def window_boxes(rows: int, columns: int, window: int) -> Boxes:
    """Where the windows lie that start at every cell of a grid, row by row."""
    top, left = torch.meshgrid(
        torch.arange(rows - window + 1), torch.arange(columns - window + 1), indexing="ij"
    )
    size = torch.tensor([columns, rows, columns, rows])
    return torch.stack([left, top, left + window, top + window], dim=-1).flatten(0, 1) / size


# --- crops ----------------------------------------------------------------------------------------


def crops(
    encoder: DualEncoder,
    images: Sequence[Image.Image],
    *,
    scales: Sequence[int] = (2, 3),
    batch: int = 128,
    progress: bool = True,
) -> Regions:
    """Windows of several sizes, each cut out and encoded like a picture of its own.

    At scale s a window is 1/s of the picture's side, and windows start every half window: (2s - 1)^2 of them.

    Args:
        encoder: any.
        images: of any sizes; the middle square is used.
        scales: whole numbers of at least 1; 1 is the whole picture.
        batch: pictures at a time.
        progress: see `value_regions`.

    Raises:
        ValueError: no images, no scales, or a scale below 1.
    """
    images = _some(images)
    if not scales or any(scale < 1 or scale != int(scale) for scale in scales):
        raise ValueError(f"scales must be whole numbers of at least 1, got {list(scales)}")
    boxes = torch.cat([window_boxes(2 * s, 2 * s, 2) for s in scales])
    parts = []
    for start in _bar(range(0, len(images), batch), encoder.name, progress):
        pictures = map(rgb, images[start : start + batch])
        squares = [ImageOps.fit(picture, (min(picture.size),) * 2) for picture in pictures]
        cut = [_crop(square, box) for square in squares for box in boxes.tolist()]
        parts.append(encoder.encode_images(cut).view(len(squares), len(boxes), -1))
    return Regions(torch.cat(parts), boxes)


def _crop(square: Image.Image, box: Sequence[float]) -> Image.Image:
    """One window, at least a pixel wide."""
    left, top, right, bottom = (round(side * square.width) for side in box)
    left, top = min(left, square.width - 1), min(top, square.width - 1)
    return square.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


# --- what all have in common ----------------------------------------------------------------------


@dataclass(frozen=True)
class Centring:
    """Takes the mean phrase off every phrase and the mean region off every region.

    The two kinds of vector live in two cones (the modality gap, chapter 2), and much of their cosine is the
    same for all pairs. After centring, cosines compare what differs.

    Args:
        phrase, region: the two means. Take them from other data than the queries of a test.
    """

    phrase: Float[Tensor, " dim"]
    region: Float[Tensor, " dim"]

    @classmethod
    def fit(cls, phrases: Float[Tensor, "phrases dim"], regions: Regions) -> Centring:
        """From phrases and regions of a validation set, say."""
        return cls(phrases.mean(0), regions.vectors.mean((0, 1)))

    def phrases(self, vectors: Float[Tensor, "phrases dim"]) -> Float[Tensor, "phrases dim"]:
        """Centred phrases, as unit rows."""
        return unit_rows(vectors - self.phrase, "centred phrases")

    def phrase_sets(self, queries: PointSets) -> PointSets:
        """Queries whose phrases are centred. (Their inner distances, which no matching here reads, stay.)"""
        return replace(queries, vectors=self.phrases(queries.vectors))

    def regions(self, regions: Regions) -> Regions:
        """Centred regions, as unit rows."""
        rows = (regions.vectors - self.region).flatten(0, 1)
        return replace(regions, vectors=unit_rows(rows, "centred regions").view_as(regions.vectors))


# --- helpers --------------------------------------------------------------------------------------


def _bar(starts: range, name: str, progress: bool) -> tqdm:
    return tqdm(starts, name, unit="batch", delay=PATIENCE, disable=not progress)


def _some(images: Sequence[Image.Image]) -> list[Image.Image]:
    images = check_images(images)
    if not images:
        raise ValueError("images must hold at least one picture, got none")
    return images


def _check_cut(window: int, side: int | None, cells: Float[Tensor, "images dim rows columns"]) -> None:
    rows, columns = cells.shape[2:]
    for name, value, most in (
        ("side", side, min(rows, columns)),
        ("window", window, side or min(rows, columns)),
    ):
        if value is not None and not 1 <= value <= most:
            raise ValueError(f"{name} must be 1 to {most}, the map is {rows} x {columns}, got {value}")
