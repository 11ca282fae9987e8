"""The playground: its search against the rooms it is made of, and its widget without a browser."""

import threading
from functools import partial

import pytest
import torch
from near_ties import assert_same_ranking
from PIL import Image
from traitlets import TraitError

from geoclip_lite import answers, regions, steering, widgets
from geoclip_lite.datasets import clevr_like, shapes, things
from geoclip_lite.datasets.folder import LeftOutWarning
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.widgets import Bench, Match, Playground, Question, World, search
from geoclip_lite.widgets.bench import BLOCK
from geoclip_lite.widgets.html import problem_html
from geoclip_lite.widgets.search import CANDIDATES, SHOWN

SHAPES = World(lambda: shapes.compositions()[::100], example="red circle, blue star, green square")
CLEVR = World(
    partial(clevr_like.evaluation_scenes, 30),
    held_out=partial(clevr_like.validation_scenes, 20),
    example="a photo of a large red rubber sphere and a small blue metal cube",
)
THINGS = World(lambda: things.references(), minis=("mini-things",), example="closed box")
WORLDS = {"Shapes": SHAPES, "things": THINGS}
QUERY = "red circle, blue star, green square"


@pytest.fixture(autouse=True)
def _minis_only(monkeypatch):
    """Whatever the environment names would be a further encoder of every world."""
    monkeypatch.delenv("GEOCLIP_ENCODER", raising=False)


@pytest.fixture(scope="module")
def bench():
    return Bench(SHAPES, load_encoder("mini-pairs"))


@pytest.fixture(scope="module")
def clevr():
    return Bench(CLEVR, load_encoder("mini-single"))


# --- search, against the rooms --------------------------------------------------------------------


def test_a_plain_search_is_the_shortlist(bench):
    gallery = Gallery.of_images(bench.encoder, bench.scenes)
    found = search(bench, Question(QUERY))
    assert_same_ranking(found.ranking, shortlist(bench.encoder.encode_texts([QUERY]), gallery, CANDIDATES))
    assert found.captions == tuple(bench.scenes[i].caption for i in found.ranking.indices[0, :SHOWN])
    assert not found.notes
    assert not found.matches


def test_a_small_gallery_is_returned_whole(clevr):
    assert search(clevr, Question(CLEVR.example)).ranking.k == len(clevr.scenes) < CANDIDATES


def test_a_steered_search_is_that_of_the_steering_room(bench):
    query = bench.encoder.encode_texts([QUERY])
    encode = partial(encode_with_templates, bench.encoder)
    frames = [f"{{}} {noun}" for noun in shapes.SHAPES]
    direction = steering.concept_direction(encode, ["red"], ["yellow"], frames)
    [(_, expected)] = steering.steered_rankings(query, direction, bench.gallery, [0.7], CANDIDATES)
    found = search(bench, Question(QUERY, source="red", target="yellow", strength=0.7))
    assert_same_ranking(found.ranking, expected)
    assert not torch.equal(found.ranking.indices, search(bench, Question(QUERY)).ranking.indices)


def test_words_stand_in_the_frames_that_they_share(bench, clevr):
    assert bench.frames("red", "blue") == sorted(f"{{}} {noun}" for noun in shapes.SHAPES)
    assert bench.frames("star", "circle") == sorted(f"{colour} {{}}" for colour in shapes.COLOURS)
    assert bench.frames("red", "circle") == ["{}"]
    assert all("{}" in frame and "red" not in frame for frame in clevr.frames("red", "blue"))


def test_strength_0_is_the_plain_search(bench):
    still = search(bench, Question(QUERY, source="red", target="blue", strength=0))
    assert_same_ranking(still.ranking, search(bench, Question(QUERY)).ranking)


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_a_reranked_search_is_that_of_the_regions_room(bench, weight):
    first = shortlist(bench.encoder.encode_texts([QUERY]), bench.gallery, CANDIDATES)
    pictures = [scene.image(64) for scene in bench.scenes]
    seen = regions.value_regions(bench.encoder, pictures, refine=4, window=3)
    phrases = regions.phrase_sets([QUERY], partial(encode_with_templates, bench.encoder))
    expected = regions.mix(regions.rerank(first, phrases, seen), first, weight)
    assert_same_ranking(search(bench, Question(QUERY, "objects", weight)).ranking, expected)


def test_a_world_with_held_out_scenes_is_centred_by_them(clevr):
    encode = partial(encode_with_templates, clevr.encoder)
    held_out = clevr_like.validation_scenes(20)
    look = partial(regions.value_regions, clevr.encoder, refine=4, window=3)
    seen, known = (look([s.image(64) for s in some]) for some in (clevr.scenes, held_out))
    means = regions.phrase_sets([s.caption for s in held_out], encode).vectors
    centring = regions.Centring.fit(means, known)
    phrases = centring.phrase_sets(regions.phrase_sets([CLEVR.example], encode))
    first = shortlist(clevr.encoder.encode_texts([CLEVR.example]), clevr.gallery, len(clevr.scenes))
    expected = regions.mix(regions.rerank(first, phrases, centring.regions(seen)), first, 0.2)
    assert_same_ranking(search(clevr, Question(CLEVR.example, "objects", 0.2)).ranking, expected)


@pytest.mark.parametrize("which", ["bench", "clevr"])
def test_matches_are_the_pairs_behind_the_score(which, request):
    bench = request.getfixturevalue(which)
    text = bench.world.example
    found = search(bench, Question(text, "objects", weight=0.0))
    assert [match.phrase for match in found.matches] == regions.listed_phrases(text)
    mean = sum(match.cosine for match in found.matches) / len(found.matches)
    assert mean == pytest.approx(float(found.ranking.scores[0, 0]), abs=1e-5)
    assert len({match.box for match in found.matches}) == len(found.matches)


def test_a_place_is_called_as_the_pipeline_calls_it():
    for box in ((0, 0, 0.3, 0.3), (0.3, 0.3, 0.7, 0.7), (0.35, 0, 0.65, 0.3), (0.7, 0.7, 1, 1)):
        assert Match("", box, 1).place == answers.place(box)
    assert Match("", (0.3, 0.3, 0.7, 0.7), 1).place == "in the middle"


@pytest.mark.filterwarnings("error")
def test_unknown_words_become_notes(bench):
    found = search(bench, Question("red frob, blue star", "objects"))
    assert found.notes == ("words this encoder never saw: frob",)
    assert search(bench, Question("red frob, blue star", "objects")).notes == found.notes


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("  "), "type what you look for"),
        (Question(QUERY, source="red"), "name both words"),
        (Question(QUERY, source="red", target="red", strength=1.0), "share the word 'red'"),
        (Question(QUERY, source="red", target="mauve"), "never saw: mauve"),
        (Question(QUERY, source="red", target="blue", strength=float("nan")), "strength must be finite"),
        (Question("a star on a circle", "objects"), "no list of objects"),
        (Question(QUERY, "objects", weight=2.0), "weight must be 0"),
        (Question(QUERY, "oracle"), "reranker must be one of none, objects, got 'oracle'"),
    ],
)
def test_what_cannot_be_answered_is_refused(bench, question, message):
    with pytest.raises(ValueError, match=message):
        search(bench, question)


@pytest.mark.parametrize("name", ["Shapes", "CLEVR-like"])
def test_the_gallery_holds_its_example(name):
    world = widgets.WORLDS[name]
    captions = {scene.caption for scene in world.scenes()}
    assert world.example in captions
    if name == "Shapes":  # the notebook asks for the exchange
        assert "green star, orange circle, yellow hexagon" in captions


# --- long work ------------------------------------------------------------------------------------


def test_stopped_work_goes_on_where_it_stopped():
    bench = Bench(SHAPES, load_encoder("mini-pairs"))
    n = len(bench.scenes)
    assert next(bench.prepare()) == ("encoding pictures", BLOCK, n)
    assert not bench.is_ready("none")
    rest = list(bench.prepare())
    assert rest[0] == ("encoding pictures", 2 * BLOCK, n)
    assert rest[-1] == ("encoding pictures", n, n)
    assert bench.is_ready("none")
    assert not bench.is_ready("objects")
    assert next(bench.prepare("objects")) == ("looking for objects", BLOCK, n)
    assert list(bench.prepare("objects"))[-1] == ("looking for objects", n, n)
    assert bench.is_ready("objects")
    assert list(bench.prepare("objects")) == []
    assert len(bench.thumbnails) == n


# --- the widget -----------------------------------------------------------------------------------


@pytest.fixture
def play():
    """A playground that shows the Shapes by mini-pairs."""
    shown = Playground(WORLDS, encoder="mini-pairs")
    shown.wait()
    return shown


def test_it_begins_with_the_example_and_every_picture_has_an_alt(play):
    assert play.text.value == QUERY
    assert play.strip.value.count("<img") == play.strip.value.count('alt="') == SHOWN
    assert play.found.captions[0] in play.strip.value
    assert "best score" in play.numbers.value
    assert play.work.layout.display == "none"
    assert not play.note.value


def test_every_control_is_labelled(play):
    assert all(getattr(play, name).description for name in play.CONTROLS)
    assert play.stop.description


def test_controls_change_what_is_shown(play):
    seen = {play.strip.value}
    for name, value in [
        ("text", "yellow star"),
        ("encoder", "mini-single"),
        ("reranker", "objects"),
        ("weight", 0.5),
    ]:
        getattr(play, name).value = value
        play.wait()
        assert play.strip.value not in seen
        seen.add(play.strip.value)
    assert not play.note.value


def test_a_slider_steers(play, bench):
    play.source.value, play.target.value = "red", "yellow"
    before = play.strip.value, play.numbers.value
    play.strength.value = 0.7
    assert play.strip.value != before[0]
    assert "captions say <i>yellow</i>" in play.numbers.value
    assert_same_ranking(
        play.found.ranking, search(bench, Question(QUERY, "none", 0.2, "red", "yellow", 0.7)).ranking
    )
    assert "red" in play.source.options


def test_matched_objects_are_drawn_and_said(play):
    assert play.matches.value == ""
    play.reranker.value = "objects"
    play.wait()
    drawn = play.matches.value
    assert drawn.count("<rect") == 2 * len(play.found.matches) == 6
    for match in play.found.matches:
        assert drawn.count(f"{match.phrase}: {match.place}") == 2  # in the label and in the list


def test_problems_are_shown_and_pass(play):
    play.text.value = ""
    assert 'role="alert"' in play.note.value
    assert "type what you look for" in play.note.value
    assert play.strip.value == play.numbers.value == ""
    play.text.value = "red frob"
    assert "never saw: frob" in play.note.value
    assert play.strip.value
    play.source.value = "red"
    assert "name both words" in play.note.value
    play.target.value = "red"
    assert "equal poles" in play.note.value
    play.target.value = "blue"
    play.text.value = "red star"
    assert not play.note.value
    assert play.strip.value


def test_what_is_typed_is_never_markup(play):
    play.reranker.value = "objects"
    play.wait()
    play.text.value = "red<b>star</b>, <i>blue</i> circle"
    shown = play.note.value + play.strip.value + play.numbers.value + play.matches.value
    assert "<b>star" not in shown
    assert "red&lt;b&gt;star" in play.matches.value


def test_another_world_brings_its_words_and_encoders(play):
    play.source.value, play.target.value = "red", "blue"
    play.world.value = "things"
    play.wait()
    assert (play.encoder.value, play.text.value) == ("mini-things", "closed box")
    assert (play.source.value, play.target.value) == ("", "")
    assert "open" in play.source.options
    assert "box" in play.found.captions[0]
    play.world.value = "Shapes"
    play.wait()
    assert play.encoder.value in ("mini-single", "mini-pairs")
    assert not play.note.value


@pytest.fixture
def gated():
    """A world whose picture number 2 blocks waits for the event, and the event."""
    gate, scenes = threading.Event(), shapes.compositions()[::100]
    late = scenes[2 * BLOCK - 1]

    def draw(size):
        assert gate.wait(30)
        return late.draw(size)

    scenes[2 * BLOCK - 1] = shapes.Scene(late.image_id, late.caption, late.objects, draw)
    return World(lambda: scenes, example=QUERY), gate


def test_work_shows_progress_and_can_be_stopped(gated):
    world, gate = gated
    play = Playground({"Shapes": world})
    assert play.work.layout.display == ""
    play.stop.click()
    gate.set()
    play.wait()
    assert play.work.layout.display == "none"
    assert "Stopped" in play.note.value
    assert play.found is None
    play.text.value = "red star"
    play.wait()
    assert play.found
    assert not play.note.value
    assert play.progress.value == play.progress.max == len(world.scenes())


def test_a_question_after_the_stop_is_answered(gated):
    world, gate = gated
    play = Playground({"Shapes": world})
    play.stop.click()
    play.text.value = "red star"
    gate.set()
    play.wait()
    assert play.found
    assert not play.note.value


def test_the_newest_question_is_answered(gated):
    world, gate = gated
    play = Playground({"Shapes": world})
    play.text.value = "red star"
    play.text.value = "yellow hexagon"
    gate.set()
    play.wait()
    assert_same_ranking(
        play.found.ranking, search(play._benches["Shapes", "mini-single"], Question("yellow hexagon")).ranking
    )


def test_another_world_may_be_chosen_while_work_is_under_way(gated):
    world, gate = gated
    play = Playground({"slow": world, "things": THINGS})
    play.world.value = "things"
    gate.set()
    play.wait()
    assert "box" in play.found.captions[0]
    assert not play.note.value


# --- your own -------------------------------------------------------------------------------------


def test_a_folder_of_pictures_is_a_world(tmp_path):
    for scene in shapes.references():
        scene.image(80).resize((120, 80)).save(tmp_path / f"{scene.caption}.png")
    play = Playground({"mine": World.of_folder(tmp_path, example="red star")}, reranker="objects")
    play.wait()
    assert "red star" in play.found.captions
    assert play.matches.value
    assert play.source.options == ()


def test_a_folder_that_is_missing_or_broken_is_shown(tmp_path):
    play = Playground({"mine": World.of_folder(tmp_path / "nowhere", example="red star")})
    play.wait()
    assert "there is no folder" in play.note.value
    assert "Traceback" not in play.note.value
    (tmp_path / "nowhere").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "nowhere" / "black.png")
    play.text.value = "red circle"
    play.wait()
    assert play.found.captions == ("black",)


def test_damaged_pictures_of_a_folder_can_be_skipped(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    (tmp_path / "cut off.png").write_bytes((tmp_path / "black.png").read_bytes()[:-30])
    with pytest.warns(LeftOutWarning, match="cut off"):
        scenes = World.of_folder(tmp_path, damaged="skip").scenes()
    assert [scene.image_id for scene in scenes] == ["black.png"]


def test_the_encoder_of_the_environment_is_offered_too(monkeypatch):
    monkeypatch.setenv("GEOCLIP_ENCODER", "mini-pairs")
    play = Playground({"things": THINGS}, encoder="mini-pairs")
    play.wait()
    assert play.encoder.options == ("mini-things", "mini-pairs")
    assert "never saw" in play.note.value


def test_an_encoder_that_does_not_exist_is_shown(monkeypatch):
    monkeypatch.setenv("GEOCLIP_ENCODER", "mini-pears")
    play = Playground(WORLDS)
    play.wait()
    assert "there is no encoder" in play.note.value
    assert "Traceback" not in play.note.value


def test_a_fault_is_shown_with_its_traceback():
    try:
        raise RuntimeError("out of <cheese>")
    except RuntimeError as problem:
        shown = problem_html(problem)
    assert "out of &lt;cheese&gt;" in shown
    assert "Traceback" in shown


def test_a_control_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="no control 'query'; there are world, encoder, text"):
        Playground(WORLDS, query="red star")
    with pytest.raises(TraitError):
        Playground(WORLDS, world="nowhere")
    with pytest.raises(TraitError):
        Playground(WORLDS, encoder="mini-things")
