"""Slots of objects: mispaired or missing, and the directions that insist on them."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geoclip_lite import slots
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.scenes import Scene, SceneObject

RED_CUBE, BLUE_BALL = ("cube", "red"), ("ball", "blue")


def scene(*objects):
    """A scene of (noun, colour) without a picture."""
    return Scene("", "", tuple(SceneObject(noun, (("colour", c),)) for noun, c in objects), draw=None)


@pytest.mark.parametrize(
    ("asked", "shown", "expected"),
    [
        ([RED_CUBE, BLUE_BALL], [RED_CUBE, BLUE_BALL], []),
        ([RED_CUBE, BLUE_BALL], [("cube", "blue"), ("ball", "red")], [(0, 0, "colour"), (1, 1, "colour")]),
        ([RED_CUBE, BLUE_BALL], [("cube", "green"), BLUE_BALL], []),  # missing: nothing is red
        ([RED_CUBE, BLUE_BALL], [("cube", "blue"), BLUE_BALL, ("cone", "red")], [(0, 0, "colour")]),
        ([RED_CUBE, BLUE_BALL], [BLUE_BALL], []),
        # Three cubes asked for and two there: the third is missing, though cubes are on the picture.
        ([RED_CUBE, RED_CUBE, RED_CUBE], [RED_CUBE, RED_CUBE, ("ball", "red")], []),
        ([BLUE_BALL, RED_CUBE], [RED_CUBE, BLUE_BALL], []),
    ],
)
def test_a_slot_is_mispaired_where_its_value_is_there_but_elsewhere(asked, shown, expected):
    assert slots.mispaired_slots(scene(*asked), scene(*shown)) == expected


def test_right_words_in_any_other_pairing_are_mispaired():
    """The paper's words: the correct attributes, attached to the wrong objects."""
    rng = np.random.default_rng(0)
    for size in (2, 5, 8):
        whole = clevr_like.random_scene(rng, size)
        assert slots.mispaired_slots(whole, whole) == []
        colours = [o.slots["colour"] for o in whole.objects]
        turned = scene(*[(o.noun, c) for o, c in zip(whole.objects, colours[1:] + colours[:1], strict=True)])
        plain = scene(*[(o.noun, c) for o, c in zip(whole.objects, colours, strict=True)])
        differs = sorted(plain.objects, key=str) != sorted(turned.objects, key=str)
        assert bool(slots.mispaired_slots(plain, turned)) == differs


def test_a_slot_direction_leads_from_all_other_values():
    types, encode = clevr_like.TYPES, partial(encode_with_templates, load_encoder("mini-pairs"))
    found = slots.slot_directions(encode, types)
    assert len(found) == len(types) * 3
    red = SceneObject("sphere", (("size", "large"), ("colour", "red"), ("material", "rubber")))
    phrases = [t.phrase for t in types]
    vectors = dict(zip(phrases, encode(phrases), strict=True))
    rivals = [f"large {c} rubber sphere" for c in clevr_like.COLOURS if c != "red"]
    rest = torch.stack([vectors[phrase] for phrase in rivals]).mean(0)
    torch.testing.assert_close(found[red, "colour"], F.normalize(vectors[red.phrase] - rest, dim=0))
    with pytest.raises(ValueError, match=r"nothing differs from .* in its size alone"):
        slots.slot_directions(encode, types[:5])
