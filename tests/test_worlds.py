"""The two rendered worlds: counts, captions, geometry, and pictures that show what the words say."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from geoclip_lite.datasets import clevr_like, raycast, shapes


def pixels(scene, size=64):
    return np.asarray(scene.image(size)).astype(int)


# --- shapes ---------------------------------------------------------------------------------------


def test_every_composition_stands_once():
    scenes = shapes.compositions()
    assert len(scenes) == shapes.N_COMPOSITIONS == 13_244
    assert len({tuple(sorted(o.phrase for o in s.objects)) for s in scenes}) == 13_244
    assert len({s.image_id for s in scenes}) == 13_244


def test_captions_list_the_objects_in_alphabetical_order():
    scene = shapes.composition([shapes.PRIMITIVES[i] for i in (40, 3, 21)])
    assert scene.caption.split(", ") == sorted(o.phrase for o in scene.objects)


def test_the_order_of_objects_does_not_matter():
    three = [shapes.PRIMITIVES[i] for i in (40, 3, 21)]
    assert shapes.composition(three) == shapes.composition(three[::-1])


def test_evaluation_and_validation_share_nothing():
    evaluation, validation = shapes.split()
    assert (len(evaluation), len(validation)) == (2430, 1000)
    assert not {s.image_id for s in evaluation} & {s.image_id for s in validation}
    assert [s.image_id for s in evaluation] == [s.image_id for s in shapes.evaluation_scenes()]


@pytest.mark.parametrize("size", [64, 224, 97])
def test_the_middle_of_a_reference_has_the_named_colour(size):
    for scene in shapes.references():
        picture = pixels(scene, size)
        assert picture.shape == (size, size, 3)
        assert tuple(picture[size // 2, size // 2]) == shapes.COLOURS[scene.objects[0].slots["colour"]]
        assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


def test_each_object_of_a_composition_is_drawn_where_it_says():
    for scene in shapes.compositions()[::1111]:
        picture = pixels(scene, 100)
        for thing in scene.objects:
            x, y = thing.position
            assert tuple(picture[round(100 * y), round(100 * x)]) == shapes.COLOURS[thing.slots["colour"]]


def test_shapes_look_equally_large_and_all_differ():
    drawn = {s.objects[0].noun: pixels(s, 128).sum(-1) < 600 for s in shapes.references()[:6]}
    areas = {noun: mask.sum() for noun, mask in drawn.items()}
    assert max(areas.values()) < 1.6 * min(areas.values())
    for a, b in combinations(drawn, 2):
        assert (drawn[a] != drawn[b]).sum() > 0.05 * areas[a], f"{a} looks like {b}"


def test_random_scenes_keep_apart_and_inside():
    rng = np.random.default_rng(0)
    for _ in range(50):
        picture = pixels(shapes.random_scene(rng, 2))
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == 255).all()


def test_a_random_scene_of_three_is_refused():
    with pytest.raises(ValueError, match="n_objects must be 1 or 2, got 3"):
        shapes.random_scene(np.random.default_rng(0), 3)


# --- the CLEVR-like world -------------------------------------------------------------------------


def random_records(count, n_objects):
    rng = np.random.default_rng(7)
    for _ in range(count):
        things = [clevr_like.TYPES[i] for i in rng.integers(len(clevr_like.TYPES), size=n_objects)]
        yield clevr_like.make_record(things, rng)


def test_there_are_96_types_and_a_reference_of_each():
    assert len(set(clevr_like.TYPES)) == 96
    assert [s.objects[0] for s in clevr_like.references()] == list(clevr_like.TYPES)


def test_evaluation_scenes_are_as_announced():
    scenes, validation = clevr_like.evaluation_scenes(), clevr_like.validation_scenes()
    assert len(scenes) == 1000
    assert set(Counter(len(s.objects) for s in scenes)) == set(range(2, 9))
    contents = [tuple(sorted(o.phrase for o in s.objects)) for s in scenes]
    assert len(set(contents)) == 1000, "two scenes with one caption"
    assert [s.caption for s in clevr_like.evaluation_scenes()] == [s.caption for s in scenes]
    assert not {s.image_id for s in scenes} & {s.image_id for s in validation}


def test_captions_follow_the_paper():
    red = clevr_like.SceneObject("sphere", (("size", "large"), ("colour", "red"), ("material", "rubber")))
    blue = clevr_like.SceneObject("cube", (("size", "small"), ("colour", "blue"), ("material", "metal")))
    both = clevr_like.describe([red, blue])
    assert both == "a photo of a large red rubber sphere and a small blue metal cube"
    assert clevr_like.describe([red]) == "a photo of a large red rubber sphere"
    assert clevr_like.describe([red, blue, red]).count(" and ") == 1


@pytest.mark.parametrize("n_objects", [1, 2, 5, 10])
def test_objects_neither_touch_nor_leave_the_picture(n_objects):
    for record in random_records(20, n_objects):
        places = np.array([entry["3d_coords"] for entry in record["objects"]])
        radii = np.array([raycast.SIZES[entry["size"]] for entry in record["objects"]])
        for i, j in combinations(range(n_objects), 2):
            assert np.linalg.norm(places[i, :2] - places[j, :2]) > radii[i] + radii[j]
        assert (places[:, 2] == radii).all(), "every object stands on the table"
        corners = places[:, None] + radii[:, None, None] * np.array([[1, 0, 0], [-1, 0, 0], [0, -1, 0]])
        seen = raycast.project(corners)
        assert ((seen > 0) & (seen < 1)).all()


def test_ten_large_objects_fit():
    large = [thing for thing in clevr_like.TYPES if thing.slots["size"] == "large"][:10]
    assert len(clevr_like.make_record(large, np.random.default_rng(0))["objects"]) == 10


@pytest.mark.parametrize("count", [0, 11])
def test_impossible_numbers_of_objects_are_refused(count):
    with pytest.raises(ValueError, match=f"1 to 10 objects, got {count}"):
        clevr_like.make_record([clevr_like.TYPES[0]] * count, np.random.default_rng(0))


def test_relations_say_what_the_coordinates_say():
    for record in random_records(10, 6):
        scene = clevr_like.scene_from_record(record, "x")
        said = {(r.subject, r.predicate, r.object) for r in scene.relations}
        places = [entry["3d_coords"] for entry in record["objects"]]
        for i, j in combinations(range(6), 2):
            assert ((i, "right", j) in said) == (places[i][0] > places[j][0]) == ((j, "left", i) in said)
            assert ((i, "behind", j) in said) == (places[i][1] > places[j][1]) == ((j, "front", i) in said)


def test_records_carry_the_keys_of_clevr():
    (record,) = random_records(1, 3)
    assert set(record) == {"objects", "relationships", "directions"}
    keys = {"color", "size", "rotation", "shape", "3d_coords", "material", "pixel_coords"}
    assert all(set(entry) == keys for entry in record["objects"])


def test_an_object_is_drawn_where_its_position_says():
    for record in random_records(30, 1):
        scene = clevr_like.scene_from_record(record, "x")
        picture = pixels(scene, 128)
        colourful = picture.max(-1) - picture.min(-1) > 40
        if record["objects"][0]["color"] == "gray":
            continue
        y, x = np.argwhere(colourful).mean(0) / 128
        assert np.allclose((x, y), scene.objects[0].position, atol=0.03)
        assert np.allclose(np.array(record["objects"][0]["pixel_coords"][:2]) / 64, scene.objects[0].position)


def test_every_attribute_changes_the_picture():
    def reference(**changed):
        entry = {"shape": "cube", "size": "large", "color": "red", "material": "rubber", "rotation": 30.0}
        entry |= changed
        entry["3d_coords"] = [0.0, 0.0, raycast.SIZES[entry["size"]]]
        return np.asarray(raycast.draw({"objects": [entry]}, 64)).astype(int)

    for changed in ({"shape": "cylinder"}, {"size": "small"}, {"color": "blue"}, {"material": "metal"}):
        assert np.abs(reference() - reference(**changed)).max(-1).sum() > 1000, changed


@pytest.mark.parametrize("shape", raycast.HITS)
def test_hits_lie_on_the_surface_and_miss_nothing(shape):
    """Against marching along every ray in small steps until the solid's inequality holds."""
    entry = {"shape": shape, "size": "large", "rotation": 20.0, "3d_coords": [0.4, -0.3, 0.7]}
    rays, _, _ = raycast._stage(48)
    distance, normal = raycast.HITS[shape](rays, entry)
    marched = np.full(distance.shape, np.inf)
    for step in np.arange(12.5, 8, -0.004):
        marched[_inside(shape, raycast.EYE + step * rays - entry["3d_coords"])] = step
    both = np.isfinite(distance) & np.isfinite(marched)
    assert (np.isfinite(distance) != np.isfinite(marched)).mean() < 0.003  # grazing rays
    assert np.abs(distance[both] - marched[both]).max() < 0.02
    assert np.allclose(np.linalg.norm(normal[both], axis=-1), 1, atol=1e-3)
    assert ((normal * rays).sum(-1)[both] < 1e-3).all(), "a visible surface faces the eye"


def _inside(shape, p, radius=0.7, angle=0.349066):
    x, y, z = np.moveaxis(p, -1, 0)
    if shape == "sphere":
        return x**2 + y**2 + z**2 <= radius**2
    if shape == "cylinder":
        round_half, half = (share * radius for share in raycast.CYLINDER)
        return (x**2 + y**2 <= round_half**2) & (abs(z + radius - half) <= half)
    half = raycast.CUBE * radius
    z = z + radius - half
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return (abs(u) <= half) & (abs(v) <= half) & (abs(z) <= half)


def test_the_nearer_object_hides_the_farther_one():
    far = {"shape": "sphere", "size": "large", "color": "red", "material": "rubber", "rotation": 0.0}
    near = far | {"color": "blue", "3d_coords": [0.0, -1.0, 0.7]}
    far |= {"3d_coords": [0.0, 0.6, 0.7]}
    either = [np.asarray(raycast.draw({"objects": order}, 64)) for order in ([far, near], [near, far])]
    assert (either[0] == either[1]).all(), "the order of drawing does not matter"
    x, y = (64 * raycast.project(np.array(near["3d_coords"]))).astype(int)
    red, _, blue = either[0][y, x].astype(int)
    assert blue > red
