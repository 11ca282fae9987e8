"""A ray caster of one page: draws a scene record in CLEVR's schema.

A pinhole camera looks down at a table. Every pixel is a ray; a solid is drawn by intersecting the rays
near it, shading what they hit, and keeping the nearest hit of every ray.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from PIL import Image

COLOURS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
SIZES = {"large": 0.7, "small": 0.42}  # radius in table units; CLEVR's small is .35, hard to see at 64 px
CUBE = 0.8  # half an edge, in units of the object's radius
CYLINDER = (0.7, 0.95)  # radius and half the height; slimmer than CLEVR's, which at 64 px look like cubes

EYE = np.array([0.0, -9.0, 6.4])
TARGET = np.array([0.0, -0.15, 0.25])
FOCAL = 1.56  # screen widths per unit of tangent
_ahead = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
_right = np.array([1.0, 0.0, 0.0])
_up = np.cross(_right, _ahead)
SCALE = FOCAL / np.linalg.norm(TARGET - EYE)  # screen widths per table unit at the centre
LIGHT = np.array([-0.45, -0.5, 0.74])  # towards the light, a unit vector
OVERSAMPLE = 3


def project(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
    """Table coordinates -> (x, y) on screen, in fractions from the top left corner."""
    rays = points - EYE
    depth = rays @ _ahead
    return np.stack([0.5 + FOCAL * (rays @ _right) / depth, 0.5 - FOCAL * (rays @ _up) / depth], axis=-1)


def pixel_coords(point: Float[np.ndarray, "3"], size: int) -> list[float]:
    """CLEVR's entry of this name: column and row in a picture of this size, and depth in table units."""
    return [*(size * project(point)).tolist(), float((point - EYE) @ _ahead)]


@lru_cache(maxsize=4)
def _stage(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What no scene changes: unit rays (size, size, 3), where they meet the table (2), its light (1)."""
    ticks = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(ticks / FOCAL, -ticks / FOCAL)
    rays = _ahead + x[..., None] * _right + y[..., None] * _up
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    table = (EYE - EYE[2] / rays[..., 2:] * rays)[..., :2]
    falloff = np.exp(-((table - (-0.8, 0.6)) ** 2).sum(-1) / 60)
    return rays.astype(np.float32), table.astype(np.float32), (0.48 + 0.36 * falloff).astype(np.float32)


def draw(record: dict, size: int) -> Image.Image:
    """The picture of a scene record, `size` pixels square, averaged from 3 x 3 rays a pixel."""
    fine = OVERSAMPLE * size
    rays, table, light = _stage(fine)
    light, depth = light.copy(), np.full((fine, fine), np.inf, np.float32)
    for entry in record["objects"]:
        window = _window(entry, fine)
        light[window] *= _shadow(table[window], entry)
    canvas = light[..., None] * np.array([1.0, 0.995, 0.985], np.float32)
    for entry in record["objects"]:
        window = _window(entry, fine)
        distance, normal = HITS[entry["shape"]](rays[window], entry)
        nearest = distance < depth[window]
        depth[window][nearest] = distance[nearest]
        canvas[window][nearest] = shade(rays[window][nearest], normal[nearest], entry)
    pixels = (255 * canvas.clip(0, 1)).astype(np.uint8)
    return Image.fromarray(pixels).reduce(OVERSAMPLE)


def _window(entry: dict, size: int) -> tuple[slice, slice]:
    """The rows and columns that an object and its shadow can touch."""
    x, y = project(np.array(entry["3d_coords"])) * size
    reach = 2.4 * SIZES[entry["size"]] * SCALE * size * 1.25  # 1.25: nearer than the centre looks larger
    low = [max(int(v - reach), 0) for v in (y, x)]
    high = [min(int(v + reach) + 1, size) for v in (y, x)]
    return slice(low[0], high[0]), slice(low[1], high[1])


def _shadow(table: Float[np.ndarray, "h w 2"], entry: dict) -> Float[np.ndarray, "h w"]:
    """Light left on the table: dark where the object stands, soft away from the light."""
    radius = SIZES[entry["size"]]
    offset = table - np.array(entry["3d_coords"][:2], np.float32)
    contact = np.exp(-(((offset**2).sum(-1) / (0.95 * radius) ** 2) ** 2))
    cast = np.exp(-(((offset + 0.7 * radius * LIGHT[:2]) ** 2).sum(-1) / (1.15 * radius) ** 2))
    return (1 - 0.45 * contact) * (1 - 0.4 * cast)


def _hit_sphere(rays: Float[np.ndarray, "h w 3"], entry: dict):
    """|o + t d|^2 = r^2 with o the eye as seen from the centre."""
    radius, o = SIZES[entry["size"]], (EYE - entry["3d_coords"]).astype(np.float32)
    b = rays @ o
    root = b * b - (o @ o - radius**2)
    t = np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), np.inf)
    return t, (o + np.where(np.isfinite(t), t, 0)[..., None] * rays) / radius


def _hit_cylinder(rays: Float[np.ndarray, "h w 3"], entry: dict):
    """The round wall, or the lid where the ray comes in from above."""
    radius, half = CYLINDER[0] * SIZES[entry["size"]], CYLINDER[1] * SIZES[entry["size"]]
    o = (EYE - entry["3d_coords"]).astype(np.float32)
    o[2] += SIZES[entry["size"]] - half  # it stands on the table
    a = (rays[..., :2] ** 2).sum(-1)
    b = rays[..., :2] @ o[:2]
    root = b * b - a * (o[:2] @ o[:2] - radius**2)
    wall = (-b - np.sqrt(np.maximum(root, 0))) / a
    on_wall = (root > 0) & (np.abs(o[2] + wall * rays[..., 2]) <= half)
    lid = (half - o[2]) / rays[..., 2]
    on_lid = ((o[:2] + lid[..., None] * rays[..., :2]) ** 2).sum(-1) <= radius**2
    t = np.where(on_lid, lid, np.where(on_wall, wall, np.inf))
    normal = (o + np.where(np.isfinite(t), t, 0)[..., None] * rays) / radius * np.float32([1, 1, 0])
    return t, np.where(on_lid[..., None], np.float32([0, 0, 1]), normal)


def _hit_cube(rays: Float[np.ndarray, "h w 3"], entry: dict):
    """The slab method: enter the last of three slabs before leaving the first."""
    half, angle = CUBE * SIZES[entry["size"]], np.radians(entry["rotation"])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
    o = turn @ (EYE - entry["3d_coords"] + [0, 0, SIZES[entry["size"]] - half]).astype(np.float32)
    d = rays @ turn.T
    d = np.where(np.abs(d) < 1e-6, 1e-6, d)
    enter = (-half * np.sign(d) - o) / d
    leave = (half * np.sign(d) - o) / d
    t = np.where(enter.max(-1) < leave.min(-1), enter.max(-1), np.inf)
    face = np.eye(3, dtype=np.float32)[enter.argmax(-1)] * -np.sign(d)
    return t, face @ turn


HITS = {"sphere": _hit_sphere, "cylinder": _hit_cylinder, "cube": _hit_cube}


def shade(
    rays: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "n 3"], entry: dict
) -> Float[np.ndarray, "n 3"]:
    """Rubber scatters light; metal mirrors a bright sky above a dark table and glints."""
    colour = (np.array(COLOURS[entry["color"]], np.float32) / 255) ** 0.85
    facing = np.maximum(normal @ LIGHT.astype(np.float32), 0)[:, None]
    mirrored = rays - 2 * (rays * normal).sum(-1, keepdims=True) * normal
    glint = np.maximum(mirrored @ LIGHT.astype(np.float32), 0)[:, None]
    if entry["material"] == "rubber":
        return colour * (0.42 + 0.72 * facing) + 0.06 * glint**8
    height = mirrored[:, 2:]
    sky = 0.28 + 0.95 / (1 + np.exp(-9 * (height - 0.12)))
    return colour * (0.12 + 0.25 * facing + 0.75 * sky) + 0.85 * glint**40 + 0.22 * np.maximum(height, 0)
