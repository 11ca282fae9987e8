"""Pictures as people have them: what is read, what it looks like then, and what is refused."""

import struct
import zlib

import numpy as np
import odd_pictures
import open_clip
import pytest
import torch
from odd_pictures import RAMP, RED, TURNED, UNSUITED, encoded, exif
from PIL import Image

from geoclip_lite import images
from geoclip_lite.datasets import folder, shapes
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.encoders.pretrained import OpenClipEncoder


@pytest.fixture(scope="module")
def mini():
    return load_encoder("mini-pairs", device="cpu")


def greys(content):
    return np.asarray(images.read(content)).astype(int)[..., 0]


def corner(content):
    return images.read(content).getpixel((1, 1))


def of_values(values, kind="float32"):
    return encoded(Image.fromarray(np.array(values, dtype=kind)), "TIFF")


def tiff_of(bits, white_is_zero, data):
    """8 x 4 pixels of grey in so many bits."""
    values = {
        256: 8,
        257: 4,
        258: bits,
        259: 1,
        262: 1 - white_is_zero,
        273: 122,
        277: 1,
        278: 4,
        279: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + b"\0" * 4 + data


# --- pixels ---------------------------------------------------------------------------------------


def test_pictures_in_rgb_pass_untouched():
    drawn = shapes.evaluation_scenes()[0].image(96)
    assert images.rgb(drawn) is drawn
    assert images.read(encoded(drawn, "PNG")).tobytes() == drawn.tobytes()
    assert images.rgb(drawn.convert("RGBA")).tobytes() == drawn.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_grey_of_16_bits_keeps_its_steps(kind, order):
    found = greys(encoded(Image.fromarray(RAMP.astype(order)), kind))
    np.testing.assert_allclose(found, RAMP / 257, atol=0.51)


@pytest.mark.parametrize(
    ("bits", "white_is_zero", "data", "grey"),
    [
        (12, 0, b"\xff" * 48, 255),
        (16, 0, b"\xff" * 64, 255),
        (16, 1, b"\0" * 64, 255),
        (8, 1, b"\0" * 32, 255),
    ],
)
def test_a_tiff_says_what_is_white(bits, white_is_zero, data, grey):
    assert (greys(tiff_of(bits, white_is_zero, data)) == grey).all()


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        ([[0, 0.5, 1]], "float32", [[0, 128, 255]]),
        ([[0, 128, 250]], "float32", [[0, 128, 250]]),
        ([[0, 7, 200]], "int32", [[0, 7, 200]]),
        ([[0, 257, 65_535]], "int32", [[0, 1, 255]]),
        ([[0, 0, 0]], "float32", [[0, 0, 0]]),
    ],
)
def test_other_numbers_are_scaled_by_their_range(values, kind, wanted):
    assert greys(of_values(values, kind)).tolist() == wanted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[-1, 0.5]], "float32"),
        ([[np.nan, 0.5]], "float32"),
        ([[np.inf, 0.5]], "float32"),
        ([[0.1, 1.2]], "float32"),
        ([[0, 3000]], "int32"),
        ([[0, 2**20]], "int32"),
    ],
)
def test_numbers_whose_range_says_nothing_are_refused(values, kind):
    with pytest.raises(images.PictureError, match=r"0\.\.255"):
        images.read(of_values(values, kind))


NOT_RED = ("16 bit.png", "cut out.png", "float.tif")
HIDDEN = Image.new("RGBA", (8, 4), (0, 0, 255, 0))  # blue, and all of it erased
INDEXED = RED.quantize(2)


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(HIDDEN, kind) for kind in ("PNG", "WEBP", "TIFF", "AVIF")),
        encoded(HIDDEN.convert("LA"), "PNG"),
        encoded(RED, "PNG", transparency=(255, 0, 0)),
        encoded(Image.new("L", (8, 4), 9), "PNG", transparency=9),
        encoded(Image.fromarray(np.full((4, 8), 1000, np.uint16)), "PNG", transparency=1000),
        *(encoded(INDEXED, kind, transparency=INDEXED.getpixel((0, 0))) for kind in ("PNG", "GIF")),
        encoded(INDEXED, "PNG", transparency=b"\0\0"),
    ],
    ids=lambda content: str(content[:4]),
)
def test_what_is_transparent_is_white(content):
    assert corner(content) == (255, 255, 255)


def test_what_is_half_transparent_is_half_white():
    assert corner(encoded(Image.new("RGBA", (8, 4), (0, 0, 0, 128)), "PNG")) == (127, 127, 127)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (encoded(Image.new("CMYK", (8, 4), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
        (encoded(Image.new("CMYK", (8, 4), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (encoded(RED, "TIFF", compression="jpeg"), (255, 0, 0)),
        (encoded(Image.new("LAB", (8, 4), (255, 128, 128)), "TIFF"), (255, 255, 255)),
        (encoded(Image.new("1", (8, 4), 1), "PNG"), (255, 255, 255)),
        (
            encoded(RED, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 32), "blue")]),
            (255, 0, 0),
        ),
        *((content, (255, 0, 0)) for name, content in odd_pictures.good().items() if name not in NOT_RED),
    ],
    ids=lambda value: str(value[:4]),
)
def test_other_kinds_keep_their_colours(content, wanted):
    np.testing.assert_allclose(corner(content), wanted, atol=3)


# --- what stands beside the pixels ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_are_upright(kind):
    up = Image.Exif()
    up[0x112] = 6
    assert images.read(encoded(RED, kind, exif=up)).size == (32, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("entry", UNSUITED.values(), ids=UNSUITED)
def test_a_good_picture_is_read_whatever_its_exif_says(kind, entry):
    assert images.read(encoded(RED, kind, exif=exif(TURNED, entry))).size == (32, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "raw", [b"Exif\0\0", b"Exif\0\0garbage!", b"Exif\0\0" + exif(), exif((0x112, 2, 4, b"six\0"))]
)
def test_an_exif_that_says_nothing_turns_nothing(kind, raw):
    assert images.read(encoded(RED, kind, exif=raw)).size == (64, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_broken_profile_does_no_harm(kind):
    np.testing.assert_allclose(corner(encoded(RED, kind, icc_profile=b"no profile")), (255, 0, 0), atol=3)


def test_long_texts_and_profiles_of_a_png_do_no_harm():
    text = b"workflow\0\0" + zlib.compress(b"x" * 2**21)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    plain = encoded(RED, "PNG")
    profile = encoded(RED, "PNG", icc_profile=b"\0" * 2**21)
    for content in (odd_pictures.long_text(), profile, plain[:-12] + chunk + plain[-12:]):
        assert images.read(content).tobytes() == RED.tobytes()


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_damaged_texts_and_profiles_of_a_png_do_no_harm(kind):
    """They stand before the pixels, and their checksum is wrong."""
    plain, note = encoded(RED, "PNG"), struct.pack(">I", 4) + kind + b"a\0\0b" + b"\0" * 4
    assert images.read(plain[:33] + note + plain[33:]).tobytes() == RED.tobytes()


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("content", odd_pictures.damaged().values(), ids=odd_pictures.damaged())
def test_what_is_no_picture_or_damaged_is_refused(content):
    with pytest.raises(images.PictureError) as caught:
        images.read(content)
    assert not isinstance(caught.value, images.OtherFormatError)


@pytest.mark.parametrize("name", ["cat.png", "cat.jpg", "cat.eps"])
@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "ICO", "PDF"])
def test_a_name_chooses_no_decoder(tmp_path, monkeypatch, name, kind):
    (tmp_path / name).write_bytes(odd_pictures.EPS if kind == "EPS" else encoded(RED, kind))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was run"))
    with pytest.raises(images.PictureError):
        folder.draw(tmp_path / name)


def test_pictures_that_are_not_decoded_are_told_from_damaged_ones():
    with pytest.raises(images.OtherFormatError, match=r"HEIC.* JPEG or PNG"):
        images.read(odd_pictures.HEIC)


def test_a_picture_with_too_many_pixels_is_refused_with_advice():
    with pytest.raises(images.TooManyPixelsError, match="scale it down"):
        images.read(encoded(Image.new("1", (20_000, 10_000)), "PNG"))
    with pytest.raises(images.TooManyPixelsError, match=r"8 x 4 .* 31"):
        images.read(encoded(Image.new("1", (8, 4)), "PNG"), most_pixels=31)


# --- encoders ---------------------------------------------------------------------------------------


def of_open_clip():
    model = open_clip.create_model("ViT-B-32", pretrained=None)
    return OpenClipEncoder("random", "ViT-B-32", model, open_clip.get_tokenizer("ViT-B-32"))


@pytest.mark.parametrize("other", ["mini", "stored", "open_clip"])
def test_encoders_see_what_is_read(mini, tmp_path, other):
    """A picture that was opened by other means: in 16 bits, and with its background erased."""
    encoder = {"mini": lambda: mini, "stored": lambda: Stored(mini, tmp_path), "open_clip": of_open_clip}[
        other
    ]()
    scene = shapes.evaluation_scenes()[0].image(96)
    grey = scene.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    erased = scene.convert("RGBA")
    erased.paste((0, 0, 255, 0), (0, 0, 96, 40))
    white = scene.copy()
    white.paste("white", (0, 0, 96, 40))
    found, wanted = encoder.encode_images([deep, erased]), encoder.encode_images([grey, white])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_a_store_does_not_take_a_transparent_picture_for_a_full_one(mini, tmp_path):
    """Which pixels of an RGB picture are transparent is noted beside them."""
    full, holes = RED.copy(), RED.copy()
    holes.info["transparency"] = (255, 0, 0)
    one, other = Stored(mini, tmp_path).encode_images([full, holes])
    assert not torch.allclose(one, other, atol=1e-3)
