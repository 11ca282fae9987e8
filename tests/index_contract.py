"""What every index promises, whatever store is under it. Test modules import all of it and say which stores.

A module gives `begin`, a function that opens a new index, and `kept`, an index of ROWS that no test changes.
"""

from __future__ import annotations

import operator
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_processes import DIM, batch, process, units, write, write_some
from near_ties import assert_same_ranking

from geoclip_lite.index import BadFilterError, BadInputError, VectorStoreError, field, search_objects
from geoclip_lite.index.filters import AllOf, AnyOf, Compare, Filter, Not, OneOf
from geoclip_lite.retrieval import shortlist, unit_rows

YES = True  # the value of a filter
ENCODER = "0123abcd"
KINDS = {"brand": str, "price": float, "year": int, "new": bool, "order": int}
BRANDS = [
    "acme",
    "",
    "o'neil",
    'say "hi"',
    "back\\slash",
    "' OR 1=1 --",
    '" or id != "',
    "züri ✓ 𝔘",
    "a\nb\tc",
    "%_",
]


def clustered(rows, dim, seed):
    """Vectors as encoders make them: near one of some centres."""
    noise = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    centres = torch.randn(50, dim, generator=torch.Generator().manual_seed(99))
    which = torch.randint(50, (rows,), generator=torch.Generator().manual_seed(seed + 1))
    return unit_rows(centres[which] + noise, "rows")


def row_fields(numbers):
    """Fields that follow from a row's number."""
    return {
        "brand": [BRANDS[n % len(BRANDS)] for n in numbers],
        "price": [n / 4 - 3 for n in numbers],
        "year": [n % 12 - 5 for n in numbers],
        "new": [n % 3 == 0 for n in numbers],
        "order": [n * (2**53 // 100) for n in numbers],
    }


ROWS = SimpleNamespace(ids=[f"row {n}" for n in range(60)], vectors=units(60), fields=row_fields(range(60)))


def fill(index, numbers=range(60)):
    ids = [f"row {n}" for n in numbers]
    index.upsert(ids, ROWS.vectors[list(numbers)], row_fields(numbers))
    return index


def true_order(queries, vectors):
    return (unit_rows(queries, "queries") @ vectors.T).argsort(dim=1, descending=True)


# --- search ---------------------------------------------------------------------------------------


def test_recall_against_exact_search(begin):
    vectors, queries = clustered(5000, 64, seed=0), clustered(50, 64, seed=5)
    index = begin(dim=64, fields={"year": int})
    ids, years = [str(n) for n in range(5000)], [n % 500 for n in range(5000)]
    for start in range(0, 5000, 2500):
        some = slice(start, start + 2500)
        index.upsert(ids[some], vectors[some], {"year": years[some]})
    index.optimise()
    expected = true_order(queries, vectors)
    for k in (10, 100):
        check_recall(index, queries, k, None, expected)
    for few in (1, 25, 250):  # a filter that 10 rows pass, or 250, or half of them
        passing = torch.tensor(years) < few
        ordered = torch.stack([row[passing[row]] for row in expected])
        check_recall(index, queries, 100, field("year") < few, ordered)
    check_recall(index, queries[:2], 3000, None, expected[:2])


def check_recall(index, queries, k, where, expected):
    """Full lists, with nearly all (or all) of the true items and their cosines."""
    hits = index.search(queries, k, where)
    expected = expected[:, :k]
    found = torch.tensor([[int(name) for name in row] for row in hits.ids])
    assert found.shape == expected.shape
    share = np.mean(
        [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    )
    assert share >= (1.0 if index.abilities.exact else 0.99)
    assert all((row[1:] <= row[:-1]).all() for row in hits.scores)


def test_scores_are_cosines_whatever_the_length_of_a_query(kept):
    queries = 7.5 * units(4, seed=3)
    hits = kept.search(queries.double(), 60)
    for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
        order = [ROWS.ids.index(name) for name in ids]
        assert sorted(order) == list(range(60))
        assert torch.allclose(scores, torch.cosine_similarity(query[None], ROWS.vectors[order]), atol=1e-5)


def test_equal_scores_stand_in_the_order_of_the_ids(begin):
    index = begin(fields={"year": int})
    index.upsert(["b", "d", "a", "c"], units(1).expand(4, -1), {"year": [1, 2, 3, 4]})
    assert index.search(units(1), 4).ids == (("a", "b", "c", "d"),)


def test_hits_become_a_ranking_of_gallery_items(kept):
    queries = units(3, seed=4)
    ranking = kept.search(queries, 5).ranking(ROWS.ids, method="index")
    assert_same_ranking(ranking, shortlist(queries, ROWS.vectors, 5))
    assert (ranking.gallery_size, ranking.method) == (60, "index")
    with pytest.raises(ValueError, match="gallery must name every hit"):
        kept.search(queries, 5).ranking(ROWS.ids[:5])


@pytest.mark.parametrize("k", [60, 61, 10_000])
def test_a_k_beyond_the_rows_returns_all_of_them(kept, k):
    assert sorted(kept.search(units(1, seed=1), k).ids[0]) == sorted(ROWS.ids)


def test_an_empty_index_finds_nothing(begin):
    index = begin()
    assert (len(index), index.count(field("year") > 0)) == (0, 0)
    assert index.search(units(2), 3).ids == ((), ())
    index.optimise()
    index.optimise(by_vector=False)
    index.delete(["nothing"])
    index.upsert([], torch.empty(0, DIM))
    assert len(index) == 0


# --- rows -----------------------------------------------------------------------------------------


def test_rows_come_back_as_they_went_in(kept):
    numbers = [7, 3, 59, 0]
    rows = kept.read([ROWS.ids[n] for n in numbers])
    assert rows.ids == tuple(ROWS.ids[n] for n in numbers)
    assert torch.allclose(rows.vectors, ROWS.vectors[numbers], atol=1e-7)
    assert dict(rows.fields) == row_fields(numbers)
    assert [[type(v) for v in column] for column in rows.fields.values()] == [[t] * 4 for t in KINDS.values()]
    with pytest.raises(KeyError, match="'nobody' is not"):
        kept.read(["row 1", "nobody"])


def test_rows_that_are_only_read_need_no_graph(begin):
    index = fill(begin())
    index.optimise(by_vector=False)
    index.upsert(["row 5", "new"], units(2, seed=8), row_fields([50, 51]))
    assert index.read(["new", "row 7", "row 5"]).ids == ("new", "row 7", "row 5")
    assert torch.allclose(index.read(["row 5"]).vectors, units(2, seed=8)[:1], atol=1e-7)
    assert index.search(ROWS.vectors[7:8], 3).ids[0][0] == "row 7"


def test_an_upsert_replaces_the_row_of_the_same_id_and_a_deleted_one_is_gone(begin):
    index = fill(begin())
    index.optimise()
    index.upsert(["row 5", "new"], units(2, seed=8), row_fields([50, 51]))
    assert len(index) == 61
    assert index.count(field("id") == "row 5") == 1
    assert torch.allclose(index.read(["row 5"]).vectors, units(2, seed=8)[:1], atol=1e-7)
    assert dict(index.read(["new", "row 5"]).fields) == row_fields([51, 50])
    assert index.search(units(2, seed=8), 1).ids == (("row 5",), ("new",))
    assert index.search(ROWS.vectors[5:6], 61).scores[0][0] < 0.999

    index.delete(["row 5", "new", "nobody", "row 6"])
    index.delete(where=(field("year") == 0) & (field("new") == YES))
    left = [f"row {n}" for n in range(60) if n not in (5, 6) and not (n % 12 == 5 and n % 3 == 0)]
    assert sorted(index.search(units(1), 100).ids[0]) == sorted(left)
    assert len(index) == len(left)
    fill(index, [6])
    assert len(index) == len(left) + 1
    assert index.search(ROWS.vectors[6:7], 1).ids == (("row 6",),)


def test_delete_wants_ids_or_a_filter(kept):
    for wrong in ({}, {"ids": ["row 1"], "where": field("year") == 0}):
        with pytest.raises(BadInputError, match="either ids or where"):
            kept.delete(**wrong)


def test_ids_may_hold_anything_printable(begin):
    index, ids = begin(fields={"year": int}), [*BRANDS[2:], "x" * 512]
    index.upsert(ids, units(len(ids)), {"year": [0] * len(ids)})
    assert index.read(ids).ids == tuple(ids)
    for number, name in enumerate(ids):
        assert index.count(field("id") == name) == 1
        index.delete([name])
        assert len(index) == len(ids) - number - 1


# --- objects --------------------------------------------------------------------------------------


def image_scores(phrases, objects, images):
    """Max-sim by its formula: the mean over phrases of the best cosine in the image."""
    cosines = phrases @ objects.T
    return {
        name: float(cosines[:, [n for n, other in enumerate(images) if other == name]].amax(1).mean())
        for name in set(images)
    }


def test_images_are_found_by_their_objects(begin):
    index, objects = begin(fields={"image": str, "year": int}), clustered(400, DIM, seed=2)
    images, years = [f"image {n * n % 97}" for n in range(400)], [n % 2 for n in range(400)]
    index.upsert([f"object {n}" for n in range(400)], objects, {"image": images, "year": years})
    for seed, where, passing in ((1, None, [0, 1]), (2, None, [0, 1]), (3, field("year") == 1, [1])):
        phrases, numbers = units(3, seed=seed), [n for n in range(400) if years[n] in passing]
        expected = image_scores(phrases, objects[numbers], [images[n] for n in numbers])
        for k in (1, 5, 1000):
            hits = search_objects(index, 3 * phrases, k, where=where)
            best = sorted(expected.values(), reverse=True)[:k]
            assert hits.scores[0].tolist() == pytest.approx(best, abs=1e-5)
            assert [expected[name] for name in hits.ids[0]] == pytest.approx(best, abs=1e-5)
            assert len({*hits.ids[0]}) == len(best)


def test_objects_need_a_field_for_their_image(kept):
    for wrong in ("picture", "year"):
        with pytest.raises(
            BadInputError, match=f"image must name a field of type str, got '{wrong}': .* brand"
        ):
            search_objects(kept, units(2), 3, image=wrong)
    with pytest.raises(BadInputError, match="k must be"):
        search_objects(kept, units(2), 0, image="brand")


# --- what no store sees ---------------------------------------------------------------------------


def with_value(value):
    vectors = units(2)
    vectors[1, 3] = value
    return vectors


BAD_ROWS = {
    "NaN": (
        {"vectors": with_value(float("nan"))},
        "vectors must have rows of finite, non-zero length.*row 1",
    ),
    "infinity": ({"vectors": with_value(float("inf"))}, "vectors must have rows of finite"),
    "zero": (
        {"vectors": units(2) * torch.tensor([[1.0], [0.0]])},
        "vectors must have rows.*length 0.0 in row 1",
    ),
    "another dimension": ({"vectors": units(2, DIM + 1)}, f"rows of length {DIM}, got {DIM + 1}"),
    "no matrix": ({"vectors": units(1)[0]}, "vectors must be a non-empty matrix"),
    "not unit": ({"vectors": 2 * units(2)}, "unit rows, row 0 is of length 2 .*unit_rows"),
    "one too many": ({"vectors": units(3)}, "one row per id, got 3 for 2 ids"),
    "text": ({"vectors": ["a", "b"]}, "vectors"),
    "the same id twice": ({"ids": ["a", "a"]}, "'a' twice"),
    "one text for ids": ({"ids": "ab"}, r"write \['ab'\]"),
    "numbers for ids": ({"ids": [1, 2]}, r"got 1 in row 0: use str"),
    "an empty id": ({"ids": ["a", ""]}, "non-empty texts, got '' in row 1"),
    "a long id": ({"ids": ["a", "é" * 257]}, "at most 512 bytes of UTF-8, got 514"),
    "half a character": ({"ids": ["a", "\ud800"]}, "valid Unicode"),
    "NUL": ({"ids": ["a", "b\0"]}, "NUL"),
    "an unknown field": ({"fields": row_fields([0, 1]) | {"size": [1, 2]}}, "exactly those of the index"),
    "a missing field": ({"fields": {}}, r"exactly those of the index, \['brand', .* got \[\]"),
    "too few values": ({"fields": row_fields([0, 1]) | {"year": [1]}}, r"fields\['year'\].* got 1 for 2"),
    "a text for a list": ({"fields": row_fields([0, 1]) | {"brand": "ab"}}, r"fields\['brand'\]"),
    "a text for a number": ({"fields": row_fields([0, 1]) | {"year": [1, "2"]}}, "type int, got '2', a str"),
    "nothing": ({"fields": row_fields([0, 1]) | {"brand": ["a", None]}}, "type str, got None"),
    "a truth value": ({"fields": row_fields([0, 1]) | {"year": [1, True]}}, "type int, got True"),
    "a NaN price": ({"fields": row_fields([0, 1]) | {"price": [1.0, float("nan")]}}, "finite number"),
    "a huge number": ({"fields": row_fields([0, 1]) | {"year": [1, 2**53 + 1]}}, r"within ±2\*\*53"),
    "a long text": ({"fields": row_fields([0, 1]) | {"brand": ["a", "x" * 5000]}}, "at most 4096 bytes"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_and_nothing_changes(kept, case):
    change, message = BAD_ROWS[case]
    rows = {"ids": ["a", "row 1"], "vectors": units(2), "fields": row_fields([0, 1])} | change
    with pytest.raises(BadInputError, match=message):
        kept.upsert(**rows)
    assert len(kept) == 60


@pytest.mark.parametrize("k", [0, -1, 10_001, 1_000_000, 1.5, True, None, "3"])
def test_a_k_out_of_range_is_refused(kept, k):
    with pytest.raises(BadInputError, match=f"k must be a whole number from 1 to 10000, got {k!r}"):
        kept.search(units(1), k)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (with_value(float("nan")), "queries must have rows of finite"),
        (torch.zeros(1, DIM), "queries must have rows of finite, non-zero length"),
        (units(1, 8), f"queries must have rows of length {DIM}, got 8: are they from another encoder"),
        (torch.empty(0, DIM), "queries must be a non-empty matrix"),
    ],
)
def test_bad_queries_are_refused(kept, queries, message):
    with pytest.raises(BadInputError, match=message):
        kept.search(queries, 3)


def test_other_types_of_numbers_are_taken(kept, begin):
    index = begin()
    fields = row_fields([0]) | {"price": [3], "year": np.array([4]), "new": torch.tensor([True])}
    index.upsert(np.array(["a"]), units(1).numpy().astype(np.float64), fields)
    assert index.read(["a"]).fields["price"] == [3.0]
    assert index.search(units(1).half(), np.int64(1), field("price") == 3).ids == (("a",),)


def test_a_closed_index_says_so(begin):
    index = begin()
    with index:
        fill(index)
    index.close()
    with pytest.raises(VectorStoreError, match="has been closed"):
        index.search(units(1), 1)


# --- filters --------------------------------------------------------------------------------------

BAD_FILTERS = {
    "an unknown field": (field("size") == 1, "names the field 'size', the index has id, brand,"),
    "no field at all": (field(None) == 1, "names the field None"),
    "another type": (field("year") == "2001", "'year' must be of type int, got '2001', a str"),
    "a fraction for a whole number": (field("year") < 2.5, "must be of type int, got 2.5"),
    "a truth value for a number": (field("year") == YES, "must be of type int, got True"),
    "NaN": (field("price") < float("nan"), "finite"),
    "a range of texts": (field("brand") < "b", "ranges are for numbers"),
    "a range of truth values": (field("new") >= True, "ranges are for numbers"),
    "no values": (field("year").isin([]), "one value at least, got none for 'year'"),
    "too many values": (field("year").isin(range(10_001)), "at most 10000 values, got 10001"),
    "an unknown comparison": (Compare("year", "; drop table rows", 1), "compares by"),
    "a text": ("year > 3", "must be a filter, got 'year > 3'"),
    "an empty part": (AllOf(()), "must be a filter"),
}


@pytest.mark.parametrize("case", BAD_FILTERS)
def test_bad_filters_are_refused(kept, case):
    where, message = BAD_FILTERS[case]
    for use in (
        lambda: kept.search(units(1), 3, where),
        lambda: kept.count(where),
        lambda: kept.delete(where=where),
    ):
        with pytest.raises(BadFilterError, match=message):
            use()
    assert len(kept) == 60


def test_a_deep_filter_is_refused_and_a_wide_one_is_not(kept):
    deep, wide = field("year") == 0, field("order") == 0
    for number in range(200):
        deep, wide = ~deep, wide | (field("order") == number)
    with pytest.raises(BadFilterError, match="at most 50 levels"):
        kept.count(deep)
    assert kept.count(wide) == 1


PLAIN = {
    "brand": st.sampled_from(BRANDS)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    "price": st.integers(-20, 60).map(lambda n: n / 4) | st.floats(allow_nan=False, allow_infinity=False),
    "year": st.integers(-6, 8) | st.integers(-(2**53), 2**53),
    "new": st.booleans(),
    "order": st.integers(0, 60).map(lambda n: n * (2**53 // 100)),
    "id": st.sampled_from(ROWS.ids) | st.sampled_from(BRANDS),
}


def leaves(name):
    values = PLAIN[name]
    ops = ["=="] if name in ("brand", "new", "id") else ["==", "<", "<=", ">", ">="]
    compared = st.builds(Compare, st.just(name), st.sampled_from(ops), values)
    return compared | st.builds(OneOf, st.just(name), st.lists(values, min_size=1, max_size=4).map(tuple))


def branches(parts):
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.builds(AllOf, several) | st.builds(AnyOf, several) | st.builds(Not, parts)


FILTERS = st.recursive(st.one_of([leaves(name) for name in PLAIN]), branches, max_leaves=8)
SIGNS = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def passes(where: Filter, row: dict) -> bool:
    """What a filter means, one row at a time."""
    match where:
        case Compare(name, op, value):
            return SIGNS[op](row[name], value)
        case OneOf(name, values):
            return row[name] in values
        case AllOf(parts):
            return all(passes(part, row) for part in parts)
        case AnyOf(parts):
            return any(passes(part, row) for part in parts)
        case Not(part):
            return not passes(part, row)


@settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(where=FILTERS)
def test_filters_mean_the_same_in_every_store(kept, where):
    columns = {"id": ROWS.ids, **ROWS.fields}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    expected = [row["id"] for row in rows if passes(where, row)]
    assert kept.count(where) == len(expected)
    assert sorted(kept.search(units(1, seed=2), 60, where).ids[0]) == sorted(expected)


# --- other processes ------------------------------------------------------------------------------


def kill_writers(index, where):
    """SIGKILL in the middle of an upsert, three times over. Returns how many batches there are then."""
    generator, first = np.random.default_rng(7), 0
    for _ in range(3):
        with process(write, where, first) as (writer, pipe):
            for _ in range(generator.integers(3, 9)):
                acknowledged = pipe.recv()
            time.sleep(generator.uniform(0, 0.02))
            writer.kill()
            writer.join()
            with suppress(EOFError):
                while True:
                    acknowledged = pipe.recv()
        first = check_batches(index, acknowledged)
    return first


def write_the_same_twice(place):
    """Two processes write the same twelve batches at once."""
    with process(write_some, place, range(12)) as (_, one), process(write_some, place, range(12)) as (_, two):
        for pipe in (one, two):
            assert pipe.recv() == "ready"
        for pipe in (one, two):
            pipe.send("go")
        for pipe in (one, two):
            assert pipe.recv() == "done"


def check_batches(index, acknowledged):
    """All that was acknowledged is there, and of the next batch all or nothing. Returns what comes next."""
    latest = index.read(["latest"]).fields["year"][0]
    assert latest in (acknowledged, acknowledged + 1)
    batches = [batch(number) for number in range(latest + 1)]
    rows = index.read([name for ids, _, _ in batches for name in ids[:10]])
    assert torch.allclose(rows.vectors, torch.cat([vectors[:10] for _, vectors, _ in batches]), atol=1e-6)
    assert rows.fields["year"] == [number for number in range(latest + 1) for _ in range(10)]
    assert len(index) == 10 * (latest + 1) + 1
    return latest + 1
