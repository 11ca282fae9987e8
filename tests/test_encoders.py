"""The mini CLIP: its tokenizer, its files, and that it computes what open_clip's own model computes.

Also what all encoders share: names, the cast of a chapter, prompt templates.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from geoclip_lite import encoders
from geoclip_lite.encoders import Stored, TextWarning, WeightsError, load_encoder, load_mini, mini
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.encoders.templates import CLIP_TEMPLATES, encode_with_templates
from geoclip_lite.encoders.tokenizer import PAD, START, UNKNOWN, WordTokenizer
from geoclip_lite.files import sha256, write_atomically

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WORDS = ["a", "blue", "circle", "red", "star", ","]


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    tokenizer = WordTokenizer(WORDS)
    return mini.MiniClip("untrained", mini.architecture(tokenizer.vocabulary_size), tokenizer, {})


@pytest.fixture
def saved(untrained, tmp_path):
    path = tmp_path / "tiny.safetensors"
    mini.save_mini(path, untrained.model, untrained.tokenizer, {"seed": 0})
    return path


# --- words ----------------------------------------------------------------------------------------


def test_a_text_becomes_start_words_end_and_padding():
    tokenizer = WordTokenizer(WORDS)
    long, short = tokenizer(["a red star, a blue circle", "Red star"]).tolist()
    words = [*(tokenizer.ids[w] for w in ["a", "red", "star", ",", "a", "blue", "circle"])]
    assert long == [START, *words, tokenizer.end]
    assert short == [START, tokenizer.ids["red"], tokenizer.ids["star"], tokenizer.end] + [PAD] * 5
    assert tokenizer.end == max(tokenizer.ids.values()) + 1 == tokenizer.vocabulary_size - 1


def test_unknown_words_share_an_id_and_are_named():
    tokenizer = WordTokenizer(WORDS)
    with pytest.warns(TextWarning, match="never saw: octagon, turquoise"):
        ids = tokenizer(["turquoise octagon"])
    assert ids.tolist() == [[START, UNKNOWN, UNKNOWN, tokenizer.end]]


def test_long_texts_are_cut_and_counted_and_still_end():
    tokenizer = WordTokenizer(WORDS, context_length=5)
    with pytest.warns(TextWarning, match="1 of 2 texts cut to 3 words"):
        ids = tokenizer(["a red star a blue circle", "a red star"])
    assert ids[0].tolist() == ids[1].tolist()
    assert ids[0, -1] == tokenizer.end


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(ValueError, match="without words"):
        WordTokenizer(WORDS)(["red", text])


def test_a_bare_string_is_refused():
    with pytest.raises(TypeError, match=r"write \['red star'\]"):
        WordTokenizer(WORDS)("red star")


# --- the model ------------------------------------------------------------------------------------


def test_text_vectors_are_open_clips(untrained):
    texts = ["red star", "a blue circle, a red star", "star"]
    tokens = untrained.tokenizer(texts)
    padded = torch.nn.functional.pad(tokens, (0, mini.CONTEXT_LENGTH - tokens.shape[1]), value=PAD)
    with torch.no_grad():
        expected = untrained.model.encode_text(padded, normalize=True)
    assert torch.allclose(untrained.encode_texts(texts), expected, atol=1e-6)


def test_image_vectors_are_open_clips(untrained):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(5)]
    batch = torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images]).float() / 64 - 2
    with torch.no_grad():
        expected = untrained.model.encode_image(batch, normalize=True)
    assert torch.allclose(untrained.encode_images(images, batch=2), expected, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_do_not_change_vectors(untrained, batch):
    texts = ["red star", "a blue circle, a red star", "star", "blue"]
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "white", "black")]
    assert torch.allclose(untrained.encode_texts(texts, batch), untrained.encode_texts(texts), atol=1e-6)
    assert torch.allclose(untrained.encode_images(images, batch), untrained.encode_images(images), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_vectors_come_back_to_the_cpu_and_depend_little_on_the_device(name, device):
    encoder, reference = load_encoder(name, device=device), load_encoder(name, device="cpu")
    assert encoder.device.type == device
    texts, images = ["red star", "blue"], [Image.new("RGB", (64, 64), c) for c in ("red", "blue")]
    for vectors, expected in [
        (encoder.encode_texts(texts), reference.encode_texts(texts)),
        (encoder.encode_images(images), reference.encode_images(images)),
    ]:
        assert (vectors.device.type, vectors.dtype) == ("cpu", torch.float32)
        assert (vectors * expected).sum(dim=1).min() > 0.9999


def test_fingerprints_tell_weights_and_vocabularies_apart(untrained, saved):
    def fingerprint(words=WORDS, seed=0):
        torch.manual_seed(seed)
        tokenizer = WordTokenizer(words)
        return mini.MiniClip("any", mini.architecture(tokenizer.vocabulary_size), tokenizer, {}).fingerprint

    assert untrained.fingerprint == fingerprint()
    assert load_mini(saved).fingerprint == load_mini(saved, "other name").fingerprint
    assert len({fingerprint(), fingerprint(WORDS[::-1]), fingerprint(seed=1)}) == 3


def test_pictures_of_any_size_and_mode_are_read(untrained):
    odd = [Image.new("RGB", (640, 480)), Image.new("L", (7, 90)), Image.new("RGBA", (64, 64))]
    vectors = untrained.encode_images(odd)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))


def test_no_texts_and_no_images_give_no_vectors(untrained):
    assert untrained.encode_texts([]).shape == untrained.encode_images([]).shape == (0, 128)


# --- files ----------------------------------------------------------------------------------------


def test_half_precision_changes_next_to_nothing(untrained, saved):
    loaded = load_mini(saved)
    texts = ["red star", "a blue circle"]
    assert (loaded.encode_texts(texts) * untrained.encode_texts(texts)).sum(1).min() > 0.9999
    assert loaded.recipe == {"seed": 0}
    assert loaded.tokenizer.words == tuple(WORDS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.safetensors"):
        load_mini(tmp_path / "nowhere.safetensors")


def test_a_wrong_checksum_is_refused(saved):
    with pytest.raises(WeightsError, match="expected 0000"):
        load_mini(saved, checksum="0000")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_weights_are_refused(saved, damage):
    content = saved.read_bytes()
    saved.write_bytes({"truncated": content[:5000], "garbage": b"\x00" * 500, "empty": b""}[damage])
    with pytest.raises(WeightsError, match="no readable safetensors"):
        load_mini(saved)


def test_other_safetensors_are_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="no mini CLIP"):
        load_mini(tmp_path / "other.safetensors")


def test_weights_of_another_architecture_are_refused(saved):
    weights = load_file(saved)
    about = {"format": mini.FORMAT, "words": WORDS, "recipe": {}}
    weights.pop("text_projection")
    save_file(weights, saved, {"about": json.dumps(about)})
    with pytest.raises(WeightsError, match="text_projection"):
        load_mini(saved)


def test_writing_leaves_the_old_file_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "nothing is left behind"


# --- what is shipped ------------------------------------------------------------------------------


@pytest.mark.parametrize(("typo", "near"), [("mini-singel", "mini-single"), ("pairs", "mini-pairs")])
def test_a_near_name_is_suggested(typo, near):
    with pytest.raises(ValueError, match=f"no encoder '{typo}'; did you mean .*'{near}'"):
        load_encoder(typo)


def test_a_name_like_no_other_lists_what_there_is():
    with pytest.raises(ValueError, match="known: mini-"):
        load_encoder("qqq")


@pytest.mark.parametrize("name", DIETS)
def test_shipped_weights_are_small_and_what_their_checksum_says(name):
    path = encoders.WEIGHTS / f"{name}.safetensors"
    assert sha256(path) == encoders.shipped()[name]
    assert path.stat().st_size <= 4_000_000
    encoder = load_encoder(name)
    assert (encoder.name, encoder.dim, encoder.image_size) == (name, 128, 64)


# --- the cast of a chapter ------------------------------------------------------------------------


def test_a_mini_of_your_own_loads_by_its_path(saved):
    encoder = load_encoder(str(saved))
    assert (encoder.name, encoder.recipe) == ("tiny", {"seed": 0})


@pytest.mark.parametrize("other", [None, "", "mini-single"])
def test_the_cast_is_the_two_minis(monkeypatch, other):
    monkeypatch.delenv("GEOCLIP_ENCODER", raising=False)
    if other is not None:
        monkeypatch.setenv("GEOCLIP_ENCODER", other)
    assert [*encoders.cast()] == ["mini-single", "mini-pairs"]
    assert [*encoders.cast("mini-things")] == ["mini-things", *filter(None, [other])]
    assert encoders.main_encoder().name == (other or "mini-pairs")


def test_another_encoder_joins_the_cast_with_a_store(monkeypatch, saved, tmp_path):
    monkeypatch.setenv("GEOCLIP_ENCODER", str(saved))
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path / "store"))
    cast = encoders.cast()
    assert [*cast] == ["mini-single", "mini-pairs", "tiny"]
    assert [isinstance(encoder, Stored) for encoder in cast.values()] == [False, False, True]
    assert isinstance(encoders.main_encoder(), Stored)
    assert encoders.main_encoder().name == "tiny"


# --- templates ------------------------------------------------------------------------------------


def test_templates_are_averaged_and_scaled_to_unit_length(untrained):
    phrases, templates = ["red star", "blue circle"], ["{}", "a {}", "{}, {}".replace("{}", "star", 1)]
    vectors = encode_with_templates(untrained, phrases, templates)
    for vector, phrase in zip(vectors, phrases, strict=True):
        mean = sum(untrained.encode_texts([t.format(phrase)])[0] for t in templates)
        assert torch.allclose(vector, mean / mean.norm(), atol=1e-6)
    alone = encode_with_templates(untrained, phrases, ["{}"])
    assert torch.allclose(alone, untrained.encode_texts(phrases), atol=1e-6)
    assert encode_with_templates(untrained, [], templates).shape == (0, 128)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_the_minis_know_every_word_of_their_templates(name):
    encoder = load_encoder(name)
    own = encode_with_templates(encoder, ["red star"])
    assert torch.equal(own, encode_with_templates(encoder, ["red star"], ("{}", "a photo of a {}")))


def test_every_template_has_one_place():
    assert all(template.count("{}") == 1 for template in CLIP_TEMPLATES)


@pytest.mark.parametrize(
    ("phrases", "templates", "error", "said"),
    [
        (["star"], [], ValueError, "templates must not be empty"),
        (["star"], ["{}", "a photo"], ValueError, "'a photo' must hold \"{}\" once"),
        (["star"], ["{} and {}"], ValueError, 'must hold "{}" once'),
        (["star"], "a {}", TypeError, "templates must be a list of strings"),
        ("star", ["{}"], TypeError, "phrases must be a list of strings"),
        (["star", ""], ["a {}"], ValueError, "phrases holds a text without words"),
    ],
)
def test_templates_and_phrases_that_make_no_sense_are_refused(untrained, phrases, templates, error, said):
    with pytest.raises(error, match=said):
        encode_with_templates(untrained, phrases, templates)
