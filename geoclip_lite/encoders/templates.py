"""Prompt templates: a phrase is read in several sentences, and the vectors are averaged."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.inputs import check_frames, check_texts

# Of the eighty that CLIP's authors published for ImageNet, six that say nothing of size, colour or number.
CLIP_TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a good photo of a {}.",
    "a close-up photo of a {}.",
    "a rendering of a {}.",
    "a drawing of a {}.",
)


def encode_with_templates(
    encoder: DualEncoder, phrases: Sequence[str], templates: Sequence[str] | None = None
) -> Float[Tensor, "phrases dim"]:
    """One unit vector a phrase: the mean over the filled templates, scaled to unit length.

    The paper's equation 3; CLIP's authors call it prompt ensembling.

    Args:
        templates: each with one "{}" for the phrase; None: the encoder's own.

    Raises:
        TypeError: phrases or templates that are no lists of strings.
        ValueError: no templates, one without exactly one "{}", or a phrase without words.
    """
    phrases = check_texts(phrases, "phrases")
    templates = check_frames(encoder.templates if templates is None else templates)
    filled = [template.replace("{}", phrase) for template in templates for phrase in phrases]
    vectors = encoder.encode_texts(filled).reshape(len(templates), len(phrases), encoder.dim)
    return F.normalize(vectors.mean(0), dim=-1)
