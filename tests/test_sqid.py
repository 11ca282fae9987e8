"""SQID from Parquet files in the official schema, against a naive reading by pandas; and what is refused."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.testing import assert_close

from geoclip_lite import metrics
from geoclip_lite.adapters import refuse_shared
from geoclip_lite.datasets import sqid
from geoclip_lite.retrieval import Ranking

DIM, N_PRODUCTS, N_QUERIES = 8, 40, 12
BARE = ("B005", "B017", "B018")  # without a picture; the last one with an empty list instead of null
LIST = pa.list_(pa.float32())
SCHEMAS = {
    sqid.PRODUCTS: pa.schema(
        [("product_id", pa.string()), ("clip_text_features", LIST), ("clip_image_features", LIST)]
    ),
    sqid.QUERIES: pa.schema([("query_id", pa.string()), ("clip_text_features", LIST)]),
}


def features(n, seed):
    """Vectors of no particular length."""
    return list((3 * np.random.default_rng(seed).normal(size=(n, DIM))).astype(np.float32))


def official():
    """The four tables: 40 products, of which 3 have no picture and 2 share one, and 12 queries."""
    rng = np.random.default_rng(0)
    ids = [f"B{i:03d}" for i in range(N_PRODUCTS)]
    images = features(N_PRODUCTS, 1)
    images[9] = images[30] = images[3]
    for name, nothing in zip(BARE, (None, None, []), strict=True):
        images[ids.index(name)] = nothing
    judged = [(q, p) for q in range(N_QUERIES) for p in rng.choice(N_PRODUCTS, 9, replace=False)]
    columns = {
        "example_id": range(len(judged)),
        "query": [f"query number {q}" for q, _ in judged],
        "query_id": [1000 + q for q, _ in judged],
        "product_id": [ids[p] for _, p in judged],
        "product_locale": "us",
        "esci_label": rng.choice(list("ESCI"), len(judged)),
        "small_version": 1,
        "large_version": 1,
        "split": "test",
    }
    titles = {"product_id": ids, "product_title": [f"Title {i % 35}" for i in range(N_PRODUCTS)]}
    others = dict.fromkeys(("product_description", "product_bullet_point", "product_brand", "product_color"))
    return {
        sqid.PRODUCTS: pd.DataFrame(
            {
                "product_id": ids,
                "clip_text_features": features(N_PRODUCTS, 2),
                "clip_image_features": images,
            }
        ),
        sqid.QUERIES: pd.DataFrame(
            {
                "query_id": [str(1000 + q) for q in range(N_QUERIES)],
                "clip_text_features": features(N_QUERIES, 3),
            }
        ),
        sqid.EXAMPLES: pd.DataFrame(columns),
        sqid.TITLES: pd.DataFrame(titles | others | {"product_locale": "us"}),
    }


def write(folder, tables):
    for name, table in tables.items():
        pq.write_table(pa.Table.from_pandas(table, SCHEMAS.get(name), preserve_index=False), folder / name)
    return folder


def naive(folder):
    """What `read` should return, the slow way."""
    products = pd.read_parquet(folder / sqid.PRODUCTS)
    products = products[[v is not None and len(v) > 0 for v in products.clip_image_features]]
    queries = pd.read_parquet(folder / sqid.QUERIES)
    titles = pd.read_parquet(folder / sqid.TITLES).query("product_locale == 'us'")
    examples = pd.read_parquet(folder / sqid.EXAMPLES)
    subset = (examples.small_version == 1) & (examples.split == "test") & (examples.product_locale == "us")
    examples = examples[subset].astype({"query_id": str})
    gains = examples.assign(gain=examples.esci_label.map({"E": 1, "S": 0.1, "C": 0.01, "I": 0}))
    grades = gains.pivot(index="query_id", columns="product_id", values="gain").fillna(0)
    grades = grades.reindex(index=queries.query_id, columns=products.product_id, fill_value=0)
    texts = examples.drop_duplicates("query_id").set_index("query_id")["query"]
    return products, queries, titles.set_index("product_id").product_title, texts, grades


def unit(column):
    rows = np.stack(list(column)).astype(np.float64)
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()


def changed(table, row, column, value):
    """The table with one other value, of whatever type."""
    values = list(table[column])
    values[row] = value
    return table.assign(**{column: pd.Series(values, dtype=object)})


@pytest.fixture
def tables():
    return official()


# --- what is read ---------------------------------------------------------------------------------


def assert_naive(read, folder):
    products, queries, titles, texts, grades = naive(folder)
    assert read.product_ids == tuple(products.product_id)
    assert_close(read.images, unit(products.clip_image_features))
    assert_close(read.titles, unit(products.clip_text_features))
    assert_close(read.queries, unit(queries.clip_text_features))
    assert read.product_titles == tuple(titles[products.product_id])
    assert read.query_ids == tuple(queries.query_id)
    assert read.query_texts == tuple(texts[queries.query_id])
    assert_close(read.grades(), torch.from_numpy(grades.to_numpy(np.float32)))
    assert {t.dtype for t in (read.images, read.titles, read.queries, read.gains)} == {torch.float32}


@pytest.mark.parametrize("batch", [1, 7, 18, 4096])
def test_it_equals_a_naive_reading_whatever_the_size_of_a_batch(tmp_path, tables, monkeypatch, batch):
    monkeypatch.setattr(sqid, "BATCH", batch)
    assert_naive(sqid.read(write(tmp_path, tables)), tmp_path)


def test_rows_of_other_splits_versions_and_locales_are_not_read(tmp_path, tables):
    examples, titles = tables[sqid.EXAMPLES], tables[sqid.TITLES]
    strange = [
        examples[:20].assign(query_id=7, product_id="elsewhere", **{column: value})
        for column, value in (("split", "train"), ("small_version", 0), ("product_locale", "es"))
    ]
    tables[sqid.EXAMPLES] = pd.concat([*strange, examples])
    tables[sqid.TITLES] = pd.concat([titles.assign(product_locale="jp", product_title="?"), titles])
    read = sqid.read(write(tmp_path, tables))
    assert_naive(read, tmp_path)
    assert set(read.left_out.values()) == {len(BARE)}


def test_ids_of_queries_may_be_numbers_or_strings(tmp_path, tables, monkeypatch):
    number = pa.schema([("query_id", pa.int64()), ("clip_text_features", pa.list_(pa.float64()))])
    monkeypatch.setitem(SCHEMAS, sqid.QUERIES, number)
    tables[sqid.QUERIES] = tables[sqid.QUERIES].astype({"query_id": int})
    read = sqid.read(write(tmp_path, tables))
    assert read.query_ids[:2] == ("1000", "1001")
    assert len(read.judged) == len(sqid.read(tmp_path).judged) > 80


@pytest.mark.parametrize("kind", [pa.large_list(pa.float32()), pa.list_(pa.float32(), DIM)])
def test_other_kinds_of_lists_give_the_same_vectors(tmp_path, tables, monkeypatch, kind):
    products = tables[sqid.PRODUCTS]
    tables[sqid.PRODUCTS] = changed(products, list(products.product_id).index(BARE[2]), sqid.IMAGE, None)
    names = SCHEMAS[sqid.PRODUCTS].names
    monkeypatch.setitem(
        SCHEMAS, sqid.PRODUCTS, pa.schema([(names[0], pa.string()), *((n, kind) for n in names[1:])])
    )
    assert_naive(sqid.read(write(tmp_path, tables)), tmp_path)


def test_products_without_a_picture_are_left_out_and_counted(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    assert not set(BARE) & set(read.product_ids)
    assert read.left_out == {"products without a picture": 3}
    judged = (~tables[sqid.EXAMPLES].product_id.isin(BARE)).sum()
    assert len(read.judged) == len(read.gains) == judged


def test_a_product_without_a_title_has_an_empty_one(tmp_path, tables):
    tables[sqid.TITLES] = changed(tables[sqid.TITLES], 2, "product_title", None)
    assert sqid.read(write(tmp_path, tables)).product_titles[2] == ""


def test_only_the_columns_that_are_needed_are_read(tmp_path, tables, monkeypatch):
    asked, read_table, batches = [], pq.read_table, pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: asked.extend(k["columns"]) or read_table(*a, **k))
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda *a, columns: asked.extend(columns) or batches(*a, columns=columns),
    )
    sqid.read(write(tmp_path, tables))
    assert set(asked) == {
        *("query", "query_id", "product_id", "esci_label", "product_title"),
        *("clip_text_features", "clip_image_features"),
    }


# --- grades, pairs, parts -------------------------------------------------------------------------


def test_grades_of_some_queries_are_rows_of_all(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    some = torch.tensor([5, 0, 5, 11])
    assert torch.equal(read.grades(some), read.grades()[some])
    assert set(read.grades().unique().tolist()) == set(torch.tensor([0, 0.01, 0.1, 1]).tolist())


def test_grades_are_the_relevance_that_metrics_take(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    grades = read.grades()
    best = Ranking.of_scores(grades)
    answered = (grades > 0).any(1)
    assert_close(metrics.ndcg_at(best, grades, 5, gain="linear"), answered.double())
    by_vectors = Ranking.of_scores(read.queries @ read.images.T)
    assert len(metrics.evaluate(by_vectors, grades)) == N_QUERIES


def test_products_with_one_picture_or_one_title_are_right_answers_to_each_other(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    number = {name: i for i, name in enumerate(read.product_ids)}
    pairs = read.pairs()
    assert_close(pairs.images, read.images)
    assert_close(pairs.texts, read.titles)
    alike = {frozenset(pair) for pair in pairs.match(torch.arange(len(pairs))).nonzero().tolist()}
    alike = {pair for pair in alike if len(pair) == 2}
    expected = [("B003", "B009"), ("B003", "B030"), ("B009", "B030")]  # one picture
    expected += [(f"B{i:03d}", f"B{i + 35:03d}") for i in range(5)]  # one title; B005 has no picture
    assert alike == {frozenset(number[name] for name in pair) for pair in expected if BARE[0] not in pair}
    assert {read.pictures[number[name]] for name in ("B003", "B009", "B030")} == {"B003"}


def test_a_part_holds_the_judgements_of_its_queries_about_its_products(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    generator = torch.Generator().manual_seed(0)
    products, queries = (torch.rand(n, generator=generator) < 0.5 for n in (len(read.product_ids), N_QUERIES))
    part = read.part(products, queries)
    assert torch.equal(part.grades(), read.grades()[queries][:, products])
    assert torch.equal(part.images, read.images[products])
    assert torch.equal(part.titles, read.titles[products])
    assert torch.equal(part.queries, read.queries[queries])
    kept = products.nonzero()[:, 0].tolist()
    assert part.product_ids == tuple(read.product_ids[i] for i in kept)
    assert part.product_titles == tuple(read.product_titles[i] for i in kept)
    assert part.query_texts == tuple(f"query number {q}" for q in queries.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_a_split_shares_no_picture_no_product_and_no_query(tmp_path, tables, seed):
    read = sqid.read(write(tmp_path, tables))
    parts = read.split((0.5, 0.25, 0.25), seed)
    refuse_shared(**{f"part{i}": part.pairs() for i, part in enumerate(parts)})
    together = [name for part in parts for name in part.product_ids]
    assert sorted(together) == sorted(read.product_ids)
    queries = [name for part in parts for name in part.query_ids]
    assert len(queries) == len(set(queries))
    left_out = sum(part.left_out["queries without an answer"] for part in parts)
    assert len(queries) + left_out == N_QUERIES
    assert all((part.grades() > 0).any(1).all() for part in parts)


def test_a_split_is_a_function_of_its_seed_and_as_large_as_its_shares(tmp_path, tables):
    read = sqid.read(write(tmp_path, tables))
    first, again, other = (read.split((0.6, 0.4), seed) for seed in (0, 0, 1))
    assert [part.product_ids for part in first] == [part.product_ids for part in again]
    assert [part.product_ids for part in first] != [part.product_ids for part in other]
    sizes = [len(set(part.pictures)) for part in first]  # 37 products with a picture show 35 pictures
    assert sizes == [21, 14]


@pytest.mark.parametrize("shares", [(0.6, 0.6), (1.2, -0.2), (), (0.5, 0.4)])
def test_shares_that_are_no_shares_are_refused(tmp_path, tables, shares):
    with pytest.raises(ValueError, match="shares must be above 0 and add up to 1"):
        sqid.read(write(tmp_path, tables)).split(shares)


def test_a_part_without_anything_in_it_is_refused(tmp_path, tables):
    with pytest.raises(ValueError, match="part 1 would have no products, or no query"):
        sqid.read(write(tmp_path, tables)).split((0.999, 0.001))


# --- files that do not fit together ---------------------------------------------------------------


def lacking(tables):
    """A query without a vector, one without a judgement, a product without vectors, one without a title."""
    tables[sqid.QUERIES] = changed(tables[sqid.QUERIES], 4, "query_id", "77")
    tables[sqid.PRODUCTS] = tables[sqid.PRODUCTS].drop(index=20)
    tables[sqid.TITLES] = tables[sqid.TITLES].drop(index=21)
    return tables


def test_what_one_file_has_and_another_lacks_is_refused_all_at_once(tmp_path, tables):
    with pytest.raises(ValueError, match="do not fit together") as refused:
        sqid.read(write(tmp_path, lacking(tables)))
    for part in (
        f"queries of {sqid.EXAMPLES} that {sqid.QUERIES} lacks: 1, '1004'",
        f"queries of {sqid.QUERIES} that {sqid.EXAMPLES} lacks: 1, '77'",
        f"products of {sqid.EXAMPLES} that {sqid.PRODUCTS} lacks: 1, 'B020'",
        f"products of {sqid.PRODUCTS} that {sqid.TITLES} lacks: 1, 'B021'",
        "missing='skip'",
    ):
        assert part in str(refused.value)


def test_what_one_file_has_and_another_lacks_can_be_skipped_and_is_counted(tmp_path, tables):
    whole = sqid.read(write(tmp_path, tables))
    read = sqid.read(write(tmp_path, lacking(tables)), missing="skip")
    assert list(read.left_out.values()) == [1, 1, 1, 1, 3]
    assert set(whole.product_ids) - set(read.product_ids) == {"B020", "B021"}
    assert set(whole.query_ids) - set(read.query_ids) == {"1004"}
    assert "77" not in read.query_ids
    products = torch.tensor([name in read.product_ids for name in whole.product_ids])
    queries = torch.tensor([name in read.query_ids for name in whole.query_ids])
    assert torch.equal(read.grades(), whole.grades()[queries][:, products])
    assert torch.equal(read.images, whole.images[products])
    assert read.product_titles == whole.part(products, queries).product_titles


def test_what_to_do_with_gaps_is_one_of_two_words(tmp_path):
    with pytest.raises(ValueError, match="missing must be refuse or skip, got 'ignore'"):
        sqid.read(tmp_path, missing="ignore")


def test_files_with_nothing_in_common_are_refused(tmp_path, tables):
    tables[sqid.QUERIES] = tables[sqid.QUERIES].assign(query_id=[f"x{i}" for i in range(N_QUERIES)])
    with pytest.raises(ValueError, match="nothing is left"):
        sqid.read(write(tmp_path, tables), missing="skip")


# --- files that are wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sqid.COLUMNS)
def test_a_missing_file_is_named_with_its_source(tmp_path, tables, name):
    (write(tmp_path, tables) / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {name}: .*SQID repository.*ESCI repository"):
        sqid.read(tmp_path)


@pytest.mark.parametrize(("name", "column"), [(n, c) for n, columns in sqid.COLUMNS.items() for c in columns])
def test_a_missing_column_is_named(tmp_path, tables, name, column):
    schema = SCHEMAS.get(name)
    table = pa.Table.from_pandas(tables[name], schema, preserve_index=False)
    pq.write_table(table.drop_columns([column]), write(tmp_path, tables) / name)
    with pytest.raises(ValueError, match=rf"{name} must have the column {column}, it has \w+"):
        sqid.read(tmp_path)


@pytest.mark.parametrize("name", sqid.COLUMNS)
def test_a_pointer_in_place_of_a_file_is_recognised(tmp_path, tables, name):
    (write(tmp_path, tables) / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match=f"{name} is no Parquet file.*Git LFS"):
        sqid.read(tmp_path)


VECTOR_COLUMNS = [
    (sqid.PRODUCTS, sqid.IMAGE, "B033"),
    (sqid.PRODUCTS, sqid.TEXT, "B033"),
    (sqid.QUERIES, sqid.TEXT, "1006"),
]


@pytest.mark.parametrize("batch", [5, 4096])
@pytest.mark.parametrize(("name", "column", "row"), VECTOR_COLUMNS)
@pytest.mark.parametrize("length", [DIM - 1, DIM + 1])
def test_a_vector_of_another_length_is_named(tmp_path, tables, monkeypatch, batch, name, column, row, length):
    monkeypatch.setattr(sqid, "BATCH", batch)
    at = list(tables[name].iloc[:, 0]).index(row)
    tables[name] = changed(tables[name], at, column, np.ones(length, np.float32))
    message = f"{name}: {column} must have vectors of one length, got {length} numbers for {row} and {DIM}"
    with pytest.raises(ValueError, match=message):
        sqid.read(write(tmp_path, tables))


def test_a_whole_batch_of_another_length_is_named(tmp_path, tables, monkeypatch):
    monkeypatch.setattr(sqid, "BATCH", 20)
    products = tables[sqid.PRODUCTS]
    images = [v if i < 20 else np.ones(5, np.float32) for i, v in enumerate(products[sqid.IMAGE])]
    tables[sqid.PRODUCTS] = products.assign(**{sqid.IMAGE: images})
    with pytest.raises(ValueError, match="got 5 numbers for B020 and 8 for others"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize(("name", "column"), [(name, column) for name, column, _ in VECTOR_COLUMNS])
def test_vectors_of_two_encoders_are_refused(tmp_path, tables, name, column):
    longer = [v if v is None or not len(v) else np.append(v, v) for v in tables[name][column]]
    tables[name] = tables[name].assign(**{column: longer})
    with pytest.raises(ValueError, match=f"one encoder, got lengths .*16 in {name} {column}"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize(("name", "column", "row"), VECTOR_COLUMNS)
@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_a_number_that_is_none_is_named_by_its_product(tmp_path, tables, name, column, row, value):
    at = list(tables[name].iloc[:, 0]).index(row)
    vector = [*tables[name][column][at][1:].tolist(), value]
    tables[name] = changed(tables[name], at, column, vector)
    with pytest.raises(ValueError, match=f"{name}: {column} of {row} must be finite and not 0"):
        sqid.read(write(tmp_path, tables))


def test_a_vector_of_zeros_is_named_by_its_product(tmp_path, tables):
    tables[sqid.PRODUCTS] = changed(tables[sqid.PRODUCTS], 12, sqid.IMAGE, np.zeros(DIM, np.float32))
    with pytest.raises(ValueError, match="clip_image_features of B012 must be finite and not 0"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize(
    ("name", "row"),
    [(sqid.PRODUCTS, "B000"), (sqid.PRODUCTS, "B012"), (sqid.QUERIES, "1000"), (sqid.QUERIES, "1002")],
)
@pytest.mark.parametrize("nothing", [None, []])
def test_a_title_or_a_query_without_a_vector_is_named(tmp_path, tables, name, row, nothing):
    at = list(tables[name].iloc[:, 0]).index(row)
    tables[name] = changed(tables[name], at, sqid.TEXT, nothing)
    with pytest.raises(ValueError, match=f"{name}: clip_text_features is missing for {row}"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize("label", ["X", "e", None])
def test_an_unknown_label_is_refused(tmp_path, tables, label):
    tables[sqid.EXAMPLES] = changed(tables[sqid.EXAMPLES], 8, "esci_label", label)
    with pytest.raises(ValueError, match=f"esci_label must be one of E, S, C, I, got '{label or ''}'"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (sqid.PRODUCTS, "product_features.parquet: product_id 'B007'"),
        (sqid.QUERIES, "query_features.parquet: query_id '1007'"),
        (sqid.TITLES, "shopping_queries_dataset_products.parquet: product_id 'B007'"),
        (sqid.EXAMPLES, r"examples.parquet: the judgement of \('1000', 'B0\d\d'\)"),
    ],
)
def test_a_row_that_is_there_twice_is_named(tmp_path, tables, name, message):
    tables[name] = pd.concat([tables[name], tables[name][7:8]])
    with pytest.raises(ValueError, match=f"{message} is there more than once"):
        sqid.read(write(tmp_path, tables))


def test_a_product_with_a_picture_and_again_without_one_is_there_twice(tmp_path, tables):
    again = tables[sqid.PRODUCTS][7:8].assign(**{sqid.IMAGE: None})
    tables[sqid.PRODUCTS] = pd.concat([tables[sqid.PRODUCTS], again])
    with pytest.raises(ValueError, match="product_id 'B007' is there more than once"):
        sqid.read(write(tmp_path, tables))


@pytest.mark.parametrize(("name", "key"), [(sqid.PRODUCTS, "product_id"), (sqid.QUERIES, "query_id")])
def test_vectors_of_nobody_knows_what_are_refused(tmp_path, tables, name, key):
    """Rows without an id in two files are not about one product."""
    tables[name] = changed(tables[name], 1, key, None)
    with pytest.raises(ValueError, match=f"{name}: {key}"):
        sqid.read(write(tmp_path, tables), missing="skip")


def test_files_without_rows_of_the_subset_are_refused(tmp_path, tables):
    tables[sqid.EXAMPLES] = tables[sqid.EXAMPLES].assign(split="train")
    with pytest.raises(ValueError, match="no row has small_version 1, split test, product_locale us"):
        sqid.read(write(tmp_path, tables))


def test_files_without_features_are_refused(tmp_path, tables):
    tables[sqid.PRODUCTS] = tables[sqid.PRODUCTS].assign(clip_image_features=None)
    with pytest.raises(ValueError, match="no row has features"):
        sqid.read(write(tmp_path, tables))


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(ImportError, match=r"pip install 'geoclip-lite\[sqid\]'"):
        sqid.read(tmp_path)
