"""Visual Genome in the official schema, its traps one by one; the JSON reader under it; contrasts over it."""

import gc
import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from geoclip_lite import relevance, steering
from geoclip_lite.datasets.official import contrasts, json_stream, visual_genome, vocabulary
from geoclip_lite.scenes import Relation, Scene, SceneObject

anywhere = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


# --- long arrays ----------------------------------------------------------------------------------


@pytest.fixture
def piece(monkeypatch):
    """Sets how much is read at once, so that values are cut everywhere."""
    return lambda size: monkeypatch.setattr(json_stream, "PIECE", size)


@anywhere
@given(
    values=st.lists(json_values),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
    ascii=st.booleans(),
    bom=st.booleans(),
)
def test_elements_are_those_of_the_standard_library(tmp_path, piece, values, size, indent, ascii, bom):
    piece(size)
    path = tmp_path / "array.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii), "utf-8-sig" if bom else "utf-8")
    assert list(json_stream.elements(path)) == values


@pytest.mark.parametrize("size", range(1, 8))
def test_numbers_are_never_cut(tmp_path, piece, size):
    """12 of 12.5 is a number, too, and so is 1 of 1e5."""
    piece(size)
    path = tmp_path / "array.json"
    path.write_text("[12.5, 1e5, 1E+5, -0.25e-1, 123, -0]")
    assert list(json_stream.elements(path)) == [12.5, 1e5, 1e5, -0.025, 123, 0]


@anywhere
@given(
    values=st.lists(json_values),
    before=st.dictionaries(st.text().filter(lambda key: key != "scenes"), json_values),
    after=st.dictionaries(st.text().filter(lambda key: key != "scenes"), json_values),
    size=st.integers(1, 40),
)
def test_an_array_is_found_under_its_key(tmp_path, piece, values, before, after, size):
    piece(size)
    path = tmp_path / "object.json"
    whole = json.dumps({**before, "scenes": values, **{k: v for k, v in after.items() if k not in before}})
    path.write_text(whole)
    assert list(json_stream.elements(path, "scenes")) == values


@anywhere
@given(values=st.lists(json_values, min_size=1), size=st.integers(1, 40), data=st.data())
def test_a_truncated_array_is_an_error_and_no_element_is_wrong(tmp_path, piece, values, size, data):
    """Wherever it ends: 12 of 123 must not pass for 12."""
    piece(size)
    path, whole = tmp_path / "array.json", json.dumps(values)
    path.write_text(whole[: data.draw(st.integers(0, len(whole) - 1))])
    found = []
    with pytest.raises(ValueError, match=r"array\.json is damaged or not a JSON array"):
        found.extend(json_stream.elements(path))
    assert found == values[: len(found)]


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        (b"[1, 2] 3", None, "more follows after the end"),
        (b"{}", None, r"expected \[, got '\{'"),
        (b"[1 2]", None, "expected , or ], got '2'"),
        (b"[1, ]", None, "Expecting value"),
        (b"[1, nul", None, "Expecting value"),
        (b'["\xff"]', None, "codec can't decode"),
        (b'{"info": 1}', "scenes", "expected ,, got '}'"),
        (b'{"scenes": 7}', "scenes", r"expected \[, got '7'"),
        (b"[" * 100_000, None, "recursion"),
        (b"[" + b"9" * 5000 + b"]", None, "Exceeds the limit"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, key, says):
    path = tmp_path / "array.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        list(json_stream.elements(path, key))


def test_damage_early_in_a_long_file_does_not_read_all_of_it(tmp_path, piece):
    piece(1000)
    path = tmp_path / "array.json"
    path.write_text('[{"a": 1}, {"a" 2}, ' + '{"a": 3}, ' * 100_000 + "0]")
    tracemalloc.start()
    with pytest.raises(ValueError, match="Expecting ':' delimiter"):
        list(json_stream.elements(path))
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


def test_a_long_array_takes_the_memory_of_an_element(tmp_path, piece):
    piece(10_000)
    path = tmp_path / "array.json"
    path.write_text(json.dumps([{"n": n, "text": "x" * 100} for n in range(50_000)]))
    tracemalloc.start()
    assert sum(element["n"] for element in json_stream.elements(path)) == sum(range(50_000))
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


# --- the official files ---------------------------------------------------------------------------


def box(name, noun, x=100, y=50, w=200, h=100, **others):
    return {"object_id": name, "x": x, "y": y, "w": w, "h": h, "names": [noun], "synsets": [], **others}


def official():
    """Three pictures. The first is in VG_100K_2, and its file is not called by its id; the last is COCO's."""
    place = "https://cs.stanford.edu/people/rak248"
    about = {"width": 800, "height": 400, "coco_id": None, "flickr_id": None}
    data = [
        {"image_id": 1, "url": f"{place}/VG_100K_2/71.jpg", **about},
        {"image_id": 2, "url": f"{place}/VG_100K/2.jpg", **about},
        {"image_id": 3, "url": f"{place}/VG_100K/3.jpg", **about, "coco_id": 547168},
    ]
    objects = [
        {
            "image_id": 1,
            "objects": [
                box(10, " Clock ", synsets=["clock.n.01"], merged_object_ids=[90, 91]),
                box(11, "street", merged_object_ids=[]),
                box(12, "shade"),
            ],
        },
        {"image_id": 2, "objects": [box(20, "car"), box(21, "car", x=0, y=0, w=0, h=0)]},
        {"image_id": 3, "objects": [box(30, "tree")]},
    ]
    attributes = [
        {
            "image_id": 1,
            "attributes": [
                {"object_id": 90, "names": ["clock"], "attributes": [" Green", "tall", "clock"]},
                {"object_id": 10, "names": ["clock"], "attributes": ["tall", "green ", "made of  iron"]},
                {"object_id": 12, "names": ["shade"]},
                {"object_id": 11, "names": ["street"], "attributes": None},
                {"object_id": 77, "names": ["nothing that 1.4 knows"], "attributes": ["red"]},
            ],
        },
        {"id": 2, "attributes": [{"object_id": 20, "names": ["car"], "attributes": ["Red"]}]},
        {"image_id": 3, "attributes": []},
    ]
    ends = {"subject": {"object_id": 91, "name": "clock"}, "object": {"object_id": 11, "names": ["street"]}}
    relations = [
        {
            "image_id": 1,
            "relationships": [
                {"relationship_id": 1, "predicate": "ON", "synsets": [], **ends},
                {"predicate": "near", "subject": {"object_id": 10}, "object": {"object_id": 5555}},
            ],
        },
        {"image_id": 2, "relationships": []},
        {"image_id": 3, "relationships": []},
    ]
    phrases = ["the clock is green in colour ", "a street"]
    regions = [
        {"id": 1, "regions": [{"region_id": 1382, "image_id": 1, "phrase": p, "x": 421} for p in phrases]},
        {"id": 2, "regions": []},
        {"image_id": 3, "regions": []},
    ]
    return {
        "image_data.json": data,
        "objects.json": objects,
        "attributes.json": attributes,
        "relationships.json": relations,
        "region_descriptions.json": regions,
    }


def write(folder, files):
    for name, records in files.items():
        (folder / name).write_text(json.dumps(records))
    for name in ("VG_100K_2/71.jpg", "VG_100K/2.jpg", "VG_100K/3.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (80, 40)).save(folder / name)
    return folder


def test_objects_attributes_and_relations_are_joined_through_merged_ids(tmp_path):
    first, second, third = visual_genome.read(write(tmp_path, official())).scenes
    assert [s.image_id for s in (first, second, third)] == [
        "VG_100K_2/71.jpg",
        "VG_100K/2.jpg",
        "VG_100K/3.jpg",
    ]
    assert first.objects == (
        SceneObject("clock", (("tall/short", "tall"), ("red/green", "green"), ("attribute", "made of iron"))),
        SceneObject("street"),
        SceneObject("shade"),
    )
    assert first.relations == (Relation(0, "on", 1),)
    assert first.objects[0].position == (200 / 800, 100 / 400)
    assert second.caption == "red car, car"
    assert third.objects == (SceneObject("tree"),)
    assert first.image().size == (80, 40)


def test_what_cannot_be_joined_is_counted_and_never_refused(tmp_path):
    left_out = visual_genome.read(write(tmp_path, official())).left_out
    assert left_out == {
        "attributes of objects that objects.json lacks": ("VG_100K_2/71.jpg",),
        "relations of objects that objects.json lacks": ("VG_100K_2/71.jpg",),
    }


def test_regions_become_the_caption(tmp_path):
    captions = [s.caption for s in visual_genome.read(write(tmp_path, official()), regions=True).scenes]
    assert captions == ["the clock is green in colour. a street", "red car, car", "tree"]


def test_a_picture_of_which_nothing_is_said_is_left_out(tmp_path):
    files = official()
    files["objects.json"][2]["objects"] = []
    reading = visual_genome.read(write(tmp_path, files))
    assert len(reading.scenes) == 2
    assert reading.left_out["pictures of which nothing is said"] == ("VG_100K/3.jpg",)


@anywhere
@given(st.data())
def test_the_order_of_records_in_the_files_does_not_matter(tmp_path, data):
    files = official()
    expected = visual_genome.read(write(tmp_path, files), regions=True).scenes
    shuffled = {name: data.draw(st.permutations(records)) for name, records in files.items()}
    found = visual_genome.read(write(tmp_path, shuffled), regions=True).scenes
    assert sorted(found, key=lambda s: s.image_id) == sorted(expected, key=lambda s: s.image_id)


def test_a_picture_that_two_records_name_is_given_to_neither(tmp_path):
    files = official()
    files["image_data.json"][2]["url"] = files["image_data.json"][1]["url"]
    reading = visual_genome.read(write(tmp_path, files), missing="skip")
    assert [s.image_id for s in reading.scenes] == ["VG_100K_2/71.jpg"]
    assert len(reading.left_out["pictures that several records name"]) == 2
    with pytest.raises(ValueError, match="several records"):
        visual_genome.read(tmp_path)


def test_four_pictures_are_left_out_wherever_they_are(tmp_path):
    files = official()
    for dropped in visual_genome.DROPPED:
        files["image_data.json"].append({**files["image_data.json"][0], "image_id": dropped})
    files["objects.json"].append({"image_id": 1592, "objects": []})
    files["attributes.json"].append({"image_id": 4616, "attributes": []})
    reading = visual_genome.read(write(tmp_path, files))
    assert len(reading.scenes) == 3
    assert reading.left_out["pictures that everyone leaves out"] == ("1592", "1722", "4616", "4617")


@pytest.mark.parametrize("name", ["image_data.json", "objects.json", "attributes.json", "relationships.json"])
def test_a_picture_that_a_file_lacks_is_left_out_and_named(tmp_path, name):
    files = official()
    del files[name][1]
    folder = write(tmp_path, files)
    with pytest.raises(ValueError, match=f"pictures that {name} lacks"):
        visual_genome.read(folder)
    reading = visual_genome.read(folder, missing="skip")
    assert [s.image_id for s in reading.scenes] == ["VG_100K_2/71.jpg", "VG_100K/3.jpg"]
    assert reading.left_out[f"pictures that {name} lacks"] == ("2",)


def test_a_picture_that_only_the_attributes_know_is_named(tmp_path):
    files = official()
    files["attributes.json"].insert(0, {"image_id": 9, "attributes": []})
    with pytest.raises(ValueError, match=r"pictures of attributes\.json that objects\.json lacks: 1 \(9\)"):
        visual_genome.read(write(tmp_path, files))


def test_pictures_without_a_file_are_named_unless_nobody_asks_for_them(tmp_path):
    folder = write(tmp_path, official())
    (folder / "VG_100K/2.jpg").unlink()
    with pytest.raises(ValueError, match=r"pictures without a file: 1 \(VG_100K/2\.jpg\)"):
        visual_genome.read(folder)
    assert len(visual_genome.read(folder, missing="skip").scenes) == 2
    scene = visual_genome.read(folder, pictures=False).scenes[1]
    with pytest.raises(ValueError, match=r"2\.jpg is no readable picture"):
        scene.image()


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(tmp_path, on):
    folder, before = write(tmp_path, official()), gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        visual_genome.read(folder)
        assert gc.isenabled() is on
        (folder / "objects.json").write_text("[")
        with pytest.raises(ValueError, match="damaged"):
            visual_genome.read(folder)
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()


def test_relations_can_be_left_alone(tmp_path):
    folder = write(tmp_path, official())
    (folder / "relationships.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks relationships\.json.*datasets get visual-genome"):
        visual_genome.read(folder)
    assert not any(s.relations for s in visual_genome.read(folder, relations=False).scenes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": []}, "damaged objects"),
        ({"names": ["  "]}, "damaged objects: 1 .*its name is empty"),
        ({"names": "clock"}, "damaged objects: 1 .*names must be a list"),
        ({"x": "left"}, "damaged objects"),
        ({"object_id": "10"}, "damaged objects: 1 .*must be a whole number"),
    ],
)
def test_a_damaged_object_is_named_and_the_others_stay(tmp_path, change, says):
    files = official()
    files["objects.json"][1]["objects"][0] |= change
    folder = write(tmp_path, files)
    with pytest.raises(ValueError, match=says):
        visual_genome.read(folder)
    assert visual_genome.read(folder, missing="skip").scenes[1].objects == (SceneObject("car"),)


@anywhere
@given(
    name=st.sampled_from(sorted(official())),
    key=st.sampled_from(["image_id", "id", "url", "width", "objects", "attributes", "relationships", "new"]),
    value=json_values,
)
def test_whatever_stands_in_a_record_the_other_ones_are_read(tmp_path, name, key, value):
    files = official()
    files[name][1][key] = value
    reading = visual_genome.read(write(tmp_path, files), missing="skip")
    assert {"VG_100K_2/71.jpg", "VG_100K/3.jpg"} <= {s.image_id for s in reading.scenes}


@anywhere
@given(name=st.sampled_from(sorted(official())), value=json_values)
def test_whatever_stands_between_records_is_named(tmp_path, name, value):
    files = official()
    files[name].insert(1, value)
    folder = write(tmp_path, files)
    assert len(visual_genome.read(folder, regions=True, missing="skip").scenes) == 3
    with pytest.raises(ValueError, match=f"damaged records of {name}: 1 .number 1: "):
        visual_genome.read(folder, regions=True)


# --- contrasts ------------------------------------------------------------------------------------


def test_the_vocabulary_has_as_many_pairs_as_the_papers_and_no_word_twice():
    assert len(vocabulary.CONTRASTS) == 80
    words = Counter(w for poles in vocabulary.CONTRASTS.values() for pole in poles for w in pole)
    assert max(words.values()) == 1
    assert all(word == " ".join(word.lower().split()) != "" for word in words)
    assert vocabulary.SLOTS.keys() == words.keys()


def said(image, noun, *words):
    attributes = tuple((vocabulary.SLOTS.get(word, vocabulary.OTHER), word) for word in words)
    return Scene(image, "", (SceneObject(noun, attributes),), None)


def test_a_noun_needs_ten_pictures_of_either_pole_by_whatever_synonym():
    large = [said(f"l{n}", "car", "large" if n % 2 else "huge") for n in range(10)]
    small = [said(f"s{n}", "car", "tiny") for n in range(9)]
    assert contrasts.cases([*large, *small]) == []
    again = [*small, said("s8", "car", "little")]  # a picture that is there already
    assert contrasts.cases([*large, *again, said("s9", "dog", "small")]) == []
    both = said("s9", "car", "small", "red")
    found = contrasts.cases([*large, *small, both])
    assert [(c.noun, c.slot, c.prompts()) for c in found] == [
        ("car", "large/small", ("large car", "small car")),
        ("car", "large/small", ("small car", "large car")),
    ]


def test_a_picture_with_two_synonyms_is_one_picture():
    pictures = [said(f"l{n}", "car", "large", "big", "huge") for n in range(5)]
    pictures += [said(f"s{n}", "car", "small", "tiny") for n in range(5)]
    assert contrasts.cases(pictures, minimum=10) == []
    assert len(contrasts.cases(pictures, minimum=5)) == 2


@anywhere
@given(st.data())
def test_cases_and_their_answers_agree_with_a_naive_count(data):
    words = ["large", "big", "small", "open", "shut", "closed", "unknown"]
    drawn = st.tuples(st.sampled_from(["car", "box"]), st.lists(st.sampled_from(words), max_size=3))
    pictures = [
        Scene(str(n), "", tuple(said("", noun, *some).objects[0] for noun, some in things), None)
        for n, things in enumerate(data.draw(st.lists(st.lists(drawn, max_size=3), min_size=1, max_size=12)))
    ]

    def shows(scene, noun, pole):
        return any(o.noun == noun and any(v in pole for _, v in o.attributes) for o in scene.objects)

    expected = {
        (noun, source, target)
        for noun in ("car", "box")
        for poles in vocabulary.CONTRASTS.values()
        for source, target in (poles, poles[::-1])
        if all(sum(shows(s, noun, pole) for s in pictures) >= 2 for pole in poles)
    }
    found = contrasts.cases(pictures, minimum=2)
    assert {(c.noun, c.source, c.target) for c in found} == expected
    assert len(found) == len(expected)
    if found:
        by_hand = [[int(shows(s, c.noun, c.target)) for s in pictures] for c in found]
        assert steering.answers(found, pictures).tolist() == by_hand


def test_synonyms_are_one_word_for_relevance():
    poles = [pole for poles in vocabulary.CONTRASTS.values() for pole in poles]
    query, items = said("a", "car", "big"), [said("b", "car", "huge"), said("c", "car", "tiny")]
    assert relevance.contains([query], items).tolist() == [[0, 0]]
    assert relevance.synonym([query], items, poles).tolist() == [[1, 0]]
