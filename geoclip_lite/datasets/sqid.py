"""SQID: real products with CLIP's vectors of pictures and titles, and shoppers' queries with judgements.

Four Parquet files, as they are published, in one folder:

    product_features.parquet    product_id, clip_text_features (of the title), clip_image_features
    query_features.parquet      query_id, clip_text_features
    shopping_queries_dataset_examples.parquet    query, query_id, product_id, esci_label, and the split
    shopping_queries_dataset_products.parquet    product_id, product_title, product_locale

The first two are SQID's (Al Ghossein et al., 2024): vectors by clip-vit-large-patch14 of 164,900 products,
95 % with a picture, and of 8,956 queries. The others are ESCI's (Reddy et al., 2022); SQID is their part with
small_version 1, split test and locale us.

Only some 20 products were judged per query. All others count as grade 0, so figures over the whole gallery
are a lower bound: a good product that nobody judged counts as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib import import_module
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geoclip_lite.adapters.pairs import Pairs

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

GAINS = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}  # exact, substitute, complement, irrelevant
PRODUCTS, QUERIES = "product_features.parquet", "query_features.parquet"
EXAMPLES, TITLES = "shopping_queries_dataset_examples.parquet", "shopping_queries_dataset_products.parquet"
SUBSET = {"small_version": 1, "split": "test", "product_locale": "us"}
IMAGE, TEXT = "clip_image_features", "clip_text_features"
# File -> the columns that are read; no other one is.
COLUMNS = {
    PRODUCTS: ("product_id", IMAGE, TEXT),
    QUERIES: ("query_id", TEXT),
    EXAMPLES: ("query", "query_id", "product_id", "esci_label", *SUBSET),
    TITLES: ("product_id", "product_title", "product_locale"),
}
BATCH, BUFFER = 1024, 2**20  # rows and bytes in memory beside the matrices that they go into
Missing = Literal["refuse", "skip"]
Examples = dict[str, list[str]]  # column -> its values
Titles = dict[str, str]  # product -> title
SHARES = (0.6, 0.2, 0.2)  # training, validation, test


@dataclass(frozen=True)
class Sqid:
    """Products, queries, and what was judged.

    Args:
        images, titles: unit vectors of the products' pictures and titles.
        product_ids: as published.
        product_titles: word for word; "" where there is none.
        pictures: name of each product's picture, the first product with the same vector. Variants of a
            product often share one, and so do some hundred films without a picture of their own.
        queries: unit vectors.
        query_ids, query_texts: of the queries.
        judged: query and product number of every judgement.
        gains: of every judgement, see `GAINS`.
        left_out: what was left out, and how many of them.
    """

    images: Float[Tensor, "products dim"]
    titles: Float[Tensor, "products dim"]
    product_ids: tuple[str, ...]
    product_titles: tuple[str, ...]
    pictures: tuple[str, ...]
    queries: Float[Tensor, "queries dim"]
    query_ids: tuple[str, ...]
    query_texts: tuple[str, ...]
    judged: Int[Tensor, "judgements 2"]
    gains: Float[Tensor, " judgements"]
    left_out: dict[str, int]

    def grades(self, queries: Int[Tensor, " some"] | None = None) -> Float[Tensor, "some products"]:
        """ESCI's gains, 0 where nothing was judged: the relevance that `metrics` takes.

        With `metrics.ndcg_at(..., gain="linear")` they are the gains of the KDD Cup's first task. For
        `metrics`, relevant is what is above 0, substitutes and complements too; `grades() == 1` is exact.

        Args:
            queries: whose rows; None: all, which takes 5.9 GB for the whole of SQID.
        """
        shape = (len(self.query_ids), len(self.product_ids))
        judged = torch.sparse_coo_tensor(self.judged.T, self.gains, shape, check_invariants=True)
        return (judged if queries is None else judged.index_select(0, queries)).to_dense()

    def pairs(self) -> Pairs:
        """Every product as a picture with its title. Products with one picture, or one title, are alike."""
        return Pairs.of(self.images, self.titles, self.pictures, self.product_titles)

    def part(self, products: Bool[Tensor, " products"], queries: Bool[Tensor, " queries"]) -> Sqid:
        """Some products, some queries, and the judgements of the ones about the others."""
        kept = queries[self.judged[:, 0]] & products[self.judged[:, 1]]
        query, product = self.judged[kept].T
        numbers = (queries.cumsum(0) - 1)[query], (products.cumsum(0) - 1)[product]
        return Sqid(
            images=self.images[products],
            titles=self.titles[products],
            product_ids=_where(products, self.product_ids),
            product_titles=_where(products, self.product_titles),
            pictures=_where(products, self.pictures),
            queries=self.queries[queries],
            query_ids=_where(queries, self.query_ids),
            query_texts=_where(queries, self.query_texts),
            judged=torch.stack(numbers, dim=1),
            gains=self.gains[kept],
            left_out=self.left_out,
        )

    def split(self, shares: Sequence[float] = SHARES, seed: int = 0) -> list[Sqid]:
        """Parts that share no picture, no product and no query.

        Pictures are dealt, with all products that show them, and so are queries; a judgement across two parts
        is lost. A query that no product of its part answers is left out, since every method would miss it.

        Args:
            shares: of the pictures and of the queries, one number a part.

        Raises:
            ValueError: shares that are not above 0 or do not add up to 1; a part without products or queries.
        """
        if min(shares, default=0) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"shares must be above 0 and add up to 1, got {tuple(shares)}")
        rng = np.random.default_rng(seed)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(self.pictures))}
        of_picture = _dealt(len(numbers), shares, rng)
        of_product = of_picture[torch.tensor([numbers[name] for name in self.pictures])]
        of_query = _dealt(len(self.query_ids), shares, rng)
        return [self._dealt_part(of_product == i, of_query == i, f"part {i}") for i in range(len(shares))]

    def _dealt_part(
        self, products: Bool[Tensor, " products"], queries: Bool[Tensor, " queries"], name: str
    ) -> Sqid:
        answers = (self.gains > 0) & products[self.judged[:, 1]]
        answered = torch.zeros(len(queries), dtype=torch.bool)
        answered[self.judged[answers, 0]] = True
        if not (products.any() and (queries & answered).any()):
            raise ValueError(f"shares: {name} would have no products, or no query that they answer")
        part = self.part(products, queries & answered)
        return replace(part, left_out={"queries without an answer": int((queries & ~answered).sum())})


# --- reading --------------------------------------------------------------------------------------


def read(folder: Path | str, missing: Missing = "refuse") -> Sqid:
    """SQID from the four files in a folder: all products with a picture, and all queries.

    The whole of it takes about 1.2 GB of memory. Vectors are scaled to unit length.

    Args:
        missing: what becomes of queries and products that one file has and another lacks: "refuse" raises,
            "skip" leaves them out and counts them in `left_out`. Products without a picture (null or empty
            features) are always left out and counted, with what was judged of them.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: a file is not in the folder.
        ValueError: no Parquet file, a missing column, vectors of unequal length, NaN or zero vectors, an
            unknown label, an id or a judgement twice, files that do not fit together, or nothing left.
    """
    if missing not in get_args(Missing):
        raise ValueError(f"missing must be {' or '.join(get_args(Missing))}, got {missing!r}")
    paths = _paths(Path(folder))
    examples = _examples(paths[EXAMPLES])
    products, queries = _features(paths[PRODUCTS]), _features(paths[QUERIES])
    _one_length(products, queries)
    titles = _titles(paths[TITLES], products.ids)
    left_out = _gaps(examples, products, queries, titles)
    if missing == "refuse" and left_out:
        found = "; ".join(f"{what}: {len(ids)}, {ids[0]!r} among them" for what, ids in left_out.items())
        raise ValueError(f"{folder}: the files do not fit together. {found}. missing='skip' leaves these out")
    left_out |= {"products without a picture": products.bare}
    return _joined(examples, products, queries, titles, {what: len(ids) for what, ids in left_out.items()})


def _gaps(examples: Examples, products: Features, queries: Features, titles: Titles) -> dict[str, list[str]]:
    """What one file has and another lacks."""
    asked, judged = set(examples["query_id"]), set(examples["product_id"])
    gaps = {
        f"queries of {EXAMPLES} that {QUERIES} lacks": asked.difference(queries.ids),
        f"queries of {QUERIES} that {EXAMPLES} lacks": set(queries.ids) - asked,
        f"products of {EXAMPLES} that {PRODUCTS} lacks": judged.difference(products.ids, products.bare),
        f"products of {PRODUCTS} that {TITLES} lacks": set(products.ids) - titles.keys(),
    }
    return {what: sorted(ids) for what, ids in gaps.items() if ids}


def _joined(
    examples: Examples, products: Features, queries: Features, titles: Titles, left_out: dict[str, int]
) -> Sqid:
    """What all files know."""
    texts = dict(zip(examples["query_id"], examples["query"], strict=True))
    judged, gains = _judgements(examples, products.ids, queries.ids)
    sqid = Sqid(
        images=products.vectors[IMAGE],
        titles=products.vectors[TEXT],
        product_ids=tuple(products.ids),
        product_titles=tuple(titles.get(name, "") for name in products.ids),
        pictures=tuple(_first_alike(products.pictures, products.ids)),
        queries=queries.vectors[TEXT],
        query_ids=tuple(queries.ids),
        query_texts=tuple(texts.get(name, "") for name in queries.ids),
        judged=judged,
        gains=gains,
        left_out=left_out,
    )
    titled, asked = (_among(ids, of) for ids, of in ((products.ids, titles), (queries.ids, texts)))
    sqid = sqid if titled.all() and asked.all() else sqid.part(titled, asked)
    if not len(sqid.judged):
        raise ValueError("nothing is left: no judgement is about a query and a product that all files know")
    return sqid


def _judgements(
    examples: Examples, products: list[str], queries: list[str]
) -> tuple[Int[Tensor, "judgements 2"], Float[Tensor, " judgements"]]:
    """Numbers of query and product, and the gain, where both have vectors."""
    unknown = sorted(set(examples["esci_label"]) - GAINS.keys())
    if unknown:
        raise ValueError(f"{EXAMPLES}: esci_label must be one of {', '.join(GAINS)}, got {unknown[0]!r}")
    named = zip(examples["query_id"], examples["product_id"], strict=True)
    _refuse_twice(named, f"{EXAMPLES}: the judgement of")
    query, product = _numbers(examples["query_id"], queries), _numbers(examples["product_id"], products)
    judged = torch.stack([query, product], dim=1)
    gains = torch.tensor([GAINS[label] for label in examples["esci_label"]])
    known = (judged >= 0).all(1)
    return judged[known], gains[known]


# --- rows of ESCI ---------------------------------------------------------------------------------


def _examples(path: Path) -> Examples:
    """The judgements that SQID is about, column by column."""
    import pyarrow.compute as pc

    _opened(path)
    small, split, locale = (pc.field(column) == value for column, value in SUBSET.items())
    examples = _strings_of(path, small & split & locale)
    if not examples["query_id"]:
        rows = ", ".join(f"{column} {value}" for column, value in SUBSET.items())
        raise ValueError(f"{path}: no row has {rows}")
    return examples


def _titles(path: Path, products: list[str]) -> Titles:
    """Product -> title, for these products."""
    import pyarrow.compute as pc

    _opened(path)
    here = pc.field("product_locale") == SUBSET["product_locale"]
    found = _strings_of(path, here & pc.field("product_id").isin(products))
    _refuse_twice(found["product_id"], f"{path.name}: product_id")
    return dict(zip(found["product_id"], found["product_title"], strict=True))


def _strings_of(path: Path, condition: pc.Expression) -> dict[str, list[str]]:
    """The columns of some rows, but for the columns that choose them."""
    import pyarrow.parquet as pq

    columns = [column for column in COLUMNS[path.name] if column not in SUBSET]
    table = pq.read_table(path, columns=columns, filters=condition)
    return {column: _strings(table[column]) for column in columns}


# --- vectors, batch by batch ----------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """The vectors of a file.

    Args:
        file: its name.
        ids: of the rows, in order.
        vectors: column -> unit rows.
        pictures: a digest of each row's picture.
        bare: ids without a picture; they have no row.
    """

    file: str
    ids: list[str]
    vectors: dict[str, Float[Tensor, "rows dim"]]
    pictures: list[bytes]
    bare: list[str]


def _features(path: Path) -> Features:
    """Fills a matrix a column, batch by batch: as lists, they would need several times the memory."""
    file, (key, *columns) = _opened(path), COLUMNS[path.name]
    features = Features(path.name, [], {}, [], [])
    for batch in file.iter_batches(BATCH, columns=[key, *columns]):
        bare = _lengths(batch[IMAGE]) == 0 if IMAGE in columns else np.zeros(len(batch), bool)
        ids = np.array(_strings(batch[key]), dtype=object)
        features.bare.extend(ids[bare])
        _add(features, list(ids[~bare]), batch.filter(~bare), columns, file.metadata.num_rows)
    _refuse_twice([*features.ids, *features.bare], f"{path.name}: {key}")
    if "" in features.ids:
        raise ValueError(
            f"{path.name}: {key} is missing in a row with features: nobody knows what they are of"
        )
    if not features.ids:
        raise ValueError(f"{path}: no row has features")
    vectors = {column: matrix[: len(features.ids)] for column, matrix in features.vectors.items()}
    return replace(features, vectors=vectors)


def _add(features: Features, ids: list[str], batch: pa.RecordBatch, columns: list[str], room: int) -> None:
    """Copies a batch behind what is there. Room is for all rows of the file."""
    if not ids:
        return
    start = len(features.ids)
    features.ids.extend(ids)
    for column in columns:
        block = _block(batch[column], ids, f"{features.file}: {column}")
        if column not in features.vectors:
            features.vectors[column] = torch.empty(room, block.shape[1])
        matrix = features.vectors[column]
        if block.shape[1] != matrix.shape[1]:
            raise ValueError(_ragged(f"{features.file}: {column}", ids[0], block.shape[1], matrix.shape[1]))
        matrix[start : start + len(ids)] = block
        if column == IMAGE:
            features.pictures.extend(blake2b(row.numpy(), digest_size=16).digest() for row in block)


def _block(column: pa.Array, ids: list[str], name: str) -> Float[Tensor, "rows dim"]:
    """Unit rows of some vectors, which must be of one length."""
    import pyarrow.compute as pc

    lengths = _lengths(column)
    if not lengths.all():
        raise ValueError(f"{name} is missing for {ids[int(lengths.argmin())]}")
    if (odd := lengths != lengths[0]).any():
        row = int(odd.argmax())
        raise ValueError(_ragged(name, ids[row], lengths[row], lengths[0]))
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(np.float32)
    block = torch.from_numpy(flat).reshape(len(ids), -1)
    norms = torch.linalg.vector_norm(block, dim=1, keepdim=True)
    bad = ~(norms.isfinite() & (norms > 0))[:, 0]
    if bad.any():
        row = int(bad.int().argmax())
        raise ValueError(f"{name} of {ids[row]} must be finite and not 0, its length is {float(norms[row])}")
    return block / norms


def _ragged(name: str, row: str, got: int, expected: int) -> str:
    return f"{name} must have vectors of one length, got {got} numbers for {row} and {expected} for others"


def _lengths(column: pa.Array) -> Int[np.ndarray, " rows"]:
    """Of the lists in a column; 0 for null."""
    import pyarrow.compute as pc

    return pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)


def _one_length(*files: Features) -> None:
    found = {f"{f.file} {column}": m.shape[1] for f in files for column, m in f.vectors.items()}
    if len(set(found.values())) > 1:
        lengths = ", ".join(f"{length} in {name}" for name, length in found.items())
        raise ValueError(f"all vectors must come from one encoder, got lengths {lengths}")


# --- files ----------------------------------------------------------------------------------------


def _paths(folder: Path) -> dict[str, Path]:
    """Where the files are."""
    try:
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("reading SQID needs pyarrow: pip install 'geoclip-lite[sqid]'") from error
    lacking = [name for name in COLUMNS if not (folder / name).is_file()]
    if lacking:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(lacking)}: put these files there. {PRODUCTS} and {QUERIES} are "
            "published in the SQID repository, the other two in the ESCI repository"
        )
    return {name: folder / name for name in COLUMNS}


def _opened(path: Path) -> pq.ParquetFile:
    """The file, if it is one and has the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path} is no Parquet file ({error}): if it has some hundred bytes, it is a pointer of Git LFS "
            "in its place; fetch the file itself"
        ) from error
    lacking = [column for column in COLUMNS[path.name] if column not in file.schema_arrow.names]
    if lacking:
        names = ", ".join(file.schema_arrow.names)
        raise ValueError(f"{path} must have the column {lacking[0]}, it has {names}")
    return file


# --- helpers --------------------------------------------------------------------------------------


def _strings(column: pa.Array | pa.ChunkedArray) -> list[str]:
    """Ids are numbers in one file and strings in another; here all are strings, and null is ""."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.fill_null(pc.cast(column, pa.string()), "").to_pylist()


def _refuse_twice(names: Iterable[Hashable], what: str) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is there more than once ({len(twice)} such)")


def _first_alike(digests: list[bytes], ids: list[str]) -> Iterator[str]:
    first: dict[bytes, str] = {}
    return (first.setdefault(digest, name) for digest, name in zip(digests, ids, strict=True))


def _dealt(n: int, shares: Sequence[float], rng: np.random.Generator) -> Int[Tensor, " n"]:
    """A part for each of n, at random, as near to the shares as whole numbers can be."""
    ends = np.round(np.cumsum(shares)[:-1] * n)
    return torch.from_numpy(np.searchsorted(ends, rng.permutation(n), side="right"))


def _numbers(names: list[str], ids: list[str]) -> Int[Tensor, " names"]:
    """Where each name stands among the ids; -1: nowhere."""
    number_of = {name: number for number, name in enumerate(ids)}
    return torch.tensor([number_of.get(name, -1) for name in names])


def _among(names: list[str], known: Container[str]) -> Bool[Tensor, " names"]:
    return torch.tensor([name in known for name in names])


def _where(mask: Bool[Tensor, " items"], items: Sequence[str]) -> tuple[str, ...]:
    return tuple(compress(items, mask.tolist()))
