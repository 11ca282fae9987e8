"""A folder of pictures as scenes: ids, captions, upright pixels, and what it says of broken files."""

import os
from pathlib import Path

import numpy as np
import odd_pictures
import pytest
from PIL import Image

from geoclip_lite.datasets import folder
from geoclip_lite.encoders import load_encoder
from geoclip_lite.retrieval import Gallery

LEFT_RED = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)).resize((40, 20), 0)


def pixels(image):
    return np.asarray(image).astype(int)


def test_pictures_are_listed_by_path_and_nothing_else_is(tmp_path):
    for name in ["b.png", "a/z.JPG", "a/b/c.webp", ".hidden.png", ".checkpoints/d.png", "e.gif"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        LEFT_RED.save(tmp_path / name)
    (tmp_path / "notes.md").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    scenes = folder.read(tmp_path)
    assert [scene.image_id for scene in scenes] == ["a/b/c.webp", "a/z.JPG", "b.png", "e.gif"]
    assert all(scene.objects == () for scene in scenes)


@pytest.mark.parametrize(
    ("name", "beside", "caption"),
    [
        ("0001.png", "A dog\n on  grass.\n", "A dog on grass."),
        ("0001.png", "\ufeffÜber Stock und Stein", "Über Stock und Stein"),
        ("two_red-cubes  02.png", None, "two red cubes 02"),
        ("---.png", None, "---"),
    ],
)
def test_the_caption_is_in_the_file_beside_or_in_the_name(tmp_path, name, beside, caption):
    LEFT_RED.save(tmp_path / name)
    if beside is not None:
        (tmp_path / name).with_suffix(".txt").write_text(beside, "utf-8")
    (scene,) = folder.read(tmp_path)
    assert scene.caption == caption


def test_a_stamp_is_a_files_size_and_time(tmp_path):
    path = tmp_path / "a.png"
    LEFT_RED.save(path)
    os.utime(path, ns=(0, 7))
    assert folder.stamp(path) == f"{path.stat().st_size} 7"
    with pytest.raises(FileNotFoundError):
        folder.stamp(tmp_path / "gone.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb_at_its_own_size(tmp_path, mode):
    LEFT_RED.convert(mode).save(tmp_path / "picture.tiff")
    (scene,) = folder.read(tmp_path)
    drawn = scene.image(64)
    assert (drawn.mode, drawn.size) == ("RGB", (40, 20))
    if mode not in ("L", "1"):
        assert (pixels(drawn)[:, :18] == [255, 0, 0]).all()
        assert (pixels(drawn)[:, 22:] == [0, 0, 255]).all()


def test_a_camera_held_sideways_gives_an_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right of the stored picture
    LEFT_RED.save(tmp_path / "photo.png", exif=exif)
    (scene,) = folder.read(tmp_path)
    drawn = scene.image()
    assert drawn.size == (20, 40)
    assert (pixels(drawn)[:18] == [255, 0, 0]).all()


def test_pictures_of_any_size_make_a_gallery(tmp_path):
    for side in (10, 64, 150):
        Image.new("RGB", (side, 40)).save(tmp_path / f"{side}.png")
    gallery = Gallery.of_images(load_encoder("mini-pairs", device="cpu"), folder.read(tmp_path))
    assert gallery.vectors.shape == (3, 128)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("kept", [0, 20, 0.5, 0.9])
def test_a_damaged_picture_is_named_when_listed_or_when_drawn(tmp_path, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    path = tmp_path / f"broken.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=rf"broken\.{suffix} is no readable picture .* take it away"):
        [scene.image() for scene in folder.read(tmp_path)]


def test_a_picture_that_vanished_is_named(tmp_path):
    LEFT_RED.save(tmp_path / "gone.png")
    (scene,) = folder.read(tmp_path)
    (tmp_path / "gone.png").unlink()
    with pytest.raises(ValueError, match=r"gone\.png is no readable picture"):
        scene.image()


@pytest.mark.parametrize(
    ("beside", "said"), [(b" \n", "is empty: write a caption"), (b"\xff\xfe\x00", "is not UTF-8")]
)
def test_a_caption_that_says_nothing_is_refused(tmp_path, beside, said):
    LEFT_RED.save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(beside)
    with pytest.raises(ValueError, match=rf"a\.txt {said}"):
        folder.read(tmp_path)


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no picture"):
        folder.read(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder: there is no folder .*nowhere"):
        folder.read(tmp_path / "nowhere")


# --- what is left out -------------------------------------------------------------------------------


def left_out_of(place, **options):
    """The scenes of a folder, and what is said of the rest."""
    with pytest.warns(folder.LeftOutWarning) as caught:
        scenes = folder.read(place, **options)
    return scenes, str(caught[0].message)


def test_a_folder_of_odd_pictures_is_read_and_the_rest_is_named(tmp_path):
    good, damaged, others = odd_pictures.fill(tmp_path / "photos")
    good.add(Path(odd_pictures.add_unnamed(tmp_path / "photos").replace("\\udce9", "\udce9")).name)
    scenes, said = left_out_of(tmp_path / "photos", damaged="skip")
    assert {scene.image_id for scene in scenes} == good
    assert all(scene.image().mode == "RGB" for scene in scenes)
    assert not [name for name in damaged | others if f"/{name}" not in said]
    assert not [name for name in good | {"._CAMERA", "Thumbs", "notes"} if f"/{name} " in said]
    with pytest.raises(ValueError, match="no readable picture"):
        [scene.image() for scene in folder.read(tmp_path / "photos")]


def test_a_folder_of_pictures_that_are_not_decoded_says_how_to_convert_them(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(odd_pictures.HEIC)
    with pytest.raises(ValueError, match=r"IMG_1\.HEIC is HEIC.* JPEG or PNG"):
        folder.read(tmp_path)
    (tmp_path / "IMG_1.HEIC").rename(tmp_path / "IMG_1.jpg")
    with pytest.raises(ValueError, match=r"IMG_1\.jpg .* HEIC.* JPEG or PNG"):
        folder.read(tmp_path)


def test_many_that_are_left_out_are_counted(tmp_path):
    LEFT_RED.save(tmp_path / "a.png")
    for number in range(30):
        (tmp_path / f"{number}.heic").touch()
    scenes, said = left_out_of(tmp_path)
    assert len(scenes) == 1
    assert said.startswith("30 left out")
    assert "10 more" in said


def test_linked_folders_are_read_once(tmp_path):
    """Two links to one place, links back, one to what is read anyway, and one into what is hidden."""
    photos, disk = tmp_path / "up" / "photos", tmp_path / "disk"
    for place in (photos / "own", photos / ".store" / "2022", disk / "deep"):
        place.mkdir(parents=True)
        LEFT_RED.save(place / "a.png")
    (disk / "back").symlink_to(photos)
    (disk / "deep" / "loop").symlink_to(disk)
    places = [disk, disk, disk / "deep", photos / "own", photos / ".store" / "2022", ".."]
    for number, place in enumerate(places, start=1):
        (photos / f"{number}").symlink_to(place)
    scenes, said = left_out_of(photos)
    assert [scene.image_id for scene in scenes] == ["1/deep/a.png", "5/a.png", "own/a.png"]
    for name in ("1/back", "1/deep/loop", "2", "3", "4", "6"):
        assert f"/{name} leads" in said
    assert "6 left out" in said


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    LEFT_RED.save(tmp_path / "a.png")
    (tmp_path / "private").mkdir()
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "private":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    scenes, said = left_out_of(tmp_path)
    assert len(scenes) == 1
    assert "private cannot be opened" in said


@pytest.mark.parametrize(
    "content",
    [*("ein „roter“ Würfel".encode(code) for code in ("utf-16", "cp1252")), "red cube".encode("utf-16-le")],
)
def test_a_caption_in_another_encoding_is_named_with_advice(tmp_path, content):
    for name in ("a", "b"):
        LEFT_RED.save(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt .*UTF-8"):
        folder.read(tmp_path)
    scenes, said = left_out_of(tmp_path, damaged="skip")
    assert [scene.image_id for scene in scenes] == ["b.png"]
    assert "a.txt" in said


def test_an_unknown_wish_is_refused(tmp_path):
    with pytest.raises(ValueError, match="damaged"):
        folder.read(tmp_path, damaged="ignore")
