"""Encoders that people use, each in its full size with random weights: what they see, read and leave out.

What is expected is written out here, from what their authors published, and computed by hand.
"""

from dataclasses import dataclass

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from geoclip_lite import regions
from geoclip_lite.encoders import TextWarning, Truncation, pretrained
from geoclip_lite.encoders.pretrained import load_open_clip

CLIPS_COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
END = "</s>"


@dataclass(frozen=True)
class Published:
    """An encoder as its authors describe it."""

    architecture: str
    tag: str
    side: int
    patch: int
    colours: tuple
    context: int = 77
    squash: bool = False
    padding: str | None = None  # of its tokenizer, where that is not CLIP's


ENCODERS = [
    Published("ViT-B-32", "laion2b_s34b_b79k", 224, 32, CLIPS_COLOURS),
    Published("ViT-B-16", "laion2b_s34b_b88k", 224, 16, CLIPS_COLOURS),
    Published("ViT-L-14", "laion2b_s32b_b82k", 224, 14, HALF),
    Published("ViT-B-16-SigLIP", "webli", 224, 16, HALF, 64, squash=True, padding=END),
    Published("ViT-B-32-SigLIP2-256", "webli", 256, 32, HALF, 64, squash=True, padding="<pad>"),
]


def tokenizer_of(published, folder):
    """CLIP's; or in place of one that is on the hub, words, of the same form: an end, then padding."""
    if not published.padding:
        return open_clip.get_tokenizer(published.architecture)
    words = {word: number for number, word in enumerate(["<pad>", END, "<unk>", "a", "red", "cube"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    special = {"eos_token": END, "pad_token": published.padding, "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return open_clip.tokenizer.HFTokenizer(str(folder), published.context, clean="canonicalize")


def random_model(architecture, path, preprocessing):
    torch.manual_seed(0)
    return open_clip.create_model(architecture, force_preprocess_cfg=preprocessing)


@pytest.fixture(scope="module", params=ENCODERS, ids=lambda published: published.architecture)
def loaded(request, tmp_path_factory):
    """The encoder as it is loaded, but for the download."""
    published = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "fetch_weights", lambda *_: None)
        patch.setattr(pretrained, "load_model", random_model)
        tokenizer = tokenizer_of(published, tmp_path_factory.mktemp("tokenizer"))
        yield (
            load_open_clip(published.architecture, published.tag, tokenizer=tokenizer, device="cpu"),
            published,
        )


def picture(width, height, mode="RGB", seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height)).convert(mode)


PICTURES = [
    picture(300, 400),
    picture(641, 50),
    picture(20, 31),
    picture(256, 224, "L"),
    picture(99, 98, "RGBA"),
]


def by_hand(image, published):
    """Scaled (the shorter side, or both), cut in the middle, around zero."""
    side, (width, height) = published.side, image.size
    if published.squash:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    else:
        short = min(width, height)
        image = image.resize((side * width // short, side * height // short), Image.Resampling.BICUBIC)
        left, top = (round((length - side) / 2) for length in image.size)
        image = image.crop((left, top, left + side, top + side))
    mean, std = published.colours
    return (np.asarray(image.convert("RGB")) / 255 - mean) / std


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_are_prepared_as_published(loaded):
    encoder, published = loaded
    for image in PICTURES:
        found = encoder.preprocess(image).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found, by_hand(image, published), atol=1e-5)


def test_a_square_is_encoded_like_its_picture(loaded):
    encoder, published = loaded
    for image in PICTURES:
        square = encoder.square(image)
        assert (square.size, square.mode) == ((published.side, published.side), "RGB")
        assert torch.equal(encoder.preprocess(square), encoder.preprocess(image))


def test_vectors_are_those_of_open_clips_model_and_transform(loaded):
    encoder, published = loaded
    mean, std = published.colours
    own = open_clip.image_transform(
        published.side, False, mean, std, resize_mode="squash" if published.squash else "shortest"
    )
    with torch.no_grad():
        expected = F.normalize(encoder.model.encode_image(torch.stack([own(PICTURES[0])])), dim=-1)
    assert torch.allclose(encoder.encode_images(PICTURES[:1]), expected, atol=1e-5)


def test_there_is_a_vector_for_every_patch(loaded):
    encoder, published = loaded
    cells = published.side // published.patch
    found = regions.value_regions(encoder, PICTURES[:1], progress=False)
    assert found.vectors.shape == (1, cells**2, encoder.dim)
    assert torch.allclose(found.vectors.norm(dim=-1), torch.ones(1, cells**2), atol=1e-5)
    assert len(found.vectors[0].unique(dim=0)) == cells**2, "each looks elsewhere"


# --- texts ----------------------------------------------------------------------------------------


def tokens_of(text, published):
    """How many tokens there are, special ones included."""
    if published.padding:
        return len(text.split()) + 1
    return len(open_clip.tokenizer.SimpleTokenizer().encode(text)) + 2


def test_lost_tokens_are_counted_one_by_one(loaded):
    encoder, published = loaded
    texts = [" ".join(["red cube"] * n) for n in (1, 20, 31, 32, 37, 38, 39, 100)] + ["a " * 63, "a " * 64]
    wanted = [max(0, tokens_of(text, published) - published.context) for text in texts]
    assert encoder.truncation(texts) == Truncation(published.context, tuple(wanted))
    assert 0 < sum(map(bool, wanted)) < len(texts)


def test_long_captions_are_cut_with_a_warning_that_counts(loaded):
    encoder, published = loaded
    fits = " ".join(["red"] * (published.context - (1 if published.padding else 2)))
    texts = ["a red cube", fits, f"{fits} cube", f"{fits} cube cube cube"]
    said = f"2 of 4 texts cut to {published.context} tokens, by 2 on average"
    with pytest.warns(TextWarning, match=said):
        vectors = encoder.encode_texts(texts)
    assert torch.allclose(vectors[1], vectors[2], atol=1e-5), "what is cut off is not read"
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_captions_that_fit_give_no_warning(loaded, recwarn):
    encoder, _ = loaded
    assert encoder.encode_texts(["a red cube"]).shape == (1, encoder.dim)
    assert encoder.truncation(["a red cube"]).cut == 0
    assert not [warning for warning in recwarn if issubclass(warning.category, TextWarning)]


@pytest.mark.parametrize(("texts", "error"), [([], ValueError), ([" "], ValueError), ("red", TypeError)])
def test_texts_that_cannot_be_counted_are_refused(loaded, texts, error):
    with pytest.raises(error, match="texts"):
        loaded[0].truncation(texts)
