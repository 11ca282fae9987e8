"""What is no list of texts, pictures or scenes is refused by the argument's name, whoever takes it."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from geoclip_lite import regions
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.retrieval import Gallery, shortlist

RED = Image.new("RGB", (64, 64), "red")
NO_TEXTS = ["red cube", b"red cube", None, 3, float("nan"), RED, np.array("red"), {"red"}, {"red": 1}]
NO_TEXTS += [
    ["a", float("nan")],
    [None],
    [b"red"],
    [3],
    [RED],
    [["red"]],
    torch.zeros(2),
    pd.Series(["a", None]),
]
NO_IMAGES = [RED, "a.jpg", b"a.jpg", None, 3, torch.zeros(3, 64, 64), np.zeros((64, 64, 3), np.uint8)]
NO_IMAGES += [
    ["a.jpg"],
    [RED, None],
    [np.zeros((64, 64, 3), np.uint8)],
    [torch.zeros(3, 64, 64)],
    {RED.mode: RED},
]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini-pairs", device="cpu")


def ways_of(encoder, tmp_path):
    return encoder, Stored(encoder, tmp_path)


@pytest.mark.parametrize("texts", NO_TEXTS, ids=lambda texts: repr(texts)[:30])
def test_what_is_no_list_of_texts_is_refused_by_name(encoder, tmp_path, texts):
    for way in ways_of(encoder, tmp_path):
        with pytest.raises(TypeError, match="texts"):
            way.encode_texts(texts)
        with pytest.raises(TypeError, match="phrases"):
            encode_with_templates(way, texts)
    if texts is not None:  # the encoder's own
        with pytest.raises(TypeError, match="templates"):
            encode_with_templates(encoder, ["red"], texts)


@pytest.mark.parametrize("images", NO_IMAGES, ids=lambda images: type(images).__name__)
def test_what_is_no_list_of_pictures_is_refused_by_name(encoder, tmp_path, images):
    for way in ways_of(encoder, tmp_path):
        with pytest.raises(TypeError, match="images"):
            way.encode_images(images)
    for cut in (regions.crops, regions.value_regions):
        with pytest.raises(TypeError, match="images"):
            cut(encoder, images)


def test_a_picture_without_pixels_is_refused_by_name(encoder):
    with pytest.raises(ValueError, match="images"):
        encoder.encode_images([RED, Image.new("RGB", (0, 5))])


@pytest.mark.parametrize("make", [tuple, iter, np.array, pd.Series, lambda texts: (text for text in texts)])
def test_every_ordered_collection_of_texts_is_read(encoder, tmp_path, make):
    texts = ["red circle", "blue star", "a star"]
    expected = encoder.encode_texts(texts)
    for way in ways_of(encoder, tmp_path):
        assert torch.allclose(way.encode_texts(make(texts)), expected, atol=1e-6)
    assert encode_with_templates(encoder, make(texts), make(["{}", "a {}"])).shape == expected.shape


def test_pictures_may_come_one_by_one(encoder, tmp_path):
    images = [RED, Image.new("L", (9, 70)), Image.new("P", (64, 64))]
    expected = encoder.encode_images(images)
    for way in ways_of(encoder, tmp_path):
        assert torch.allclose(way.encode_images(image for image in images), expected, atol=1e-6)
    assert regions.crops(encoder, iter(images), scales=(1,), progress=False).vectors.shape == (
        3,
        1,
        encoder.dim,
    )
    assert encoder.encode_texts(iter([])).shape == encoder.encode_images(iter([])).shape == (0, encoder.dim)


@pytest.mark.parametrize("scenes", [[RED], ["red"], RED, None])
def test_galleries_are_made_of_scenes(encoder, scenes):
    for make in (Gallery.of_images, Gallery.of_texts):
        with pytest.raises(TypeError, match="scenes"):
            make(encoder, scenes)


@pytest.mark.parametrize("vectors", [np.eye(3), [[1.0, 0.0]], "red", None])
def test_what_is_no_tensor_is_refused_by_name(vectors):
    with pytest.raises(TypeError, match="queries"):
        shortlist(vectors, torch.eye(3), 1)
    with pytest.raises(TypeError, match="gallery"):
        shortlist(torch.eye(3), vectors, 1)
