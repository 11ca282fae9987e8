"""Samples in the official formats: the readers of the real sets read them, and they say what was drawn."""

import pytest

from geoclip_lite.datasets import samples
from geoclip_lite.datasets.clevr_like import scene_from_record
from geoclip_lite.datasets.official import clevr, sugarcrepe, urban1k, visual_genome


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return samples.write(tmp_path_factory.mktemp("samples") / "data", n=12)


def bag(scene):
    return sorted((thing.noun, *sorted(value for _, value in thing.attributes)) for thing in scene.objects)


def drawn(number):
    """The scenes of one of the data sets, as they were drawn."""
    return [scene_from_record(r, r["image_filename"]) for r in samples.records(12, seed=[0, number])]


def test_clevr_and_visual_genome_hold_the_objects_that_were_drawn(folder):
    place = folder / "clevr" / "CLEVR_v1.0"
    found = clevr.read(place / "scenes" / "CLEVR_val_scenes.json", place / "images" / "val").scenes
    assert [bag(scene) for scene in found] == [bag(scene) for scene in drawn(0)]
    found = visual_genome.read(folder / "visual-genome").scenes
    assert [bag(scene) for scene in found] == [bag(scene) for scene in drawn(3)]
    for scene, truth in zip(found, drawn(3), strict=True):
        assert len(scene.relations) == len(truth.relations)
        for thing, other in zip(scene.objects, truth.objects, strict=True):
            assert thing.position == pytest.approx(other.position, abs=0.02)


def test_pictures_are_those_of_the_scenes(folder):
    from PIL import ImageChops, ImageStat

    reading = sugarcrepe.read(folder / "sugarcrepe", folder / "coco" / "val2017")
    for scene, truth in zip(reading.gallery(), drawn(1), strict=True):
        difference = ImageChops.difference(scene.image(), truth.image(samples.SIZE))
        assert max(ImageStat.Stat(difference).mean) < 6, "JPEG changes a picture a little"


def test_a_negative_caption_is_never_true_and_says_what_its_kind_promises(folder):
    choices = sugarcrepe.read(folder / "sugarcrepe", folder / "coco" / "val2017").scenes
    assert {choice.subset for choice in choices} == set(sugarcrepe.SUBSETS)
    for choice in choices:
        right, wrong = (sorted(text.split()) for text in (choice.caption, choice.negative))
        assert choice.caption != choice.negative
        if choice.subset.startswith("swap") or choice.subset == "replace_rel":
            bare = [[word.strip(",") for word in words] for words in (right, wrong)]
            assert sorted(bare[0]) == sorted(bare[1]), "the same words"
        if choice.subset == "add_att":
            assert len(wrong) == len(right) + 1
        if choice.subset == "add_obj":
            assert len(wrong) > len(right)


def test_long_captions_are_as_long_as_the_real_ones(folder):
    scenes = urban1k.read(folder / "urban1k" / "Urban1k", pairs=12).scenes
    assert all(70 <= len(scene.caption.split()) <= 180 for scene in scenes)
    for scene, truth in zip(scenes, drawn(2), strict=True):
        assert all(thing.phrase in scene.caption for thing in truth.objects)


def test_nothing_is_written_over(folder, tmp_path):
    with pytest.raises(FileExistsError, match="is not empty"):
        samples.write(folder)
    with pytest.raises(ValueError, match="1 picture or more, got 0"):
        samples.write(tmp_path / "none", n=0)
