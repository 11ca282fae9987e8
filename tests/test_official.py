"""Readers of official formats, on small files in the publishers' schemas; and what they say of damage."""

import json
import os
import shutil
import sys

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from geoclip_lite import relevance, steering
from geoclip_lite.datasets.official import clevr, coco, mit_states, nac, sugarcrepe, urban1k
from geoclip_lite.datasets.official.reading import Faults, Reading
from geoclip_lite.scenes import Relation, Scene

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
anywhere = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def picture(path, image=NOISE):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def cut(path, share=0.5):
    """Truncates a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def names(reading, why):
    """What was left out for a reason that begins so."""
    (found,) = [found for reason, found in reading.left_out.items() if reason.startswith(why)]
    return found


def survives(read):
    """Beside a good record may stand anything: the good one is read, the other one is read or named."""
    reading = read()
    assert all(isinstance(scene.caption, str) and scene.caption.strip() for scene in reading.scenes)
    return reading


# --- what readings are ----------------------------------------------------------------------------


def test_a_reading_says_what_it_holds_and_what_it_left_out(tmp_path):
    captions = {f"{n}.jpg": ["one", "two"] for n in range(3)}
    write_coco(tmp_path, captions)
    (tmp_path / "val2017/1.jpg").unlink()
    reading = coco.read(tmp_path, captions=1, missing="skip")
    assert str(reading) == (
        "2 scenes of 2 pictures. Left out: captions beyond the first 1: 2 (0.jpg: two, 2.jpg: two); "
        "pictures without a file: 1 (1.jpg)"
    )


def test_a_gallery_has_every_picture_once_in_order():
    scenes = tuple(Scene(name, str(i), (), None) for i, name in enumerate("abacb"))
    assert [(s.image_id, s.caption) for s in Reading(scenes, {}).gallery()] == [
        ("a", "0"),
        ("b", "1"),
        ("c", "3"),
    ]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_truncated_pictures_are_found_by_decoding(tmp_path, share):
    write_coco(tmp_path, {f"{n}.jpg": ["one", "two"] for n in range(4)})
    cut(tmp_path / "val2017/2.jpg", share)
    reading = coco.read(tmp_path)
    with pytest.raises(ValueError, match=r"pictures that cannot be read: 1 \(2\.jpg\)"):
        reading.readable()
    rest = reading.readable("skip")
    assert [s.image_id for s in rest.gallery()] == ["0.jpg", "1.jpg", "3.jpg"]
    assert names(rest, "pictures that cannot be read") == ("2.jpg",)


def test_another_word_than_refuse_or_skip_is_refused():
    with pytest.raises(ValueError, match="missing must be refuse or skip, got 'ignore'"):
        Faults("ignore")


@pytest.mark.parametrize(
    ("read", "lacks", "says"),
    [
        (coco.read, "val2017, annotations/captions_val2017.json", "datasets get coco"),
        (lambda folder: sugarcrepe.read(folder, folder), "add_att.json", "datasets get sugarcrepe"),
        (urban1k.read, "image, caption", "datasets get urban1k"),
        (mit_states.read, "images", "datasets get mit-states"),
        (lambda folder: clevr.read(folder / "scenes.json", folder), "scenes.json", "datasets get clevr"),
    ],
)
def test_a_folder_without_the_files_says_which_and_where_to_get_them(tmp_path, read, lacks, says):
    with pytest.raises(FileNotFoundError, match=f"lacks {lacks}.*{says}"):
        read(tmp_path)


# --- COCO -----------------------------------------------------------------------------------------


def write_coco(folder, captions, split="val2017"):
    """captions: name of the picture -> its captions."""
    for name in captions:
        picture(folder / split / name)
    ids = {name: 100 + n for n, name in enumerate(captions)}
    return dump(
        folder / f"annotations/captions_{split}.json",
        {
            "info": {"year": 2017},
            "licenses": [{"id": 1, "name": "some"}],
            "images": [
                {"id": i, "file_name": name, "width": 64, "height": 48, "license": 1}
                for name, i in ids.items()
            ],
            "annotations": [
                {"image_id": ids[name], "id": n, "caption": caption}
                for n, (name, caption) in enumerate((k, c) for k, v in captions.items() for c in v)
            ],
        },
    )


def test_coco_keeps_the_first_five_captions_of_a_picture(tmp_path):
    write_coco(
        tmp_path, {"000000000139.jpg": [f" caption {n}\n" for n in range(7)], "000000000285.jpg": ["a bear"]}
    )
    reading = coco.read(tmp_path)
    assert [s.caption for s in reading.scenes] == [*(f"caption {n}" for n in range(5)), "a bear"]
    assert [s.image_id for s in reading.gallery()] == ["000000000139.jpg", "000000000285.jpg"]
    assert len(names(reading, "captions beyond the first 5")) == 2
    assert reading.scenes[0].image().size == (64, 48)
    exact = relevance.exact(reading.scenes, reading.gallery())
    assert exact.tolist() == [[1, 0]] * 5 + [[0, 1]]


@pytest.mark.parametrize("odd", [True, 1.0, 1.5, "1"])
def test_a_caption_goes_to_a_picture_by_a_whole_number_only(tmp_path, odd):
    """Python takes True and 1.0 for 1, and `int` takes 1.5 and "1" for it."""
    path = write_coco(tmp_path, {"1.jpg": ["one"], "2.jpg": ["two"]})
    content = json.loads(path.read_text())
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = 1
    content["annotations"].append({"image_id": odd, "caption": "somebody else's"})
    dump(path, content)
    assert [s.caption for s in coco.read(tmp_path, missing="skip").scenes] == ["one", "two"]
    content["images"][0]["id"] = odd
    dump(path, content)
    assert [s.caption for s in coco.read(tmp_path, missing="skip").scenes] == ["two"]


def test_a_picture_has_one_number_in_coco(tmp_path):
    path = write_coco(tmp_path, {"1.jpg": ["one"], "2.jpg": ["two"]})
    content = json.loads(path.read_text())
    content["images"].append({"id": 7, "file_name": "1.jpg"})
    content["annotations"].append({"image_id": 7, "caption": "somebody else's"})
    dump(path, content)
    assert [s.caption for s in coco.read(tmp_path, missing="skip").scenes] == ["one", "two"]


def test_coco_names_captions_and_pictures_that_do_not_fit(tmp_path):
    path = write_coco(tmp_path, {"1.jpg": ["one"], "2.jpg": ["two"], "3.jpg": []})
    content = json.loads(path.read_text())
    content["annotations"] += [{"image_id": 999, "caption": "lost"}, {"image_id": 100, "caption": " "}]
    content["images"] += [{"id": 7, "file_name": "../2.jpg"}, {"id": 100, "file_name": "again.jpg"}]
    dump(path, content)
    with pytest.raises(ValueError, match=r"damaged records of pictures: 2 .*3\.jpg.*missing='skip'"):
        coco.read(tmp_path)
    reading = coco.read(tmp_path, missing="skip")
    assert [s.caption for s in reading.scenes] == ["one", "two"]
    assert len(names(reading, "damaged captions")) == 2
    assert names(reading, "pictures without a caption") == ("3.jpg",)


@anywhere
@given(images=st.lists(json_values, max_size=3), annotations=st.lists(json_values, max_size=3))
def test_coco_survives_whatever_its_lists_hold(tmp_path, images, annotations):
    path = write_coco(tmp_path, {"1.jpg": ["one"]})
    content = json.loads(path.read_text())
    content["images"] += images
    content["annotations"] += annotations
    dump(path, content)
    reading = survives(lambda: coco.read(tmp_path, missing="skip"))
    assert [s.caption for s in reading.scenes] == ["one"]
    if images or annotations:
        with pytest.raises(ValueError, match="damaged"):
            coco.read(tmp_path)


# --- SugarCrepe -----------------------------------------------------------------------------------


def write_sugarcrepe(folder):
    """All subsets; the pictures recur across them, and swap_obj lacks the key "1"."""
    for n in range(3):
        picture(folder / f"val2017/{n:012d}.jpg")
    for subset in sugarcrepe.SUBSETS:
        keys = (0, 2, 3) if subset == "swap_obj" else (0, 1, 2)
        dump(
            folder / f"{subset}.json",
            {
                str(key): {
                    "filename": f"{key % 3:012d}.jpg",
                    "caption": f" a {subset} dog {key}\n",
                    "negative_caption": f"a {subset} cat {key} ",
                }
                for key in keys
            },
        )
    return folder, folder / "val2017"


def test_sugarcrepe_strips_keeps_keys_and_shares_pictures(tmp_path):
    reading = sugarcrepe.read(*write_sugarcrepe(tmp_path))
    assert len(reading.scenes) == 21
    assert [(c.key, c.caption, c.negative) for c in reading.scenes if c.subset == "swap_obj"] == [
        (str(key), f"a swap_obj dog {key}", f"a swap_obj cat {key}") for key in (0, 2, 3)
    ]
    assert [s.image_id for s in reading.gallery()] == [f"{n:012d}.jpg" for n in range(3)]
    assert relevance.exact(reading.scenes, reading.gallery()).sum() == 21
    assert reading.scenes[0].image().size == (64, 48)


def test_sugarcrepes_own_figure_counts_ties_as_wrong(tmp_path):
    reading = sugarcrepe.read(*write_sugarcrepe(tmp_path), subsets=("add_att", "swap_obj"))
    right = np.array([0.5, 0.5, 0.5, 0.3, 0.1, 0.2])
    wrong = np.array([0.4, 0.5, 0.6, 0.1, 0.0, 0.2])
    found = sugarcrepe.accuracy(reading.scenes, right, wrong)
    assert found.accuracy.to_dict() == pytest.approx({"add_att": 1 / 3, "swap_obj": 2 / 3})
    assert found.tied.to_dict() == {"add_att": 1, "swap_obj": 1}
    assert found["items"].to_dict() == {"add_att": 3, "swap_obj": 3}
    with pytest.raises(ValueError, match="6 choices need as many of both, got 5 and 6"):
        sugarcrepe.accuracy(reading.scenes, right[1:], wrong)
    for some, scores in ((reading.scenes, right * np.nan), ((), right[:0])):
        with pytest.raises(ValueError, match="NaN"):
            sugarcrepe.accuracy(some, scores, wrong[: len(scores)])


def test_sugarcrepes_own_figure_resamples_pictures(tmp_path):
    """Eight items a picture, alike: as wide as the interval of one each; so are coins."""
    reading = sugarcrepe.read(*write_sugarcrepe(tmp_path), subsets=("add_att",))
    right = np.array([0.5, 0.5, 0.1])
    once, more = (
        sugarcrepe.accuracy(n * reading.scenes, np.tile(right, n), np.full(3 * n, 0.3)).loc["add_att"]
        for n in (1, 8)
    )
    sides = ["accuracy", "low", "high", "chance low", "chance high"]
    assert more[sides].to_dict() == pytest.approx(once[sides].to_dict())
    assert more["items"] == 24


def test_sugarcrepe_names_items_that_cannot_be_used(tmp_path):
    folder, images = write_sugarcrepe(tmp_path)
    items = json.loads((folder / "add_obj.json").read_text())
    items["0"]["filename"] = "elsewhere.jpg"
    items["1"].pop("negative_caption")
    items["2"]["caption"] = ["not", "text"]
    items["9"] = "no item"
    dump(folder / "add_obj.json", items)
    with pytest.raises(ValueError, match=r"items without their picture: 1 .*damaged items: 3 \(add_obj 1"):
        sugarcrepe.read(folder, images)
    reading = sugarcrepe.read(folder, images, missing="skip")
    assert {c.subset for c in reading.scenes} == {*sugarcrepe.SUBSETS} - {"add_obj"}


@pytest.mark.parametrize("content", ["[1, 2]", '{"0": {"filename"', "", "\x00", "[" * 100_000])
def test_sugarcrepe_names_a_file_that_is_no_such_json(tmp_path, content):
    folder, images = write_sugarcrepe(tmp_path)
    (folder / "swap_att.json").write_text(content)
    with pytest.raises(ValueError, match=r"swap_att\.json (is no JSON|must hold an object of items by key)"):
        sugarcrepe.read(folder, images)


# --- Urban1k --------------------------------------------------------------------------------------


def write_urban1k(folder, stems):
    (folder / "caption").mkdir(parents=True)
    for stem in stems:
        picture(folder / f"image/{stem}.jpg")
        (folder / f"caption/{stem}.txt").write_text(f"A street,  number {stem}.\nAnd more.", "utf-8")
    return folder


def test_urban1k_is_in_the_order_of_numbers_with_first_lines(tmp_path):
    write_urban1k(tmp_path, [1, 10, 2, 221])
    (tmp_path / "image/._1.jpg").write_bytes(b"left by an archiver")
    reading = urban1k.read(tmp_path, pairs=4)
    assert [s.image_id for s in reading.scenes] == ["1.jpg", "2.jpg", "10.jpg", "221.jpg"]
    assert [s.caption for s in reading.scenes] == [f"A street, number {n}." for n in (1, 2, 10, 221)]
    with pytest.raises(ValueError, match=r"pairs instead of 1,000: 1 \(there are 4\)"):
        urban1k.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b" \n second line", b"\xff\xfe\x00"])
def test_urban1k_refuses_a_caption_that_says_nothing(tmp_path, content):
    write_urban1k(tmp_path, [591, 592])
    (tmp_path / "caption/592.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"captions that are empty or not UTF-8: 1 \(592\.txt\)"):
        urban1k.read(tmp_path, pairs=2)
    (scene,) = urban1k.read(tmp_path, pairs=2, missing="skip").scenes
    assert scene.image_id == "591.jpg"


def test_urban1k_names_pictures_and_captions_that_are_alone(tmp_path):
    write_urban1k(tmp_path, [1, 2, 3])
    (tmp_path / "image/2.jpg").unlink()
    (tmp_path / "caption/3.txt").unlink()
    with pytest.raises(ValueError, match=r"pictures or captions without the other: 2 \(2, 3\)"):
        urban1k.read(tmp_path, pairs=None)


def test_urban1k_names_numbers_of_two_pictures(tmp_path):
    write_urban1k(tmp_path, [1, 2])
    picture(tmp_path / "image/2.JPG")
    reading = urban1k.read(tmp_path, pairs=2, missing="skip")
    assert [s.image_id for s in reading.scenes] == ["1.jpg"]
    assert names(reading, "numbers of several pictures") == ("2",)


# --- CLEVR ----------------------------------------------------------------------------------------


def entry(shape="cube", **others):
    fields = {"shape": shape, "size": "large", "color": "brown", "material": "rubber"}
    return fields | {"3d_coords": [-1.5, -2.0, 0.7]} | others


def record(name, *objects, **others):
    return {"image_filename": name, "objects": list(objects or [entry()]), **others}


def full_record(n):
    """As CLEVR has it: two objects, the second right of the first."""
    objects = [
        entry("cylinder", rotation=178.9, pixel_coords=[16, 12, 10.8]),
        entry("sphere", rotation=3.0, pixel_coords=[48, 24, 9.0]),
    ]
    relationships = {"right": [[1], []], "left": [[], [0]], "front": [[], []], "behind": [[], []]}
    about = {
        "image_index": n,
        "split": "val",
        "relationships": relationships,
        "directions": {"right": [1, 0, 0]},
    }
    return record(f"CLEVR_val_{n:06d}.png", *objects, **about)


def write_clevr(folder, records, drawn=None):
    for name in [r["image_filename"] for r in records] if drawn is None else drawn:
        picture(folder / "images" / name)
    (folder / "images").mkdir(exist_ok=True)
    scenes = dump(folder / "scenes/scenes.json", {"info": {"version": "1.0"}, "scenes": records})
    return scenes, folder / "images"


def test_clevrs_records_become_objects_places_and_relations(tmp_path):
    where = write_clevr(tmp_path, [full_record(n) for n in range(3)])
    reading = clevr.read(*where)
    assert [s.image_id for s in reading.scenes] == [f"CLEVR_val_{n:06d}.png" for n in range(3)]
    scene = reading.scenes[1]
    assert scene.caption == "a photo of a large brown rubber cylinder and a large brown rubber sphere"
    assert [thing.position for thing in scene.objects] == [(0.25, 0.25), (0.75, 0.5)]
    assert scene.relations == (Relation(1, "right", 0), Relation(0, "left", 1))
    assert scene.image().mode == "RGB"


@pytest.mark.parametrize("size", [(480, 320), (31, 200)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_clevrs_places_are_fractions_of_a_picture_of_any_size(tmp_path, size, mode):
    scenes, images = write_clevr(tmp_path, [full_record(0)])
    picture(images / "CLEVR_val_000000.png", NOISE.resize(size).convert(mode))
    (scene,) = clevr.read(scenes, images).scenes
    assert scene.objects[0].position == (16 / size[0], 12 / size[1])
    assert (scene.image().size, scene.image().mode) == (size, "RGB")


def test_clevr_hopes_trimmed_scenes_of_one_object_are_read(tmp_path):
    where = write_clevr(tmp_path, [record("CLEVR_0.png", image_index=0, directions={})])
    (scene,) = clevr.read(*where).scenes
    assert scene.caption == "a photo of a large brown rubber cube"
    assert (scene.objects[0].position, scene.relations) == (None, ())


def test_clevr_finds_pictures_in_nested_folders(tmp_path):
    drawn = ["a/b/c/s_1.png", "z/s_2.JPG", ".hidden.png"]
    where = write_clevr(tmp_path, [record("s_1.png"), record("s_2.png")], drawn)
    (where[1] / "notes.txt").write_text("no picture")
    assert [s.image_id for s in clevr.read(*where).scenes] == ["a/b/c/s_1.png", "z/s_2.JPG"]


def test_clevrs_names_may_hold_folders(tmp_path):
    records = [record("train/s_1.png", entry("cube")), record("val/s_1.png", entry("sphere"))]
    where = write_clevr(tmp_path, records, ["deep/val/s_1.png", "deep/train/s_1.png"])
    found = {s.image_id: s.objects[0].noun for s in clevr.read(*where).scenes}
    assert found == {"deep/train/s_1.png": "cube", "deep/val/s_1.png": "sphere"}


def test_a_point_in_a_clevr_name_begins_a_suffix_only_if_a_pictures_ends_so(tmp_path):
    records = [record("scene_1.5"), record("scene_1.png", entry("sphere"))]
    where = write_clevr(tmp_path, records, ["scene_1.5.png", "scene_1.png"])
    found = {s.image_id: s.objects[0].noun for s in clevr.read(*where).scenes}
    assert found == {"scene_1.5.png": "cube", "scene_1.png": "sphere"}


def test_every_view_of_a_clevr_scene_is_a_scene_without_places(tmp_path):
    records = [full_record(0), full_record(1)]
    drawn = ["left/CLEVR_val_000000.png", "right/CLEVR_val_000000.png", "CLEVR_val_000001.png"]
    scenes = clevr.read(*write_clevr(tmp_path, records, drawn)).scenes
    assert [s.image_id for s in scenes] == drawn
    assert [bool(s.relations) for s in scenes] == [False, False, True]
    assert [s.objects[0].position is None for s in scenes] == [True, True, False]
    assert scenes[0].objects == scenes[2].objects


@pytest.mark.parametrize(
    ("drawn", "placed"),
    [
        (["CLEVR_val_000000-16.png"], None),
        (["a/CLEVR_val_000000_left.png", "a/CLEVR_val_000000_right.png"], None),
        (["CLEVR_val_000000.png", "CLEVR_val_000000_left.png"], "CLEVR_val_000000.png"),
        (["a/CLEVR_val_000000.png", "a/CLEVR_val_000000-16.png"], "a/CLEVR_val_000000.png"),
        (["a/CLEVR_val_000000.png", "b/CLEVR_val_000000.png"], None),
        (["a/CLEVR_val_000000.jpg"], "a/CLEVR_val_000000.jpg"),
    ],
)
def test_places_and_relations_are_those_of_the_picture_that_the_record_names(tmp_path, drawn, placed):
    scenes = clevr.read(*write_clevr(tmp_path, [full_record(0)], drawn)).scenes
    assert sorted(s.image_id for s in scenes) == sorted(drawn)
    for scene in scenes:
        assert bool(scene.relations) == (scene.image_id == placed)
        assert all((thing.position is not None) == (scene.image_id == placed) for thing in scene.objects)


def test_a_broken_view_leaves_the_other_one_without_places(tmp_path):
    scenes, images = write_clevr(
        tmp_path, [full_record(0)], ["CLEVR_val_000000_a.png", "CLEVR_val_000000_b.png"]
    )
    (images / "CLEVR_val_000000_a.png").write_bytes(b"")
    (scene,) = clevr.read(scenes, images, missing="skip").scenes
    assert (scene.image_id, scene.relations) == ("CLEVR_val_000000_b.png", ())


@anywhere
@given(st.data())
def test_a_view_belongs_to_the_longest_name_that_it_begins_with(tmp_path, data):
    """Against a naive search; names that begin like other ones are common."""
    parts = st.lists(st.sampled_from(["s", "1", "10", "2"]), min_size=1, max_size=3)
    stems = data.draw(st.sets(parts.map("_".join), min_size=1, max_size=6))
    files = data.draw(st.sets(parts.map("_".join), min_size=1, max_size=8))
    shutil.rmtree(tmp_path)
    where = write_clevr(
        tmp_path, [record(f"{stem}.png") for stem in sorted(stems)], [f"{f}.png" for f in files]
    )
    expected = {}
    for name in files:
        owners = [s for s in stems if name == s or name.startswith(f"{s}_")]
        if owners:
            expected.setdefault(max(owners, key=len), set()).add(f"{name}.png")
    if not expected:
        with pytest.raises(ValueError, match="there is no scene to read"):
            clevr.read(*where, missing="skip")
        return
    reading = clevr.read(*where, missing="skip")
    assert {s.image_id for s in reading.scenes} == set().union(*expected.values())
    without = {
        stem for why, found in reading.left_out.items() if "without a picture" in why for stem in found
    }
    assert without == stems - set(expected)


def test_clevr_names_damaged_pictures_and_records(tmp_path):
    records = [full_record(n) for n in range(4)]
    scenes, images = write_clevr(tmp_path, records)
    records[1]["objects"][0].pop("shape")
    records += [full_record(3), record("gone.png"), "no record"]
    dump(scenes, {"info": {}, "scenes": records})
    (images / "CLEVR_val_000002.png").write_bytes(b"\x89PNG")
    cut(images / "CLEVR_val_000003.png", 0.7)
    with pytest.raises(ValueError, match=r"pictures that cannot be read: 1 \(CLEVR_val_000002"):
        clevr.read(scenes, images)
    reading = clevr.read(scenes, images, missing="skip")
    assert [s.image_id for s in reading.scenes] == ["CLEVR_val_000000.png", "CLEVR_val_000003.png"]
    assert len(names(reading, "damaged scenes")) == 3
    assert names(reading, "scenes without a picture") == ("gone",)
    rest = reading.readable("skip")
    assert [s.image_id for s in rest.scenes] == ["CLEVR_val_000000.png"]
    assert len(names(rest, "pictures that cannot be read")) == 2


@anywhere
@given(
    field=st.sampled_from(["objects", "relationships", "image_filename", "image_index", "split", "new"]),
    value=json_values | st.sampled_from(["", " ", "/", ".", "..", "\0"]),
)
def test_clevr_survives_whatever_a_field_holds(tmp_path, field, value):
    where = write_clevr(tmp_path, [full_record(0), full_record(1) | {field: value}], ["CLEVR_val_000000.png"])
    picture(where[1] / "CLEVR_val_000001.png")
    reading = survives(lambda: clevr.read(*where, missing="skip"))
    assert reading.scenes[0].image_id == "CLEVR_val_000000.png"
    if field in ("split", "new"):
        assert len(reading.scenes) == 2


@anywhere
@given(key=st.sampled_from(["shape", "size", "color", "material", "pixel_coords", "new"]), value=json_values)
def test_clevr_survives_whatever_an_object_holds(tmp_path, key, value):
    odd = full_record(1)
    odd["objects"][1][key] = value
    where = write_clevr(tmp_path, [full_record(0), odd])
    reading = survives(lambda: clevr.read(*where, missing="skip"))
    assert reading.scenes[0].image_id == "CLEVR_val_000000.png"


def test_a_relation_to_no_object_is_damage(tmp_path):
    odd = full_record(0)
    odd["relationships"]["right"] = [[7], []]
    where = write_clevr(tmp_path, [odd, full_record(1)])
    with pytest.raises(ValueError, match="relationships: a number that no object has"):
        clevr.read(*where)


# --- HDF5 -----------------------------------------------------------------------------------------


def write_hdf5(path, pictures):
    with h5py.File(path, "w") as file:
        file["features"] = np.stack(pictures).transpose(0, 3, 1, 2)
    return path


@pytest.fixture
def rows():
    return np.random.default_rng(1).integers(0, 256, (4, 32, 64, 3), dtype=np.uint8)


def test_hdf5_rows_are_numbered_by_image_index(tmp_path, rows):
    images = write_hdf5(tmp_path / "images.h5", rows)
    scenes, _ = write_clevr(tmp_path, [full_record(2), full_record(0)], [])
    reading = clevr.read(scenes, images)
    assert [s.image_id for s in reading.scenes] == ["CLEVR_val_000002.png", "CLEVR_val_000000.png"]
    for scene, row in zip(reading.scenes, (2, 0), strict=True):
        assert np.array_equal(np.asarray(scene.image()), rows[row])
    assert reading.scenes[0].objects[0].position == (16 / 64, 12 / 32)
    assert reading.readable() == reading


def test_a_row_of_hdf5_belongs_to_one_record(tmp_path, rows):
    images = write_hdf5(tmp_path / "images.h5", rows)
    other = full_record(1) | {"image_index": 0, "objects": [entry("cube")], "relationships": {}}
    scenes, _ = write_clevr(tmp_path, [full_record(0), other], [])
    with pytest.raises(ValueError, match="image_index"):
        clevr.read(scenes, images)
    assert [s.image_id for s in clevr.read(scenes, images, missing="skip").scenes] == ["CLEVR_val_000000.png"]


def test_hdf5_rows_that_are_not_there_are_named(tmp_path, rows):
    images = write_hdf5(tmp_path / "images.h5", rows)
    without = {k: v for k, v in full_record(9).items() if k != "image_index"}
    scenes, _ = write_clevr(tmp_path, [full_record(0), full_record(4), full_record(-1), without], [])
    with pytest.raises(ValueError, match=r"damaged scenes: 3 .*image_index must be a row of 4, got 4"):
        clevr.read(scenes, images)
    assert len(clevr.read(scenes, images, missing="skip").scenes) == 1


@pytest.mark.parametrize("damage", ["text", "truncated", "float", "no features", "a group", "flat"])
def test_a_file_that_is_not_that_hdf5_is_named(tmp_path, rows, damage):
    path = write_hdf5(tmp_path / "images.h5", rows)
    if damage == "text":
        path.write_text("no HDF5")
    elif damage == "truncated":
        cut(path)
    else:
        with h5py.File(path, "w") as file:
            if damage == "a group":
                file.create_group("features")
            elif damage != "no features":
                file["features"] = rows.astype(float) if damage == "float" else rows.ravel()
    scenes, _ = write_clevr(tmp_path, [full_record(0)], [])
    with pytest.raises(ValueError, match=r"images\.h5 (is no HDF5 file|must hold 'features', uint8)"):
        clevr.read(scenes, path)


def test_without_h5py_the_extra_is_named(tmp_path, rows, monkeypatch):
    path = write_hdf5(tmp_path / "images.h5", rows)
    scenes, _ = write_clevr(tmp_path, [full_record(0)], [])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"geoclip-lite\[hdf5\]"):
        clevr.read(scenes, path)


# --- MIT-States -----------------------------------------------------------------------------------


def test_mit_states_reads_states_from_folders(tmp_path):
    for name in ["old car/b.jpg", "old car/a.JPG", "new car/c.jpg", "adj car/d.jpg", "old fire truck/e.jpg"]:
        picture(tmp_path / "images" / name)
    (tmp_path / "images/old car/Thumbs.db").write_text("no picture")
    (tmp_path / "images/old car/._a.jpg").write_bytes(b"left by an archiver")
    reading = mit_states.read(tmp_path)
    assert [s.image_id for s in reading.scenes] == [
        "new car/c.jpg",
        "old car/a.JPG",
        "old car/b.jpg",
        "old fire truck/e.jpg",
    ]
    assert reading.scenes[0].caption == reading.scenes[0].objects[0].phrase == "new car"
    assert reading.scenes[-1].objects[0].slots == {"state": "old", "noun": "fire truck"}
    assert names(reading, "folders of nouns in any state") == ("adj car",)


def test_mit_states_passes_over_what_archivers_leave(tmp_path):
    picture(tmp_path / "images/old house/a.jpg")
    (tmp_path / "images/old house/._a.jpg").write_bytes(b"\0\5\x16\7")
    assert [scene.image_id for scene in mit_states.read(tmp_path).readable().scenes] == ["old house/a.jpg"]


def test_mit_states_names_pictures_that_are_not_decoded(tmp_path):
    picture(tmp_path / "images/old house/a.jpg")
    (tmp_path / "images/old house/b.HEIC").touch()
    (tmp_path / "images/old house/._b.HEIC").touch()
    reading = mit_states.read(tmp_path)
    assert [scene.image_id for scene in reading.scenes] == ["old house/a.jpg"]
    assert names(reading, "pictures in formats that are not decoded") == ("old house/b.HEIC",)


def test_mit_states_names_folders_that_say_nothing(tmp_path):
    picture(tmp_path / "images/old car/a.jpg")
    picture(tmp_path / "images/car/a.jpg")
    (tmp_path / "images/new car").mkdir()
    with pytest.raises(
        ValueError, match=r"folders without a picture or without a noun.*: 2 \(car, new car\)"
    ):
        mit_states.read(tmp_path)


def test_antonyms_come_from_rows_of_any_length(tmp_path):
    path = tmp_path / "adj_ants.csv"
    path.write_text('old,new,"brand, new"\n\nbright\nold, young ,new,\n,nothing\n')
    assert mit_states.antonyms(path) == {"old": ("new", "brand, new", "young"), "bright": ()}


# --- NAC ------------------------------------------------------------------------------------------


def line(**changes):
    fields = {
        "image": "0/open.png",
        "noun": "box",
        "attribute": "open",
        "contrast": "closed",
        "prompt": "a photo",
        "seed": 7,
        "verifier": "a model",
        "confidence": 0.98,
    }
    return json.dumps({k: v for k, v in (fields | changes).items() if v is not ...})


def test_nac_reads_pairs_that_steering_can_use(tmp_path):
    for name in ("0/open.png", "0/closed.png"):
        picture(tmp_path / name)
    other = line(image="0/closed.png", attribute="closed", contrast="open", confidence=..., verifier=None)
    path = tmp_path / "nac.jsonl"
    path.write_text("\n".join([line(extra=[1]), "", other]))
    one, two = nac.read(path).scenes
    assert (one.caption, one.seed, one.verifier, one.confidence) == ("open box", 7, "a model", 0.98)
    assert (two.caption, two.verifier, two.confidence) == ("closed box", "", None)
    cases = steering.grounded_cases([one, two], {"closed/open": (("open",), ("closed",))}, minimum=1)
    assert steering.answers(cases, [one, two]).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "bad",
    [
        "no JSON",
        "[]",
        line(noun=...),
        line(noun=" "),
        line(image="../../secret.png"),
        line(image="/etc/passwd"),
        line(confidence=1.5),
        line(confidence=float("nan")),
        line(confidence="high"),
        line(seed="seven"),
        line(image="gone.png"),
        line(contrast="open"),
        line(),
        line(image="./0/open.png", attribute="closed", contrast="open"),
        "[" * 100_000,
    ],
)
def test_nac_names_lines_that_cannot_be_used(tmp_path, bad):
    for name in ("0/open.png", "1/open.png"):
        picture(tmp_path / name)
    path = tmp_path / "nac.jsonl"
    path.write_text(f"{line()}\n{bad}\n{line(image='1/open.png')}")
    with pytest.raises(ValueError, match=r"(damaged lines|lines without their picture): 1 \(line 2: "):
        nac.read(path)
    assert len(nac.read(path, missing="skip").scenes) == 2


@anywhere
@given(st.binary(max_size=40))
def test_nac_survives_any_bytes(tmp_path, noise):
    picture(tmp_path / "0/open.png")
    path = tmp_path / "nac.jsonl"
    path.write_bytes(line().encode() + b"\n" + noise)
    reading = survives(lambda: nac.read(path, missing="skip"))
    assert reading.scenes[0].caption == "open box"


def test_the_prompts_of_a_pair_differ_in_the_attribute_alone():
    one, two = nac.prompts("bottle", ("upright", "toppled"), "on a table")
    assert one.replace("upright", "toppled") == two != one
    assert all(word in one for word in ("bottle", "on a table", "no text", "no watermark"))


def test_nothing_is_left_open_by_drawing(tmp_path, rows):
    """A gallery of many pictures must not run out of file handles."""
    images = write_hdf5(tmp_path / "images.h5", rows)
    scenes, _ = write_clevr(tmp_path, [full_record(n) for n in range(4)], [])
    before = len(os.listdir("/proc/self/fd"))
    for scene in clevr.read(scenes, images).scenes:
        scene.image()
    assert len(os.listdir("/proc/self/fd")) <= before
