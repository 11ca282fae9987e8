"""The shortlist against a full sort and faiss; the bag's ceiling; what Gallery and Ranking refuse."""

from collections import Counter
from dataclasses import replace

import faiss
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from near_ties import assert_same_ranking
from PIL import Image

from geoclip_lite.datasets import shapes
from geoclip_lite.retrieval import Gallery, Ranking, bag_ranking, shortlist, unit_rows
from geoclip_lite.scenes import Scene

few = settings(max_examples=20, deadline=None)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def gaussian(rows, dim, seed=0):
    return unit_rows(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), "vectors")


def corners(rows, seed=0):
    """Rows from the 16 corners (+-.5, +-.5, +-.5, +-.5): cosines are exact, and most of them tie."""
    return torch.randint(0, 2, (rows, 4), generator=torch.Generator().manual_seed(seed)) - 0.5


def blank_scenes(n):
    return tuple(
        Scene(str(i), f"caption {i}", (), lambda size: Image.new("RGB", (size, size))) for i in range(n)
    )


# --- shortlist ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("items", "k", "chunk"), [(3000, 100, 512), (3000, 3000, 700), (5, 1, 4096), (1500, 7, 64)]
)
def test_shortlist_equals_a_full_sort(items, k, chunk, device):
    queries, gallery = gaussian(40, 32).to(device), gaussian(items, 32, seed=1).to(device)
    ranking = shortlist(queries, gallery, k, chunk=chunk)
    expected = (queries @ gallery.T).sort(dim=1, descending=True)
    torch.testing.assert_close(ranking.scores, expected.values[:, :k], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        (queries @ gallery.T).gather(1, ranking.indices), ranking.scores, rtol=0, atol=1e-6
    )


def test_shortlist_equals_faiss():
    queries, gallery = gaussian(50, 64), gaussian(4000, 64, seed=1)
    index = faiss.IndexFlatIP(64)
    index.add(gallery.numpy())
    scores, indices = map(torch.from_numpy, index.search(queries.numpy(), 20))
    assert_same_ranking(shortlist(queries, gallery, 20, chunk=1000), Ranking(indices, scores, 4000))


@pytest.mark.parametrize("device", DEVICES)
@few
@given(rows=st.integers(20, 700), k=st.integers(1, 20), chunk=st.integers(9, 800), seed=st.integers(0, 99))
def test_ties_stand_in_the_order_of_the_gallery_whatever_the_chunk(device, rows, k, chunk, seed):
    queries, gallery = corners(6, seed).to(device), corners(rows, seed + 1).to(device)
    expected = (queries @ gallery.T).sort(dim=1, descending=True, stable=True)
    ranking = shortlist(queries, gallery, k, chunk=chunk)
    assert torch.equal(ranking.indices, expected.indices[:, :k])
    assert torch.equal(ranking.scores, expected.values[:, :k])


@few
@given(first=st.integers(50, 500), second=st.integers(50, 500), seed=st.integers(0, 99))
def test_scores_do_not_depend_on_the_chunk(first, second, seed):
    queries, gallery = gaussian(5, 19, seed), gaussian(400, 19, seed + 1)
    assert_same_ranking(*(shortlist(queries, gallery, 30, chunk=chunk) for chunk in (first, second)))


def test_copies_of_a_picture_score_the_same():
    gallery = gaussian(101, 33).repeat(7, 1)
    ranking = shortlist(gaussian(9, 33, seed=1), gallery, 700, chunk=97)
    groups = ranking.scores[:, :693].view(9, 99, 7)
    assert (groups == groups[:, :, :1]).all()
    assert (ranking.indices[:, :693].view(9, 99, 7).diff(dim=2) == 101).all()


@few
@given(st.permutations(range(60)))
def test_permuting_the_gallery_permutes_the_result(order):
    queries, gallery = gaussian(8, 16), gaussian(60, 16, seed=1)
    order = torch.tensor(order)
    plain, permuted = shortlist(queries, gallery, 60), shortlist(queries, gallery[order], 60)
    assert_same_ranking(replace(permuted, indices=order[permuted.indices]), plain)


def test_more_queries_than_fit_in_one_block():
    queries, gallery = gaussian(2500, 8), gaussian(300, 8, seed=1)
    expected = (queries @ gallery.T).topk(3).values
    torch.testing.assert_close(shortlist(queries, gallery, 3).scores, expected, rtol=0, atol=1e-6)


def test_queries_and_plain_vectors_may_have_any_length():
    queries, vectors = gaussian(4, 8), gaussian(50, 8, seed=1)
    stretched = shortlist(100 * queries, 0.01 * vectors, 5)
    assert_same_ranking(stretched, shortlist(queries, Gallery(vectors, blank_scenes(50)), 5))


def test_queries_that_carry_gradients_are_welcome():
    queries = gaussian(4, 8).requires_grad_()
    assert not shortlist(queries, gaussian(50, 8), 5).scores.requires_grad


@pytest.mark.parametrize("k", [0, 11])
def test_k_must_fit_the_gallery(k):
    with pytest.raises(ValueError, match=f"k must be 1 to 10 .*got {k}"):
        shortlist(gaussian(2, 4), gaussian(10, 4), k)


def test_shortlist_refuses_vectors_of_another_space():
    with pytest.raises(ValueError, match="one space, got vectors of length 4 against 5"):
        shortlist(gaussian(2, 4), gaussian(10, 5), 1)


def test_shortlist_refuses_a_chunk_below_one():
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        shortlist(gaussian(2, 4), gaussian(10, 4), 1, chunk=0)


# --- unit_rows ------------------------------------------------------------------------------------


@few
@given(hnp.arrays("float32", (5, 3), elements=st.floats(0.125, 1024, width=32)))
def test_unit_rows_have_length_one_and_keep_their_direction(array):
    vectors = torch.from_numpy(array)
    unit = unit_rows(vectors, "vectors")
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(unit * vectors.norm(dim=1, keepdim=True), vectors)


@pytest.mark.parametrize(
    ("given", "kept"), [("float64", "float64"), ("float16", "float32"), ("int64", "float32")]
)
def test_unit_rows_are_floats(given, kept):
    assert unit_rows(torch.ones(2, 3, dtype=getattr(torch, given)), "v").dtype == getattr(torch, kept)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0])
def test_unit_rows_name_the_bad_row(bad):
    vectors = torch.ones(4, 3)
    vectors[2] = bad
    with pytest.raises(ValueError, match=r"queries must have rows of finite.* in row 2 \(1 such rows\)"):
        shortlist(vectors, gaussian(10, 3), 1)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 0), (1, 2, 3)])
def test_unit_rows_want_a_matrix(shape):
    with pytest.raises(ValueError, match="gallery must be a non-empty matrix"):
        unit_rows(torch.ones(shape), "gallery")


# --- Gallery --------------------------------------------------------------------------------------


class Brightness:
    """An encoder of two dimensions: enough to see what a gallery hands it."""

    name, dim, image_size = "brightness", 2, 8

    def encode_images(self, images):
        assert all(image.size == (8, 8) for image in images)
        return unit_rows(torch.tensor([[1.0, image.getpixel((0, 0))[0]] for image in images]), "images")

    def encode_texts(self, texts):
        return unit_rows(torch.tensor([[1.0, len(text)] for text in texts]), "texts")


def test_a_gallery_of_images_keeps_the_order_of_the_scenes():
    scenes = [
        Scene(str(i), "", (), lambda size, grey=i % 256: Image.new("RGB", (size, size), (grey, 0, 0)))
        for i in range(600)
    ]
    gallery = Gallery.of_images(Brightness(), scenes)
    grey = gallery.vectors[:, 1] / gallery.vectors[:, 0]
    torch.testing.assert_close(grey, torch.arange(600.0) % 256)
    assert gallery.scenes == tuple(scenes)


def test_a_gallery_of_texts_holds_the_captions():
    scenes = blank_scenes(12)
    gallery = Gallery.of_texts(Brightness(), scenes)
    torch.testing.assert_close(gallery.vectors, Brightness().encode_texts([s.caption for s in scenes]))


@pytest.mark.parametrize("make", [Gallery.of_images, Gallery.of_texts])
def test_an_empty_gallery_is_refused(make):
    with pytest.raises(ValueError, match="one vector per scene"):
        make(Brightness(), [])


def test_a_gallery_needs_a_scene_for_every_vector():
    with pytest.raises(ValueError, match=r"one vector per scene, got \(3, 4\) for 2 scenes"):
        Gallery(gaussian(3, 4), blank_scenes(2))


@pytest.mark.parametrize("factor", [2.0, 0.0, torch.nan])
def test_a_gallery_refuses_rows_that_are_not_unit(factor):
    vectors = gaussian(3, 4)
    vectors[1] *= factor
    with pytest.raises(ValueError, match="row 1 is not: pass them through unit_rows"):
        Gallery(vectors, blank_scenes(3))


# --- Ranking --------------------------------------------------------------------------------------


def test_of_scores_sorts_and_breaks_ties_by_the_lower_index():
    ranking = Ranking.of_scores(torch.tensor([[1.0, 3, 1, 2], [0, 0, 0, 5]]), k=3)
    assert ranking.indices.tolist() == [[1, 3, 0], [3, 0, 1]]
    assert ranking.scores.tolist() == [[3, 2, 1], [5, 0, 0]]
    assert (ranking.k, ranking.gallery_size) == (3, 4)


def test_rescored_reorders_the_same_candidates_and_keeps_the_flags():
    first = Ranking.of_scores(torch.tensor([[0.9, 0.1, 0.5, 0.7]]), k=3, oracle=True)
    second = first.rescored(torch.tensor([[1.0, 4.0, 1.0]]), "reranker", transductive=True)
    assert second.indices.tolist() == [[3, 0, 2]]
    assert (second.oracle, second.transductive, second.method) == (True, True, "reranker")
    assert second.gallery_size == 4


def test_top_keeps_the_first_columns():
    ranking = Ranking.of_scores(torch.tensor([[0.9, 0.1, 0.5]], dtype=torch.float64))
    assert ranking.top(2).indices.tolist() == [[0, 2]]
    with pytest.raises(ValueError, match=r"k must be 1 to 3 .*got 4"):
        ranking.top(4)


@pytest.mark.parametrize(
    ("indices", "scores", "message"),
    [
        ([[0, 1]], [[1.0]], "two equal, non-empty matrices"),
        ([0, 1], [1.0, 0.0], "two equal, non-empty matrices"),
        ([[]], [[]], "two equal, non-empty matrices"),
        ([[0.0, 1.0]], [[1.0, 0.0]], "must be int64"),
        ([[0, 3]], [[1.0, 0.0]], "indices must be 0 to 2"),
        ([[0, -1]], [[1.0, 0.0]], "indices must be 0 to 2"),
        ([[0, 1]], [[0.0, 1.0]], "must fall along each row"),
        ([[0, 1]], [[1.0, torch.nan]], "hold no NaN"),
        ([[1]], [[torch.nan]], "hold no NaN"),
        ([[1, 1]], [[1.0, 0.0]], "repeated index"),
    ],
)
def test_a_ranking_refuses_what_is_none(indices, scores, message):
    with pytest.raises(ValueError, match=message):
        Ranking(torch.tensor(indices), torch.tensor(scores), gallery_size=3)


def test_of_scores_wants_a_matrix():
    with pytest.raises(ValueError, match=r"queries x items, got shape \(3,\)"):
        Ranking.of_scores(torch.arange(3.0))


def test_rescored_wants_a_score_per_candidate():
    with pytest.raises(ValueError, match=r"one entry per candidate, \(1, 2\), got \(1, 3\)"):
        Ranking.of_scores(torch.tensor([[0.9, 0.1]])).rescored(torch.zeros(1, 3), "reranker")


# --- the ceiling of a bag of attributes -----------------------------------------------------------


def test_the_bag_scores_by_the_distance_between_counters():
    scenes = shapes.compositions()[::601]
    ranking = bag_ranking(scenes[:5], scenes, ("colour", "noun"))
    bags = [Counter(pair for o in s.objects for pair in o.slots.items()) for s in scenes]
    for query, indices, scores in zip(bags, ranking.indices.tolist(), ranking.scores.tolist(), strict=False):
        for i, score in zip(indices, scores, strict=True):
            assert -score == ((query - bags[i]) + (bags[i] - query)).total()


def test_the_bag_cannot_tell_binding_apart_but_knows_its_words():
    swapped = [["blue star", "red circle", "red circle"], ["blue circle", "red circle", "red star"]]
    by_phrase = {o.phrase: o for o in shapes.PRIMITIVES}
    scenes = [shapes.composition([by_phrase[p] for p in phrases]) for phrases in swapped]
    assert bag_ranking(scenes, scenes, ("colour", "noun")).scores.tolist() == [[0, 0], [0, 0]]
    ranking = bag_ranking(scenes, [*scenes, shapes.composition(shapes.PRIMITIVES[:3])], ("colour",), k=2)
    assert ranking.oracle
    assert ranking.method == "bag of colour"
    assert ranking.indices.tolist() == [[0, 1], [0, 1]]


def test_the_bag_refuses_a_slot_that_nothing_has():
    scenes = shapes.compositions()[:3]
    with pytest.raises(ValueError, match=r"no object of the gallery has the slots \['size'\]"):
        bag_ranking(scenes, scenes, ("colour", "size"))
