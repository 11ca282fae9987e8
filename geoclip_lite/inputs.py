"""What encoders take: lists of texts with words, of frames for them, of pictures, of scenes."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import repr as brief

from PIL import Image

from geoclip_lite.scenes import Scene
from geoclip_lite.words import words_of


def check_texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    """The texts as a list; refuses what an encoder could only guess at.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: one bare string, which would be read letter by letter; anything that is no text.
        ValueError: a text without words, which has no direction to point in.
    """
    texts = _listed(texts, str, name, "strings")
    for text in texts:
        if not words_of(text):
            raise ValueError(f"{name} holds a text without words, {text!r}: leave it out")
    return texts


def check_frames(frames: Iterable[str], name: str = "templates") -> list[str]:
    """The frames as a list: texts with a "{}" where a word or phrase goes.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: one bare string; anything that is no text.
        ValueError: no frames, or one without exactly one "{}".
    """
    frames = _listed(frames, str, name, "strings")
    if not frames:
        raise ValueError(f'{name} must not be empty: ["{{}}"] reads what goes in as it is')
    if bad := [frame for frame in frames if frame.count("{}") != 1]:
        raise ValueError(f'{name}: {bad[0]!r} must hold "{{}}" once, where the word or phrase goes')
    return frames


def check_images(images: Iterable[Image.Image], name: str = "images") -> list[Image.Image]:
    """The pictures as a list.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: one bare picture; a path, an array or anything else that is no picture of PIL.
        ValueError: a picture without pixels.
    """
    images = _listed(
        images, Image.Image, name, "PIL pictures (Image.open reads files, Image.fromarray arrays)"
    )
    if empty := [image.size for image in images if 0 in image.size]:
        raise ValueError(f"{name} holds a picture of {empty[0][0]} x {empty[0][1]} pixels: leave it out")
    return images


def check_scenes(scenes: Iterable[Scene], name: str = "scenes") -> list[Scene]:
    """The scenes as a list.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: one bare scene; anything that is no scene.
    """
    return _listed(scenes, Scene, name, "scenes (an encoder's encode_texts and encode_images take bare ones)")


def _listed(items: object, kind: type, name: str, wanted: str) -> list:
    """The items, all of one kind and in an order."""
    expected = f"{name} must be a list of {wanted}, got"
    if isinstance(items, kind | str):
        raise TypeError(f"{expected} one alone: write [{brief(items)}]")
    if isinstance(items, bytes | dict | set | frozenset) or not _is_iterable(items):
        raise TypeError(f"{expected} {type(items).__name__} {brief(items)}")
    listed = list(items)
    for place, item in enumerate(listed):
        if not isinstance(item, kind):
            raise TypeError(
                f"{expected} {type(item).__name__} {brief(item)} at place {place}: mend or leave it out"
            )
    return listed


def _is_iterable(items: object) -> bool:
    try:
        iter(items)
    except TypeError:
        return False
    return True
