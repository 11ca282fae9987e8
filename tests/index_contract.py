"""What every index promises, whatever store is under it. Test modules import all of it and say which stores.

A module gives `begin`, a function that opens a new index, and `kept`, an index of ROWS that no test changes.
"""

from __future__ import annotations

import operator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_processes import DIM, units

from geoclip_lite.index import BadFilterError, BadInputError, VectorStoreError, field
from geoclip_lite.retrieval import unit_rows

YES = True  # the value of a filter
ENCODER, PAYLOAD = "0123abcd", 6
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


def payloads(numbers):
    return torch.tensor([[n + column / 8 for column in range(PAYLOAD)] for n in numbers])


ROWS = SimpleNamespace(ids=[f"row {n}" for n in range(60)], vectors=units(60), fields=row_fields(range(60)))


def fill(index, numbers=range(60)):
    payload = payloads(numbers) if index.schema.payload else None
    index.upsert([f"row {n}" for n in numbers], ROWS.vectors[list(numbers)], row_fields(numbers), payload)
    return index


# --- search ---------------------------------------------------------------------------------------


def test_recall_against_exact_search(begin):
    vectors, queries = clustered(5000, 64, seed=0), clustered(50, 64, seed=5)
    index = begin(dim=64, fields={"year": int})
    ids, years = [str(n) for n in range(5000)], torch.arange(5000) % 500
    for start in range(0, 5000, 2500):
        some = slice(start, start + 2500)
        index.upsert(ids[some], vectors[some], {"year": years[some]})
    index.optimise()
    expected = (queries @ vectors.T).argsort(dim=1, descending=True)
    for k in (10, 100):
        check_recall(index, queries, k, None, expected)
    for few in (1, 25, 250):  # a filter that 10 rows pass, or 250, or half of them
        passing = torch.stack([row[years[row] < few] for row in expected])
        check_recall(index, queries, 100, field("year") < few, passing)
    check_recall(index, queries[:2], 3000, None, expected[:2])


def check_recall(index, queries, k, where, expected):
    """Full lists, with nearly all (or all) of the true items."""
    hits, expected = index.search(queries, k, where), expected[:, :k].tolist()
    lists = [[int(name) for name in row] for row in hits.ids]
    assert [len(row) for row in lists] == [len(row) for row in expected]
    share = np.mean([len({*a} & {*b}) / len(b) for a, b in zip(lists, expected, strict=True)])
    assert share >= (1.0 if index.capabilities.exact else 0.99)
    assert all((row[1:] <= row[:-1]).all() for row in hits.scores)


@pytest.mark.parametrize("k", [1, 5, 60, 61, 10_000])
def test_the_hits_of_a_k_are_the_nearest_with_their_cosines(kept, k):
    queries = 7.5 * units(4, seed=3)
    hits = kept.search(queries.double(), k)
    for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
        cosines = torch.cosine_similarity(query[None], ROWS.vectors)
        assert len({*ids}) == min(k, 60)
        torch.testing.assert_close(scores, cosines.sort(descending=True).values[:k], atol=1e-5, rtol=0)
        torch.testing.assert_close(scores, cosines[[ROWS.ids.index(name) for name in ids]], atol=1e-5, rtol=0)


def test_equal_scores_are_in_the_order_of_the_ids_whatever_k(begin):
    index, names = begin(fields={"year": int}), [f"{n:02}" for n in range(60)]
    order = np.random.default_rng(0).permutation(60).tolist()
    index.upsert([names[n] for n in order], units(1).expand(60, -1), {"year": order})
    index.optimise()
    for where, last in ((None, 60), (field("year") < 55, 55), (field("year") < 5, 5)):
        for k in range(1, 61) if index.capabilities.exact else (60,):
            assert index.search(units(1), k, where).ids[0] == tuple(names[: min(k, last)])


def test_an_empty_index_finds_nothing(begin):
    index = begin()
    assert (len(index), index.count(field("year") > 0)) == (0, 0)
    hits = index.search(units(2), 3, rows=True)
    assert (hits.ids, [len(rows) for rows in hits.rows]) == (((), ()), [0, 0])
    assert (len(index.read([])), len(index.matching("year", [1]))) == (0, 0)
    index.optimise()
    index.delete(["nothing"])
    index.upsert([], torch.empty(0, DIM))
    assert len(index) == 0


# --- rows -----------------------------------------------------------------------------------------


def check_rows(rows, numbers):
    """They are as they went in."""
    assert rows.ids == tuple(ROWS.ids[n] for n in numbers)
    torch.testing.assert_close(rows.vectors, ROWS.vectors[numbers], atol=1e-6, rtol=0)
    assert dict(rows.fields) == row_fields(numbers)
    assert [{type(v) for v in column} for column in rows.fields.values()] == [{t} for t in KINDS.values()]
    assert torch.equal(rows.payload, payloads(numbers).half())


def test_rows_come_back_as_they_went_in(kept):
    check_rows(kept.read([ROWS.ids[n] for n in (7, 3, 59, 0)]), [7, 3, 59, 0])
    for name, value in (("year", 1), ("price", 3.5)):
        numbers = sorted(ROWS.ids.index(found) for found in kept.matching(name, [value, value]).ids)
        assert numbers == [n for n in range(60) if ROWS.fields[name][n] == value]
    with pytest.raises(KeyError, match="nobody"):
        kept.read(["row 1", "nobody"])
    assert kept.values("brand") == dict(zip(ROWS.ids, ROWS.fields["brand"], strict=True))
    with pytest.raises(BadInputError, match="name must"):
        kept.values("size")


def test_hits_come_with_their_rows(kept):
    hits = kept.search(units(3, seed=4), 7, field("year") < 0, rows=True)
    for ids, rows in zip(hits.ids, hits.rows, strict=True):
        assert len(ids) == 7
        check_rows(rows, [ROWS.ids.index(name) for name in ids])
    assert kept.search(units(1), 7).rows is None


def test_an_upsert_replaces_the_row_of_the_same_id_and_a_deleted_one_is_gone(begin):
    index, new = fill(begin(payload=PAYLOAD)), units(2, seed=8)
    index.optimise()
    index.upsert(["row 5", "new"], new, row_fields([50, 51]), payloads([50, 51]))
    assert (len(index), index.count(field("id") == "row 5")) == (61, 1)
    rows = index.read(["new", "row 5"])
    assert dict(rows.fields) == row_fields([51, 50])
    assert torch.equal(rows.payload, payloads([51, 50]).half())
    assert index.search(new, 1).ids == (("row 5",), ("new",))
    assert index.search(ROWS.vectors[5:6], 61).scores[0][0] < 0.999

    index.delete(["row 5", "new", "nobody", "row 6"])
    index.delete(where=(field("year") == 0) & (field("new") == YES))
    left = [f"row {n}" for n in range(60) if n not in (5, 6) and not (n % 12 == 5 and n % 3 == 0)]
    assert sorted(index.search(units(1), 100).ids[0]) == sorted(left)
    fill(index, [6])
    assert len(index) == len(left) + 1
    assert index.search(ROWS.vectors[6:7], 1).ids == (("row 6",),)


def test_delete_wants_ids_or_a_filter(kept):
    for wrong in ({}, {"ids": ["row 1"], "where": field("year") == 0}):
        with pytest.raises(BadInputError, match="ids or where"):
            kept.delete(**wrong)


def test_ids_may_hold_anything_printable(begin):
    index, ids = begin(fields={"year": int}), [*BRANDS[2:], "x" * 512]
    index.upsert(ids, units(len(ids)), {"year": [0] * len(ids)})
    assert index.read(ids).ids == tuple(ids)
    for number, name in enumerate(ids):
        assert index.count(field("id") == name) == 1
        index.delete([name])
        assert len(index) == len(ids) - number - 1


# --- what no store sees ---------------------------------------------------------------------------


def with_value(value):
    vectors = units(2)
    vectors[1, 3] = value
    return vectors


def fields_with(**values):
    return {"fields": row_fields([0, 1]) | values}


BAD_ROWS = [
    *({"vectors": with_value(value)} for value in (float("nan"), float("inf"))),
    *({"vectors": v} for v in (units(2, DIM + 1), units(1)[0], 2 * units(2), units(3), ["a", "b"])),
    {"vectors": units(2) * torch.tensor([[1.0], [0.0]])},
    *(
        {"ids": ids}
        for ids in (["a", "a"], "ab", [1, 2], ["a", ""], ["a", "é" * 257], ["a", "\ud800"], ["a", "b\0"])
    ),
    *({"payload": p} for p in (None, payloads([1]), payloads([1, 2])[:, 1:], 1e6 * payloads([1, 2]))),
    {"payload": payloads([1, 2]) / torch.tensor(0.0)},
    *({"fields": fields} for fields in ({}, row_fields([0, 1]) | {"size": [1, 2]})),
    *(fields_with(brand=values) for values in ("ab", ["a", None], ["a", "x" * 5000], ["a", "\ud800"])),
    *(fields_with(year=values) for values in ([1], [1, "2"], [1, True], [1, 2**53 + 1], [1, 2.0])),
    *(fields_with(price=values) for values in ([1.0, float("nan")], [1.0, 10**400], [float("inf"), 1])),
]


@pytest.mark.parametrize("change", BAD_ROWS, ids=str)
def test_bad_rows_are_refused_by_name_and_nothing_changes(kept, change):
    rows = {"ids": ["a", "row 1"], "vectors": units(2), "payload": payloads([0, 1])} | fields_with() | change
    with pytest.raises(BadInputError, match=f"^{next(iter(change))}"):
        kept.upsert(**rows)
    assert len(kept) == 60


def test_a_repeated_id_among_very_many_is_named(kept):
    """Counting each of them would take an hour."""
    ids = [str(n) for n in range(200_000)] + ["777"]
    with pytest.raises(BadInputError, match=r"ids .*'777'"):
        kept.upsert(ids, torch.empty(0, DIM))


@pytest.mark.parametrize("k", [0, -1, 10_001, 1_000_000, 1.5, True, None, "3"])
def test_a_k_out_of_range_is_refused(kept, k):
    with pytest.raises(BadInputError, match=f"k must be .* got {k!r}"):
        kept.search(units(1), k)


@pytest.mark.parametrize(
    "queries", [with_value(float("nan")), torch.zeros(1, DIM), units(1, 8), torch.empty(0, DIM)]
)
def test_bad_queries_are_refused(kept, queries):
    with pytest.raises(BadInputError, match=r"^queries must"):
        kept.search(queries, 3)


def test_other_types_of_numbers_are_taken(begin):
    index = begin()
    fields = row_fields([0]) | {"price": [3], "year": np.array([4]), "new": torch.tensor([True])}
    index.upsert(np.array(["a"]), units(1).numpy().astype(np.float64), fields)
    assert index.read(["a"]).fields["price"] == [3.0]
    assert index.search(units(1).half(), np.int64(1), field("price") == 3).ids == (("a",),)


def test_a_closed_index_says_so(begin):
    with begin() as index:
        fill(index)
    index.close()
    with pytest.raises(VectorStoreError, match="closed"):
        index.search(units(1), 1)


# --- filters --------------------------------------------------------------------------------------

BAD_FILTERS = {
    "unknown field": lambda: field("size") == 1,
    "no name": lambda: field(7) == 1,
    "another type": lambda: field("year") == "1999",
    "a truth value": lambda: field("year") == YES,
    "range over texts": lambda: field("brand") < "b",
    "range over truth values": lambda: field("new") >= YES,
    "nothing": lambda: field("brand") == None,  # noqa: E711
    "NaN": lambda: field("price") < float("nan"),
    "a long text": lambda: field("brand") == "x" * 5000,
    "no values": lambda: field("year").isin([]),
    "one text for values": lambda: field("brand").isin("acme"),
    "too many values": lambda: field("year").isin(range(10_001)),
    "too many together": lambda: field("year").isin(range(6000)) & field("order").isin(range(6000)),
    "a text": lambda: "year > 3",
    "and": lambda: (field("year") == 1) and (field("year") == 2),
    "not": lambda: field("year") != 1,
    "a chain": lambda: 1 < field("year") < 3,
    "joined with a value": lambda: (field("year") == 1) & 3,
}


@pytest.mark.parametrize("case", BAD_FILTERS)
def test_bad_filters_are_refused(kept, case):
    for use in (
        kept.count,
        lambda where: kept.search(units(1), 3, where),
        lambda where: kept.delete(where=where),
    ):
        with pytest.raises(BadFilterError, match=r"where|isin"):
            use(BAD_FILTERS[case]())
    assert len(kept) == 60


VALUES = {
    "brand": st.sampled_from(BRANDS)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    "price": st.integers(-20, 60).map(lambda n: n / 4) | st.floats(allow_nan=False, allow_infinity=False),
    "year": st.integers(-6, 8) | st.integers(-(2**53), 2**53),
    "new": st.booleans(),
    "order": st.integers(0, 60).map(lambda n: n * (2**53 // 100)),
    "id": st.sampled_from(ROWS.ids) | st.sampled_from(BRANDS),
}
SIGNS = [operator.eq, operator.lt, operator.le, operator.gt, operator.ge]


@st.composite
def conditions(draw):
    """A field, a comparison and a value; what it means for a value is Python's to say."""
    name = draw(st.sampled_from(list(VALUES)))
    if draw(st.booleans()):
        return name, lambda one, many: one in many, draw(st.lists(VALUES[name], min_size=1, max_size=4))
    signs = SIGNS[:1] if name in ("brand", "new", "id") else SIGNS
    return name, draw(st.sampled_from(signs)), draw(VALUES[name])


@settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(parts=st.lists(conditions(), min_size=1, max_size=3))
def test_filters_mean_the_same_in_every_store(kept, parts):
    columns, expected, where = {"id": ROWS.ids, **ROWS.fields}, set(ROWS.ids), None
    for name, sign, value in parts:
        passing = {i for i, one in zip(ROWS.ids, columns[name], strict=True) if sign(one, value)}
        part = field(name).isin(value) if isinstance(value, list) else sign(field(name), value)
        expected, where = expected & passing, part if where is None else where & part
    assert kept.count(where) == len(expected)
    assert sorted(kept.search(units(1, seed=2), 60, where).ids[0]) == sorted(expected)
