"""One rule says what of a text is words: punctuation never changes a vector, nor the phrases of a query."""

import re
import string

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoclip_lite import regions
from geoclip_lite.encoders import Stored, TextWarning, load_encoder, shipped
from geoclip_lite.encoders.diets import DIETS, draw_caption, draw_scene
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.pipeline import phrases_of
from geoclip_lite.words import readable, words_of

PLAIN = "a red cube and a blue sphere"
SAME = [  # as PLAIN
    "a red cube and a blue sphere.",
    "A Red CUBE and a blue sphere!?",
    '"a red cube" and "a blue sphere"',
    "“a red cube” and ‘a blue sphere’",
    "'a red cube' and 'a blue sphere'",
    "«a red cube» and „a blue sphere“",
    "(a red cube) and [a {blue} sphere];",
    "a red cube... and a blue sphere…",
    "— a red cube – and a blue sphere: ",
    "a red cube and a blue sphere,",
    ",, a red cube and a blue sphere , ,",
    "a red cube and a blue sphere。",
    "a red cube and a blue sphere؟",
    "ａ ｒｅｄ cube and a blue sphere．",
    "a\u00a0red\u2003cube\nand\u200ba blue sphere",
    "\ufeffa r\u00aded cu\u200dbe and a blue\u2060 sphere\ufe0f",
    "* a `red` cube and | a <blue> ~sphere~ *",
    "a red cube and a blue sphere \x00\x07",
    "a red cube® and a blue sphere™ © ¦",
]
WITHIN = ["a red-cube and a blue-sphere", "a red/cube and a blue_sphere", "a red cube's and a blue sphere’s"]
WITHIN += ["a red—cube and a blue...sphere", "a red+cube and a blue\x00sphere"]
LIST = "red circle, blue star"
SAME_LIST = [
    "red circle,blue star",
    "red circle ,, blue star",
    "red circle， blue star",
    "red circle、blue star",
]
SAME_LIST += [
    "red circle، blue star.",
    "(red circle), blue star;",
    '"red circle," "blue star,"',
    ", red circle, . , blue star",
]

MARKS = string.punctuation.replace(",", "") + "…—–«»“”‘’·•¿¡。！？：；\u00a0\u200b\u2060"


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini-pairs", device="cpu")


# --- the minis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*SAME, *WITHIN])
def test_punctuation_never_changes_what_a_mini_reads(encoder, text):
    assert encoder.tokenizer([text]).tolist() == encoder.tokenizer([PLAIN]).tolist()


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("name", list(shipped()))
def test_no_mark_at_the_end_or_beginning_is_a_word(name, mark):
    tokenizer = load_encoder(name, device="cpu").tokenizer
    word = next(word for word in tokenizer.words if len(word) > 2)
    expected = tokenizer([word]).tolist()
    assert tokenizer([f"{word}{mark}"]).tolist() == expected
    assert tokenizer([f"{mark}{word} {mark}"]).tolist() == expected


@pytest.mark.parametrize("text", SAME_LIST)
def test_commas_that_divide_nothing_say_nothing(encoder, text):
    assert encoder.tokenizer([text]).tolist() == encoder.tokenizer([LIST]).tolist()
    assert not torch.equal(*encoder.encode_texts([LIST, LIST.replace(",", "")])), "but others are read"


def test_a_mini_that_never_saw_a_comma_passes_it_over():
    tokenizer = load_encoder("mini-things", device="cpu").tokenizer
    assert tokenizer(["open box, lamp"]).tolist() == tokenizer(["open box lamp"]).tolist()


@pytest.mark.parametrize("name", list(DIETS))
def test_trained_captions_keep_their_ids(name):
    """The rule by which the shipped weights were trained: blanks divide words, a comma is one."""
    diet, tokenizer = DIETS[name], load_encoder(name, device="cpu").tokenizer
    rng = np.random.default_rng(0)
    scenes = [(world, draw_scene(world, diet, rng)) for world in diet.worlds for _ in range(200)]
    captions = [draw_caption(scene, world, diet, rng) for world, scene in scenes for _ in range(10)]
    captions += [scene.caption for _, scene in scenes]
    for caption, ids in zip(captions, tokenizer(captions).tolist(), strict=True):
        words = [tokenizer.ids[word] for word in re.findall(r"[^\s,]+|,", caption.lower())]
        assert ids[1 : len(words) + 1] == words
        assert ids[len(words) + 1] == tokenizer.end


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_what_is_read_is_read_again_as_the_same(text):
    words = words_of(text)
    assert words_of(readable(text)) == words
    assert words_of(text + ".") == words
    assert words_of(f"( {text} )") == words
    assert words_of(" ".join(words)) == words
    assert words[:1] != [","] != words[-1:]


def test_composed_letters_are_one_letter():
    assert words_of("rose\u0301") == words_of("ros\u00e9") == ["ros\u00e9"]
    assert words_of("हिन्दी 赤い 2.") == ["हिन्दी", "赤い", "2"]


def test_what_means_something_is_an_unknown_word(encoder):
    with pytest.warns(TextWarning, match="never saw: ☕, 🟥"):
        ids = encoder.tokenizer(["red cube 🟥", "red cube☕\ufe0f"])
    assert ids[0].tolist() == ids[1].tolist() != encoder.tokenizer(["red cube"])[0].tolist()


def test_as_many_words_are_read_as_there_is_room_for(encoder):
    read, room = encoder.tokenizer, encoder.tokenizer.room
    full = read(["red " * (room - 1) + "blue"])
    assert full.shape[1] == read.context_length
    assert (full == read.ids["blue"]).sum() == 1
    with pytest.warns(TextWarning, match=f"1 of 1 texts cut to {room} words"):
        assert torch.equal(read(["red " * (room - 1) + "blue cube"]), full)


def test_warnings_of_unknown_words_are_capped(encoder):
    with pytest.warns(TextWarning) as caught:
        encoder.encode_texts([" ".join(f"w{i}" for i in range(500)), "x" * 5000])
    assert max(len(str(warning.message)) for warning in caught) < 250
    assert any("496 more" in str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    "text", ["...", "!?", ",", ", ,", "—", "()", "\u200b", "\ufeff", "\u00a0", "' '", "。、"]
)
def test_punctuation_alone_is_a_text_without_words(encoder, tmp_path, text):
    for encode in (encoder.encode_texts, Stored(encoder, tmp_path).encode_texts, encoder.tokenizer):
        with pytest.raises(ValueError, match="texts"):
            encode(["red", text])
    with pytest.raises(ValueError, match="phrases"):
        encode_with_templates(encoder, [text])


# --- phrases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SAME)
def test_punctuation_never_changes_phrases(text):
    phrases = [phrase.lower() for phrase in phrases_of(text)]
    assert phrases == ["red cube", "blue sphere"]
    assert [phrase.lower() for phrase in regions.listed_phrases(f"a photo of {text.strip(' ,')}")] == phrases


@pytest.mark.parametrize("text", SAME_LIST)
def test_lists_are_divided_by_every_comma(text):
    assert phrases_of(text) == ["red circle", "blue star"]


@pytest.mark.parametrize("end", [".", "!", "…", "”", ","])
def test_a_query_that_is_no_list_is_one_phrase_without_its_end(end):
    assert phrases_of(f"a cube on a sphere{end}") == ["a cube on a sphere"]


def test_marks_within_words_stay_in_phrases_for_encoders_that_read_them():
    assert phrases_of("a T-shirt, (a woman's hat).") == ["T-shirt", "woman's hat"]
