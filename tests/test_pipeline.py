"""The pipeline: what it finds is what its parts find by themselves, and it can say why."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from near_ties import assert_same_ranking
from PIL import Image
from scipy.optimize import linear_sum_assignment

from geoclip_lite import answers, regions, steering
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import TextWarning, load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.index import BadFilterError, BadInputError, DamagedError, MismatchError, field
from geoclip_lite.pipeline import Pipeline, Push, Settings
from geoclip_lite.regions import Centring
from geoclip_lite.retrieval import Gallery, Ranking, shortlist

SCENES = shapes.evaluation_scenes()[:60]
IDS = [scene.image_id for scene in SCENES]
PICTURES = [scene.image(64) for scene in SCENES]
COUNTS = [len(scene.objects) for scene in SCENES]
SETTINGS = Settings(candidates=20)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini-pairs", device="cpu")


@pytest.fixture(scope="module")
def centring(encoder):
    held_out = shapes.validation_scenes()[:20]
    cut = regions.value_regions(encoder, [s.image(64) for s in held_out], refine=4, window=3, progress=False)
    phrases = regions.phrase_sets([s.caption for s in held_out], partial(encode_with_templates, encoder))
    return Centring.fit(phrases.vectors, cut)


def filled(folder, encoder, **options):
    made = Pipeline(encoder, folder, fields={"objects": int, "shop": str}, settings=SETTINGS, **options)
    if not len(made):
        made.add(IDS, PICTURES, {"objects": COUNTS, "shop": ["a", "b"] * 30})
    return made


@pytest.fixture(scope="module")
def ready(encoder, centring, tmp_path_factory):
    with filled(tmp_path_factory.mktemp("pipeline"), encoder, centring=centring) as made:
        yield made


def ranking_of(answer, score):
    """An answer as a ranking of SCENES by one of its scores."""
    indices = torch.tensor([[IDS.index(result.id) for result in answer.results]])
    return Ranking(indices, torch.tensor([[getattr(result, score) for result in answer.results]]), len(IDS))


# --- what it finds --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 17, 59])
def test_it_finds_what_its_parts_find(ready, encoder, centring, number):
    query, gallery = SCENES[number].caption, Gallery.of_images(encoder, SCENES)
    first = shortlist(encoder.encode_texts([query]), gallery, SETTINGS.candidates)
    cut = regions.value_regions(encoder, PICTURES, refine=4, window=3, progress=False)
    asked = centring.phrase_sets(regions.phrase_sets([query], partial(encode_with_templates, encoder)))
    matched = regions.rerank(first, asked, centring.regions(cut), SETTINGS.matcher)
    wanted = regions.mix(matched, first, SETTINGS.weight)
    answer = ready.search(query, k=10)
    assert_same_ranking(ranking_of(answer, "score"), wanted.top(10), atol=1e-4)
    places = {IDS[i]: place for place, i in enumerate(first.indices[0].tolist(), start=1)}
    assert [result.first_rank for result in answer.results] == [places[r.id] for r in answer.results]


def test_matches_explain_the_score(ready):
    for result in ready.search(SCENES[3].caption, k=5).results:
        mean = sum(match.cosine for match in result.matches) / len(result.matches)
        blend = (1 - SETTINGS.weight) * mean + SETTINGS.weight * result.cosine
        assert blend == pytest.approx(result.score, abs=1e-4)
        assert len({match.box for match in result.matches}) == len(result.matches), "no window is taken twice"


def test_the_right_picture_is_explained_by_where_its_objects_are(ready):
    inside = total = 0
    for scene in SCENES[:20]:
        answer = ready.search(scene.caption, k=20)
        [found] = [result for result in answer.results if result.id == scene.image_id] or [None]
        places = {thing.phrase: thing.position for thing in scene.objects}
        for match in found.matches if found else ():
            x, y = places[match.phrase]
            inside += match.box[0] <= x <= match.box[2] and match.box[1] <= y <= match.box[3]
            total += 1
    assert total > 30
    assert inside / total > 0.8


def test_a_filter_holds_and_lists_are_full(ready):
    answer = ready.search(SCENES[0].caption, k=20, where=field("shop") == "b")
    assert len(answer.results) == 20
    assert {result.fields["shop"] for result in answer.results} == {"b"}


def test_a_filter_that_nothing_passes_finds_nothing(ready):
    assert ready.search("red circle", where=field("shop") == "c").results == ()


def test_every_stage_is_timed(ready):
    seconds = ready.search("red circle").seconds
    assert list(seconds) == ["encode text", "index", "rerank", "explain"]
    assert min(seconds.values()) >= 0


def test_a_query_that_is_no_list_is_one_phrase(ready):
    answer = ready.search("star of circle")
    assert answer.phrases == ("star of circle",)
    assert len(answer.results[0].matches) == 1


def test_more_phrases_than_windows_leave_some_alone(ready):
    with pytest.warns(TextWarning, match="cut"):
        answer = ready.search(", ".join(["red circle"] * 40), k=1)
    assert len(answer.results[0].matches) == len(ready.boxes)


def test_assigned_windows_are_scipys():
    cosines = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    rows, columns = linear_sum_assignment(-cosines.numpy())
    assert answers.assigned(cosines).tolist() == columns[rows.argsort()].tolist()
    assert sorted(answers.assigned(cosines.T).tolist())[:2] == [-1, -1]


# --- asked otherwise ------------------------------------------------------------------------------


def test_settings_of_one_search_are_its_own(ready):
    query = SCENES[3].caption
    plain = ready.search(query, 20, settings=replace(SETTINGS, weight=1.0))
    assert [result.first_rank for result in plain.results] == list(range(1, 21))
    shared = ready.search(query, 20, settings=replace(SETTINGS, matcher="max-sim", weight=0.0))
    for result in shared.results:
        mean = sum(match.cosine for match in result.matches) / len(result.matches)
        assert mean == pytest.approx(result.score, abs=1e-4)
    assert len(ready.search(query, 5, settings=replace(SETTINGS, candidates=5)).results) == 5
    with pytest.raises(BadInputError, match="windows 3 at 4, got windows 2 at 4"):
        ready.search(query, settings=replace(SETTINGS, window=2))
    with pytest.raises(ValueError, match="weight must be 0"):
        ready.search(query, settings=replace(SETTINGS, weight=2.0))


def test_a_push_is_chapter_eights_step(ready, encoder):
    query, gallery = SCENES[3].caption, Gallery.of_images(encoder, SCENES)
    direction = steering.concept_direction(partial(encode_with_templates, encoder), ["red"], ["blue"])
    moved = steering.steer(encoder.encode_texts([query]), direction, 0.7)
    wanted = shortlist(moved, gallery, 10)
    push = Push("red", "blue", 0.7)
    answer = ready.search(query, 10, settings=replace(SETTINGS, weight=1.0), push=push)
    assert_same_ranking(ranking_of(answer, "cosine"), wanted, atol=1e-4)
    still = ready.search(query, 10, push=replace(push, strength=0.0))
    assert still.results == ready.search(query, 10).results


@pytest.mark.parametrize(
    ("push", "problem"),
    [
        (Push("", "blue", 1.0), "push.source must be a text"),
        (Push("red", None, 1.0), "push.target must be a text"),
        (Push("red", "red", 1.0), "the same mean"),
        (Push("red", "blue", float("nan")), "strength must be finite"),
    ],
)
def test_a_push_that_leads_nowhere_is_refused(ready, push, problem):
    with pytest.raises(ValueError, match=problem):
        ready.search("red circle", push=push)


def test_a_picture_finds_what_its_vector_finds(ready, encoder):
    wanted = shortlist(encoder.encode_images(PICTURES[5:6]), Gallery.of_images(encoder, SCENES), 10)
    answer = ready.search_picture(PICTURES[5], k=10)
    assert_same_ranking(ranking_of(answer, "score"), wanted, atol=1e-4)
    assert answer.results[0].id == IDS[5]
    assert answer.results[0].score == pytest.approx(1, abs=1e-4)
    assert all(result.matches == () and result.id in result.explain() for result in answer.results)
    in_b = ready.search_picture(PICTURES[5], k=10, where=field("shop") == "b")
    assert {result.fields["shop"] for result in in_b.results} == {"b"}
    with pytest.raises(BadInputError, match="k must be"):
        ready.search_picture(PICTURES[5], k=0)


def test_more_like_one_is_what_its_picture_finds_but_itself(ready):
    wanted = ready.search_picture(PICTURES[5], k=11)
    answer = ready.search_like(IDS[5], k=10)
    assert [r.id for r in answer.results] == [r.id for r in wanted.results if r.id != IDS[5]]
    assert [result.first_rank for result in answer.results] == list(range(1, 11))
    in_b = ready.search_like(IDS[5], k=10, where=field("shop") == "b")
    assert {result.fields["shop"] for result in in_b.results} == {"b"}
    with pytest.raises(KeyError):
        ready.search_like("nowhere")


def test_a_focus_is_nearer_to_the_object_than_its_window(ready):
    """Their mean distance from the object's middle: between windows there is room for half of it."""
    off = {"box": [], "focus": []}
    for scene in SCENES:
        [found] = [r for r in ready.search(scene.caption, k=20).results if r.id == scene.image_id] or [None]
        places = {thing.phrase: thing.position for thing in scene.objects}
        for match in found.matches if found and len(places) == 3 else ():
            for name, distances in off.items():
                left, top, right, bottom = getattr(match, name)
                x, y = places[match.phrase]
                distances.append(math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y))
    assert len(off["box"]) > 100
    assert sum(off["focus"]) < 0.6 * sum(off["box"])


def test_a_focus_stays_near_its_window_and_within_the_picture():
    boxes = regions.tokens.window_boxes(8, 8, 3)
    cosines = torch.rand(36, 36, generator=torch.Generator().manual_seed(0))
    focus = answers.focused(boxes, cosines, torch.arange(36))
    assert ((focus - boxes).abs() <= 0.25 + 1e-6).all()
    assert 0 <= focus.min() <= focus.max() <= 1
    torch.testing.assert_close(focus[:, 2:] - focus[:, :2], boxes[:, 2:] - boxes[:, :2])
    even = answers.focused(boxes, torch.zeros(1, 36), torch.tensor([14]))
    torch.testing.assert_close(even[0], boxes[14], msg="equal cosines in the middle move nothing")


# --- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 0.3, 0.3), "top left"),
        ((0.7, 0.7, 1, 1), "bottom right"),
        ((0.35, 0.35, 0.65, 0.65), "in the middle"),
        ((0.35, 0, 0.65, 0.3), "top"),
        ((0, 0.35, 0.3, 0.65), "left"),
    ],
)
def test_places_have_names(box, words):
    assert answers.place(box) == words


def test_a_result_can_be_told_and_drawn(ready):
    [result] = ready.search(SCENES[0].caption, k=1).results
    said = result.explain()
    assert result.id in said
    assert all(match.phrase in said for match in result.matches)
    picture = Image.new("RGB", (200, 100), "white")
    drawn = result.draw(picture)
    assert drawn.size == picture.size
    assert picture.getcolors() == [(20000, (255, 255, 255))], "the picture itself stays as it is"
    assert all(drawn.getpixel((x, 50)) == (255, 255, 255) for x in (10, 190)), (
        "frames lie in the middle square"
    )
    assert len(drawn.getcolors()) == 1 + len(result.matches)


# --- what goes in ---------------------------------------------------------------------------------


def test_it_is_there_when_opened_again(encoder, centring, tmp_path):
    with filled(tmp_path, encoder, centring=centring) as made:
        before = made.search(SCENES[5].caption).results
    with Pipeline(encoder, tmp_path, settings=SETTINGS, centring=centring) as made:
        assert len(made) == len(SCENES)
        made.verify()
        assert made.search(SCENES[5].caption).results == before


def test_adding_an_id_again_replaces_it_and_deleting_takes_it_out(encoder, tmp_path):
    with filled(tmp_path, encoder) as made:
        made.add(IDS[:1], PICTURES[1:2], {"objects": [7], "shop": ["z"]})
        assert len(made) == len(SCENES)
        assert IDS[0] in [r.id for r in made.search(SCENES[1].caption, k=2).results]
        made.delete(IDS[:2])
        assert len(made) == len(SCENES) - 2
        assert not {*IDS[:2]} & {r.id for r in made.search(SCENES[1].caption, k=20).results}


def test_windows_that_were_cut_otherwise_are_refused(encoder, tmp_path):
    filled(tmp_path, encoder).close()
    with pytest.raises(MismatchError):
        Pipeline(encoder, tmp_path, settings=Settings(refine=2, window=2))
    with pytest.raises(MismatchError, match="encoder"):
        Pipeline(load_encoder("mini-single", device="cpu"), tmp_path, settings=SETTINGS)


def test_a_damaged_file_is_noticed(encoder, tmp_path):
    filled(tmp_path, encoder).close()
    largest = max((path for path in tmp_path.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    largest.write_bytes(content)
    with Pipeline(encoder, tmp_path, settings=SETTINGS) as made, pytest.raises(DamagedError):
        made.verify()


def test_without_windows_whole_pictures_are_searched(encoder, tmp_path):
    with Pipeline(encoder, tmp_path, settings=Settings(windows=False)) as made:
        made.add(IDS, PICTURES)
        wanted = shortlist(encoder.encode_texts([SCENES[3].caption]), Gallery.of_images(encoder, SCENES), 10)
        answer = made.search(SCENES[3].caption)
        assert_same_ranking(ranking_of(answer, "score"), wanted, atol=1e-4)
        assert not any(result.matches for result in answer.results)
    with pytest.raises(MismatchError, match="encoder"):
        Pipeline(encoder, tmp_path)


@pytest.mark.parametrize("query", ["", "  ", None, 3, "x" * 2001])
def test_queries_without_sense_are_refused(ready, query):
    with pytest.raises(BadInputError, match="query must"):
        ready.search(query)


@pytest.mark.parametrize("k", [0, 21, 1_000_000, 2.5, True])
def test_a_k_that_cannot_be_is_refused(ready, k):
    with pytest.raises(BadInputError, match="k must be 1 to 20"):
        ready.search("red circle", k=k)


def test_an_unknown_field_is_refused(ready):
    with pytest.raises(BadFilterError, match="colour"):
        ready.search("red circle", where=field("colour") == "red")


def test_pictures_and_ids_must_fit(ready):
    with pytest.raises(BadInputError, match="one per id, got 1 for 2"):
        ready.add(["a", "b"], PICTURES[:1])
