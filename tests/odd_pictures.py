"""A folder of odd pictures, as people have them: for the tests of all that reads folders."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

RED = Image.new("RGB", (64, 32), "red")
RAMP = np.linspace(0, 65_535, 64).astype(np.uint16)[None].repeat(32, 0)
HEIC = b"\0\0\0\x18ftypheic" + b"\0" * 64
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 32\n1 0 0 setrgbcolor 0 0 64 32 rectfill\nshowpage\n"
TURNED = (0x112, 3, 1, struct.pack("<H", 6))  # orientation: the top of the scene is on the right
UNSUITED = {  # EXIF entries of types that their tags do not have
    "maker is a fraction": (0x10F, 5, 1, struct.pack("<II", 1, 1)),
    "negative width": (0x100, 8, 1, struct.pack("<h", -5)),
    "negative offset": (0x201, 9, 1, struct.pack("<i", -5)),
    "resolution 0/0": (0x11A, 5, 1, struct.pack("<II", 0, 0)),
}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of entries (tag, type, count, value) as they are, suited or not."""
    out, data, start = b"II*\0" + struct.pack("<IH", 8, len(entries)), b"", 14 + 12 * len(entries)
    for tag, kind, count, raw in sorted(entries):
        short = len(raw) <= 4
        place = raw.ljust(4, b"\0") if short else struct.pack("<I", start + len(data))
        out, data = out + struct.pack("<HHI", tag, kind, count) + place, data + b"" if short else data + raw
    return b"Exif\0\0" + out + struct.pack("<I", 0) + data


def long_text() -> bytes:
    """A PNG with a text of 2 MB, as programs that paint write it."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("workflow", "x" * 2**21, zip=True)
    return encoded(RED, "PNG", pnginfo=notes)


def good() -> dict[str, bytes]:
    """Every one of these can be read."""
    cut_out = Image.new("RGBA", (64, 32))
    cut_out.paste("red", (20, 10, 40, 20))
    return {
        "16 bit.png": encoded(Image.fromarray(RAMP), "PNG"),
        "CAMERA.JPG": encoded(RED, "JPEG", exif=exif(TURNED, UNSUITED["maker is a fraction"])),
        "cmyk.jpe": encoded(RED.convert("CMYK"), "JPEG"),
        "cut out.png": encoded(cut_out, "PNG"),
        "float.tif": encoded(Image.fromarray((RAMP / 65_535).astype(np.float32)), "TIFF"),
        "moving.gif": encoded(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (64, 32), "blue")]),
        "of another kind.png": encoded(RED, "JPEG"),
        "pages.tiff": encoded(RED, "TIFF", save_all=True, append_images=[RED]),
        "phone.avif": encoded(RED, "AVIF"),
        "saved.jfif": encoded(RED, "JPEG"),
        "text.png": long_text(),
        "twin.jpg": encoded(RED, "MPO", save_all=True, append_images=[RED]),
        "two\nlines.webp": encoded(RED, "WEBP"),
    }


def damaged() -> dict[str, bytes]:
    """None of these can."""
    noise = Image.effect_noise((64, 64), 60)
    not_a_number = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    return {
        "cut off.jpg": encoded(noise, "JPEG")[:1000],
        "cut off.png": encoded(noise, "PNG")[:1000],
        "empty.gif": b"",
        "not a number.tif": encoded(not_a_number, "TIFF"),
        "vector.png": EPS,
        "web.jpg": b"<html>404</html>",
    }


def others() -> dict[str, bytes]:
    """Pictures in formats that are not decoded."""
    names = ("IMG_1.HEIC", "drawing.svg", "raw.CR2", "raw.dng", "scan.pdf")
    return dict.fromkeys(names, b"?") | {"a HEIC in truth.jpg": HEIC}


def fill(folder: Path) -> tuple[set[str], set[str], set[str]]:
    """Names of what can be read, of what is damaged, and of what else is left out."""
    elsewhere, wrong_links = folder.with_name(f"{folder.name} elsewhere"), {"dead.jpg", "gone", "round"}
    for place in (folder, elsewhere):
        place.mkdir(parents=True)
    (elsewhere / "a.jpg").write_bytes(encoded(RED, "JPEG"))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "round").symlink_to(folder)
    for name in ("dead.jpg", "gone"):
        (folder / name).symlink_to(folder / "nowhere")
    for name, content in (good() | damaged() | others()).items():
        (folder / name).write_bytes(content)
    for name in ("._CAMERA.JPG", ".DS_Store", "Thumbs.db", "notes.md"):  # nobody misses these
        (folder / name).write_bytes(b"\0\5\x16\7")
    return {*good(), "linked/a.jpg"}, {*damaged()}, {*others(), *wrong_links}


def add_unnamed(folder: Path) -> str:
    """A good picture whose name is no UTF-8: it can be read, and cannot be an id."""
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(encoded(RED, "JPEG"))
    return "caf\\udce9.jpg"
