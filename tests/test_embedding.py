"""Indexing a folder: what ends up in the index, what is left out, and what a killed process leaves."""

import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier, Lock

import numpy as np
import odd_pictures
import pytest
import torch
from PIL import Image

from geoclip_lite.datasets import folder as folders
from geoclip_lite.embed import folder as embedding
from geoclip_lite.embed.__main__ import main
from geoclip_lite.embed.cluster import on_ray
from geoclip_lite.embed.folder import FIELDS, SENT, DamagedPictureError, embed_folder, in_threads
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import BadInputError, MismatchError, UnavailableError, open_index
from geoclip_lite.pipeline import Pipeline, Settings

IN_CI = os.environ.get("CI", "").lower() == "true"  # there, nothing is skipped
SIZES = [(64, 64), (80, 50), (31, 97), (200, 200)]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini-pairs", device="cpu")


def noise(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder, count, first=0):
    """Pictures of several sizes and kinds, in several folders."""
    for number in range(first, first + count):
        path = folder / f"{number % 3}" / f"{number:05}.{('png', 'jpg', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(*SIZES[number % 4], seed=number).save(path)
    return folder


def damage(path):
    path.write_bytes(path.read_bytes()[:40])


def opened(encoder, where="memory:", windows=False, fields=FIELDS):
    return Pipeline(encoder, where, fields=fields, settings=Settings(windows=windows))


def assert_holds(pipeline, encoder, folder):
    """Each picture of the folder, as the encoder sees it, and no others."""
    scenes = folders.read(folder)
    wanted = torch.cat([encoder.encode_images([scene.image()]) for scene in scenes])
    rows = pipeline.index.read([scene.image_id for scene in scenes])
    assert len(pipeline) == len(scenes)
    torch.testing.assert_close(rows.vectors, wanted, atol=1e-5, rtol=0)
    assert rows.fields["caption"] == [scene.caption for scene in scenes]


class Counting:
    """An encoder that notes how many pictures it is given."""

    def __init__(self, encoder):
        self.encoder, self.encoded = encoder, 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode_images(self, images):
        self.encoded += len(images)
        return self.encoder.encode_images(images)


# --- what ends up in the index --------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_the_index_holds_every_picture_as_the_encoder_sees_it(encoder, tmp_path, monkeypatch, batch):
    monkeypatch.setattr(embedding, "BATCH", batch)
    folder = fill(tmp_path / "pictures", 30)
    (folder / "0" / "00000.txt").write_text("a caption of its own")
    with opened(encoder) as pipeline:
        report = embed_folder(folder, pipeline)
        assert (report.embedded, report.unchanged, report.damaged) == (30, 0, ())
        assert_holds(pipeline, encoder, folder)


def test_a_store_of_embeddings_serves_too(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 5)
    with opened(Stored(encoder, tmp_path / "store")) as pipeline:
        embed_folder(folder, pipeline)
        assert_holds(pipeline, encoder, folder)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
@pytest.mark.parametrize("size", [(64, 64), (10, 300), (1, 1), (90, 64)])
def test_a_minis_square_is_encoded_like_its_picture(encoder, mode, size):
    image = noise(*size, seed=1).convert(mode)
    square = square_of(encoder, image)
    assert (square.size, square.mode) == ((64, 64), "RGB")
    assert square_of(encoder, square).tobytes() == square.tobytes()
    torch.testing.assert_close(encoder.encode_images([square]), encoder.encode_images([image]))


def test_windows_are_those_that_a_pipeline_adds(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 20)
    scenes = folders.read(folder)
    with opened(encoder, windows=True) as made, Pipeline(encoder, "memory:") as reference:
        embed_folder(folder, made)
        ids = [scene.image_id for scene in scenes]
        reference.add(ids, [scene.image() for scene in scenes])
        found, wanted = (one.index.read(ids).payload.float() for one in (made, reference))
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)


# --- what is not done again -----------------------------------------------------------------------


def test_a_second_run_embeds_only_what_is_new_or_has_changed(encoder, tmp_path):
    folder, counting = fill(tmp_path / "pictures", 12), Counting(encoder)
    with opened(encoder, tmp_path / "index") as pipeline:
        embed_folder(folder, pipeline)
        fill(folder, 3, first=12)
        noise(50, 50, seed=99).save(folder / "0" / "00000.png")
        (folder / "2" / "00002.txt").write_text("another caption")
        os.utime(folder / "1" / "00001.jpg", ns=(1, 1))
        pipeline.encoder = counting
        report = embed_folder(folder, pipeline)
        assert (report.embedded, report.unchanged) == (counting.encoded, 9) == (6, 9)
        assert_holds(pipeline, encoder, folder)


def test_a_picture_that_changes_while_it_is_read_is_read_again_next_time(encoder, tmp_path):
    """Its stamp is from before the reading, so it is never younger than the content."""
    folder = fill(tmp_path / "pictures", 3)
    late = Counting(encoder)
    late.square = lambda image: (
        noise(70, 70, seed=5).save(folder / "0" / "00000.png"),
        square_of(encoder, image),
    )[1]
    with opened(encoder) as pipeline:
        pipeline.encoder = late
        embed_folder(folder, pipeline)
        pipeline.encoder = encoder
        assert embed_folder(folder, pipeline).embedded == 1
        assert_holds(pipeline, encoder, folder)


def test_pictures_that_have_gone_stay_unless_they_are_pruned(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 5)
    with opened(encoder) as pipeline:
        embed_folder(folder, pipeline)
        (folder / "0" / "00000.png").unlink()
        damage(folder / "1" / "00001.jpg")
        report = embed_folder(folder, pipeline, damaged="skip")
        assert (report.unchanged, report.pruned, len(pipeline)) == (3, 0, 5)
        report = embed_folder(folder, pipeline, damaged="skip", prune=True)
        assert (report.unchanged, report.pruned, len(pipeline)) == (3, 2, 3)
        (folder / "1" / "00001.jpg").unlink()
        assert_holds(pipeline, encoder, folder)


def test_what_was_sent_in_is_left_alone_and_what_is_skipped_stays_out(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 4)
    ours, other, skipped = "0/00000.png", "elsewhere.png", "1/00001.jpg"
    with opened(encoder) as pipeline:
        fields = {"caption": ["mine", "mine"], "stamp": [f"{SENT} a", f"{SENT} b"]}
        pipeline.add([ours, other], [noise(64, 64, 7), noise(64, 64, 8)], fields)
        report = embed_folder(folder, pipeline, prune=True, skip={skipped})
        assert (report.embedded, report.pruned) == (2, 0)
        assert pipeline.index.values("caption")[ours] == "mine"
        assert other in pipeline.index.values("stamp")
        assert skipped not in pipeline.index.values("stamp")


# --- damage ---------------------------------------------------------------------------------------


def test_damaged_pictures_are_skipped_by_name_and_counted(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 30)
    broken = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))[::4]]
    for name in broken:
        damage(folder / name)
    with opened(encoder) as pipeline:
        report = embed_folder(folder, pipeline, damaged="skip")
        assert [one.name for one in report.damaged] == broken
        assert all(Path(one.name).name in one.reason for one in report.damaged)
        for name in broken:
            (folder / name).unlink()
        assert_holds(pipeline, encoder, folder)


def test_a_damaged_picture_is_refused_by_name_and_what_came_before_is_kept(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 70)
    last = sorted(folder.rglob("*.*"))[-1]
    damage(last)
    with opened(encoder) as pipeline:
        with pytest.raises(DamagedPictureError, match=last.name):
            embed_folder(folder, pipeline)
        last.unlink()
        assert embed_folder(folder, pipeline).unchanged == 69


def test_a_folder_of_nothing_but_damage_is_embedded_to_nothing(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 3)
    for path in folder.rglob("*.*"):
        damage(path)
    with opened(encoder) as pipeline:
        assert len(embed_folder(folder, pipeline, damaged="skip").damaged) == 3
        assert len(pipeline) == 0


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"deep/" * 120 + b"a.png"])
def test_a_path_that_cannot_be_an_id_is_damage(encoder, tmp_path, name):
    folder = fill(tmp_path / "pictures", 2)
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(64, 64, seed=0).save(path)
    with opened(encoder) as pipeline:
        report = embed_folder(folder, pipeline, damaged="skip")
        assert (report.embedded, len(report.damaged)) == (2, 1)


@pytest.mark.parametrize("mode_and_size", [("L", (1, 1001)), ("L", (70_000, 60)), ("1", (20_000, 20_000))])
def test_a_picture_that_would_fill_the_memory_is_damage(encoder, tmp_path, mode_and_size):
    Image.new(*mode_and_size).save(tmp_path / "large.png")
    with opened(encoder) as pipeline:
        assert len(embed_folder(tmp_path, pipeline, damaged="skip").damaged) == 1


def test_a_picture_that_vanishes_while_it_waits_is_named(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 2)
    name = "0/00000.png"

    def vanishing(blocks, read, encode):
        blocks = list(blocks)
        (folder / name).unlink()
        yield from in_threads(blocks, read, encode)

    with opened(encoder) as pipeline:
        report = embed_folder(folder, pipeline, damaged="skip", spread=vanishing)
        assert ([one.name for one in report.damaged], report.embedded) == ([name], 1)


# --- how it works ---------------------------------------------------------------------------------


def test_pictures_are_read_side_by_side(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 3)
    meeting, together = Barrier(3, timeout=60), Counting(encoder)
    together.square = lambda image: (meeting.wait(), square_of(encoder, image))[1]
    folder = fill(tmp_path / "pictures", 9)
    with opened(encoder) as pipeline:
        pipeline.encoder = together
        assert embed_folder(folder, pipeline, spread=partial(in_threads, workers=3)).embedded == 9


def test_few_pictures_are_in_memory_at_a_time(encoder, tmp_path, monkeypatch):
    """Those that are read or wait for the encoder, however large the folder."""
    lock, most, waiting = Lock(), 0, 0

    class Watching(Counting):
        def square(self, image):
            nonlocal most, waiting
            with lock:
                waiting += 1
                most = max(most, waiting)
            return square_of(encoder, image)

        def encode_images(self, images):
            nonlocal waiting
            with lock:
                waiting -= len(images)
            return encoder.encode_images(images)

    monkeypatch.setattr(embedding, "BATCH", 10)
    folder = fill(tmp_path / "pictures", 150)
    with opened(encoder) as pipeline:
        pipeline.encoder = Watching(encoder)
        embed_folder(folder, pipeline, spread=partial(in_threads, workers=2))
    assert most <= 5 * 10, "two threads read, a few batches wait"


def test_what_goes_wrong_in_the_encoder_or_the_index_is_not_swallowed(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 5)
    folder = fill(tmp_path / "pictures", 12)

    class Tired(Counting):
        def encode_images(self, images):
            if self.encoded:
                raise RuntimeError("out of memory")
            return super().encode_images(images)

    with opened(encoder) as pipeline:
        pipeline.encoder = Tired(encoder)
        with pytest.raises(RuntimeError, match="out of memory"):
            embed_folder(folder, pipeline)
        pipeline.encoder = encoder
        monkeypatch.setattr(
            pipeline.index, "upsert", lambda *_: (_ for _ in ()).throw(UnavailableError("no room"))
        )
        with pytest.raises(UnavailableError, match="no room"):
            embed_folder(folder, pipeline)


def test_what_does_not_fit_is_refused(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 1)
    with opened(encoder, fields={"price": float}) as pipeline, pytest.raises(MismatchError, match="fields"):
        embed_folder(folder, pipeline)
    with opened(encoder) as pipeline, pytest.raises(ValueError, match="damaged"):
        embed_folder(folder, pipeline, damaged="ignore")


# --- the command ----------------------------------------------------------------------------------


def arguments(folder, where, *others):
    return [str(one) for one in (folder, where, "--encoder", "mini-pairs", "--device", "cpu", *others)]


def test_killed_the_command_goes_on_where_it_was(encoder, tmp_path):
    folder, where = fill(tmp_path / "pictures", 200), tmp_path / "index"
    script = "import sys, geoclip_lite.embed.folder as f; f.BATCH = 20; from geoclip_lite.embed.__main__ "
    script += "import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *arguments(folder, where)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    rows = []
    for least in (1, 100):
        killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while killed.poll() is None and (not rows or rows[-1] < least):
            rows.append(count(where, encoder))
        killed.kill()
        killed.wait()
    before = count(where, encoder)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{200 - before} embedded, {before} already there" in done.stdout
    with opened(encoder, where) as pipeline:
        assert_holds(pipeline, encoder, folder)
        pipeline.verify()


def count(where, encoder):
    """Rows that another process has stored; there may be no index yet."""
    with suppress(BadInputError), open_index(where, encoder=encoder.fingerprint) as index:
        return len(index)
    return 0


def test_the_command_names_all_that_it_leaves_out_of_odd_pictures(encoder, tmp_path, capsys):
    folder, where = tmp_path / "photos", tmp_path / "index"
    good, damaged, others = odd_pictures.fill(folder)
    damaged.add(odd_pictures.add_unnamed(folder))
    assert main(arguments(folder, where)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "--damaged skip" in line
    assert main(arguments(folder, where, "--damaged", "skip", "--optimise")) == 0
    output = capsys.readouterr()
    assert f"{len(good) + len(damaged)} pictures: " in output.out
    lines = output.err.splitlines()
    assert len(lines) == len(damaged | others)
    assert all(any(name in line for line in lines) for name in damaged | others)
    with opened(encoder, where) as pipeline:
        assert set(pipeline.index.values("stamp")) == good


def test_the_command_prunes_when_told_to(encoder, tmp_path):
    folder, where = fill(tmp_path / "pictures", 4), tmp_path / "index"
    assert main(arguments(folder, where, "--windows")) == 0
    (folder / "0" / "00000.png").unlink()
    for options, left in (((), 4), (("--prune",), 3)):
        assert main(arguments(folder, where, "--windows", *options)) == 0
        with opened(encoder, where, windows=True) as pipeline:
            assert len(pipeline) == left


def test_the_command_can_be_interrupted(encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(type(encoder), "encode_images", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(arguments(fill(tmp_path / "pictures", 5), tmp_path / "index")) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["nowhere", "index", "--encoder", "mini-pairs"], "nowhere"),
        (["photos", "index", "--encoder", "mini-paris"], "mini-pairs"),
        (["photos", "nowhere:there", "--encoder", "mini-pairs"], "nowhere:there"),
        (["photos", "memory:", "--encoder", "mini-pairs"], "memory:"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(monkeypatch, tmp_path, capsys, wrong, named):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "photos", 1)
    assert main(wrong) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert named in line
    assert [path.name for path in tmp_path.iterdir()] == ["photos"], "nothing was begun"


# --- on a cluster ---------------------------------------------------------------------------------


needs_ray = pytest.mark.skipif(find_spec("ray") is None and not IN_CI, reason="Ray is not installed")


@needs_ray
@pytest.mark.flaky(reruns=1)  # a cluster is started
def test_a_cluster_gives_the_same_index(encoder, tmp_path):
    """One that lacks processors hangs without a word: the time limit makes that a failure."""
    folder, where = fill(tmp_path / "pictures", 40), tmp_path / "index"
    (folder / "0" / "\udcff.png").write_bytes(b"no picture, and no name that UTF-8 could hold")
    command = [sys.executable, "-m", "geoclip_lite.embed", *arguments(folder, where, "--damaged", "skip")]
    command += ["--ray", "local", "--windows"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "40 embedded, 0 already there, 1 damaged" in done.stdout
    (folder / "0" / "\udcff.png").unlink()
    with opened(encoder, where, windows=True) as pipeline:
        assert_holds(pipeline, encoder, folder)
        assert embed_folder(folder, pipeline, spread=on_ray).unchanged == 40


def test_without_ray_the_extra_is_named(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    folder = fill(tmp_path / "pictures", 1)
    with opened(encoder) as pipeline, pytest.raises(ImportError, match=r"geoclip-lite\[ray\]"):
        embed_folder(folder, pipeline, spread=on_ray)


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere"])
def test_a_cluster_that_does_not_answer_is_named(encoder, tmp_path, address):
    folder = fill(tmp_path / "pictures", 1)
    with opened(encoder) as pipeline, pytest.raises(ConnectionError, match=address):
        embed_folder(folder, pipeline, spread=partial(on_ray, address=address))


@pytest.mark.parametrize("wrong", [{"actors": 0}, {"cpus": 0}, {"cpus": -1, "gpus": 1}])
def test_clusters_that_cannot_be_are_refused(encoder, tmp_path, wrong):
    folder = fill(tmp_path / "pictures", 1)
    with opened(encoder) as pipeline, pytest.raises(ValueError, match="actors"):
        embed_folder(folder, pipeline, spread=partial(on_ray, **wrong))
