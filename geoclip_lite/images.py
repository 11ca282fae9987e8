"""Pictures as people have them: the one place where files become pixels.

read     a file, or its bytes -> the picture upright and in RGB
reduced  the same, scaled down
rgb      a picture of any mode -> in RGB
opened   what is made of an open picture, with one kind of error for all that may be wrong with it

A file is what its content says, whatever its name, and no decoder but those of FORMATS ever sees it. Of a
moving picture, or one of several pages, the first is taken. Colour profiles are not applied: open_clip's
models were trained without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features
from PIL.Image import Transpose

T = TypeVar("T")
FORMATS = {  # as Pillow calls them -> how names of their files end
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "PNG": (".apng", ".png"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = tuple(sorted(suffix for suffixes in FORMATS.values() for suffix in suffixes))
OTHERS = re.compile(  # how names of pictures end that are not decoded
    r"\.(3fr|ai|arw|bpg|cr2|cr3|crw|dcr|dds|dng|emf|eps|erf|exr|fits|hdr|hei[cf]s?|hif|icns|ico|j2k|jp2|jpf|jpx|"
    r"jxl|jxr|kdc|mef|mrw|nef|nrw|orf|p[bgnp]m|pcx|pdf|pef|ps|psb|psd|raf|raw|rw2|rwl|sr2|srf|srw|svgz?|tga|wmf|"
    r"x3f|xcf)"
)
ADVICE = "not decoded here: save it as JPEG or PNG"
MOST_PIXELS = 178_956_970  # where Pillow refuses, too: 540 MB
HEIC = {
    b"heic",
    b"heim",
    b"heis",
    b"heix",
    b"hevc",
    b"hevm",
    b"hevs",
    b"hevx",
    b"mif1",
    b"msf1",
}  # ISO 23008-12
NOTES = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")  # a PNG's colour profile and texts
WHITES = (255, 65_535)  # that 32-bit and floating values may end at, besides 1
TURNS = {  # EXIF's orientation -> what makes it upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """No picture, or one that cannot be read."""


class UnknownFormatError(PictureError):
    """Nothing that the decoders know: no picture, as far as can be told."""


class OtherFormatError(UnknownFormatError):
    """A picture, in a format that is not decoded here."""


class TooManyPixelsError(PictureError):
    """A picture that would unpack to more than the memory that there is for it."""


def read(source: Path | bytes, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture upright, in RGB and in its own size.

    Raises:
        UnknownFormatError, OtherFormatError, TooManyPixelsError, PictureError: see there.
    """
    return opened(source, _upright, most_pixels)


def reduced(source: Path | bytes, side: int, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """As `read`, but at most `side` pixels wide and high. Of a JPEG no more is decoded than that needs.

    Raises:
        UnknownFormatError, OtherFormatError, TooManyPixelsError, PictureError: see there.
    """

    def use(image: Image.Image) -> Image.Image:
        image.draft(None, (side, side))
        picture = _upright(image)
        picture.thumbnail((side, side))
        return picture

    return opened(source, use, most_pixels)


def rgb(image: Image.Image) -> Image.Image:
    """A picture in RGB; one that is so already is returned as it is.

    What is transparent is laid on white, before anything is scaled, as viewers show it. (open_clip's own
    preprocessing drops the transparency instead, so that an encoder sees what had been erased.) Grey of more
    than 8 bits is scaled from the range of its kind.

    Raises:
        PictureError: floating or 32-bit values of an unknown range.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _in_8_bits(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def opened(source: Path | bytes, use: Callable[[Image.Image], T], most_pixels: int = MOST_PIXELS) -> T:
    """What is made of a picture whose head was read: what it would unpack to is known before a pixel is.

    Raises:
        UnknownFormatError, OtherFormatError, TooManyPixelsError, PictureError: see there.
    """
    try:
        file = source if isinstance(source, Path) else BytesIO(source)
        with Image.open(file, formats=tuple(FORMATS)) as image:
            if image.width * image.height > most_pixels:
                size = f"{image.width:,} x {image.height:,}"
                raise TooManyPixelsError(f"it has {size} pixels, more than {most_pixels:,}: scale it down")
            return use(image)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(f"it has more than {most_pixels:,} pixels: scale it down") from error
    except Exception as error:  # a damaged file leads to OSError, SyntaxError, struct.error and more
        if (bare := _without_notes(source)) is not None:
            return opened(bare, use, most_pixels)
        if isinstance(error, UnidentifiedImageError):
            raise _unknown(source) from error
        raise PictureError(f"it is damaged or cut off: {error!r}") from error


# --- pixels ---------------------------------------------------------------------------------------


def _upright(image: Image.Image) -> Image.Image:
    """In RGB, and as the camera was held. Whatever an EXIF may hold, the picture is good."""
    image.load()
    picture, turn = rgb(image), None
    with suppress(Exception):
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    return picture.copy() if turn is None else picture.transpose(turn)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """16 bits span their range, or that of the fewer that a TIFF names; others must tell by their own."""
    values, tags = np.asarray(image).astype(np.float32), getattr(image, "tag_v2", {})
    low, high = values.min(), values.max()
    if image.mode.startswith("I;16"):
        white = 2 ** tags.get(ExifTags.Base.BitsPerSample, [16])[0] - 1
    else:
        white = 1 if high <= 1 else next((w for w in WHITES if w / 16 <= high <= w), 0)
    if not (white and low >= 0):
        raise PictureError(f"its values go from {low:g} to {high:g}: scale them to 0..1, 0..255 or 0..65535")
    if "transparency" in image.info:
        values[values == image.info["transparency"]] = white
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # 0 is white; Pillow knows it of 8 bits only
        values = white - values
    return Image.fromarray((values * (255 / white)).round().clip(0, 255).astype(np.uint8))


# --- what is wrong --------------------------------------------------------------------------------


def _unknown(source: Path | bytes) -> UnknownFormatError:
    head = _content(source, 12)
    brands = HEIC if features.check("avif") else HEIC | {b"avif", b"avis"}
    if head[4:8] == b"ftyp" and head[8:] in brands:  # whatever its name: phones call it .jpg now and then
        kind = "AVIF" if head[8:10] == b"av" else "HEIC"
        return OtherFormatError(f"it is {kind}, which is {ADVICE}")
    return UnknownFormatError(f"it is no picture, or none of {', '.join(FORMATS)}")


def _without_notes(source: Path | bytes) -> bytes | None:
    """A PNG without texts and colour profile, which Pillow refuses where they are long; None: it has none."""
    with suppress(OSError):
        if _content(source, 8) != b"\x89PNG\r\n\x1a\n":
            return None
        content = _content(source)
        kept, at = [content[:8]], 8
        while at < len(content):
            end = at + 12 + int.from_bytes(content[at : at + 4])
            if content[at + 4 : at + 8] not in NOTES:
                kept.append(content[at:end])
            at = end
        bare = b"".join(kept)
        return bare if len(bare) < len(content) else None
    return None


def _content(source: Path | bytes, size: int | None = None) -> bytes:
    """The first bytes, or all."""
    if isinstance(source, bytes):
        return source[:size]
    with source.open("rb") as file:
        return file.read(size)
