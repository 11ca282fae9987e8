"""A table on an encoder and a data set, into a results file; and the files that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from geoclip_lite import results
from geoclip_lite.datasets.official.reading import told
from geoclip_lite.datasets.official.sugarcrepe import Choice
from geoclip_lite.encoders import load_encoder
from geoclip_lite.files import write_atomically
from geoclip_lite.scorecard.paper import STAND_INS, about, paper_data
from geoclip_lite.scorecard.rows import METHODS, Row, measured, objects, own_task
from geoclip_lite.scorecard.sets import SETS, read_set

FOLDER = results.FOLDER / "scorecard"


def sets_for(table: str) -> list[str]:
    """The data sets that a table can be run on; rendered stand-ins last.

    Raises:
        ValueError: the paper has no such table.
    """
    names = dict.fromkeys(about(table).data)
    return [name for data in names for name in STAND_INS.get(data, (data,)) if name in SETS]


def run(
    table: str,
    encoder: str,
    data: str | None = None,
    *,
    folder: Path | str = "data",
    queries: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    out: Path | str = FOLDER,
) -> Path:
    """Measures one table and writes what came out.

    Args:
        table: "1" to "7", "J", or "report".
        encoder: as `load_encoder` knows it.
        data: one of `sets_for(table)`; None: the first.
        folder: where the data sets' folders are.
        queries: the first so many; None: all.
        seeds: of ridge's folds, and of adapters; where a method draws nothing, one is enough.
        out: the folder for the file.

    Raises:
        ValueError: no such table, data set or encoder; queries below 1, or no seed.
        SetMissingError, WeightsError: files or weights that are not at hand.
    """
    choices = sets_for(table)
    data = choices[0] if data is None else data
    if data not in choices:
        raise ValueError(f"data must be one of {', '.join(choices)} for table {table}, got {data!r}")
    if queries is not None and queries < 1:
        raise ValueError(f"queries must be 1 or more, got {queries}")
    if not seeds:
        raise ValueError("seeds must be 1 or more, got none: nothing would be measured")
    benchmark, loaded = read_set(data, folder).first(queries), load_encoder(encoder)
    seeds = seeds[:1] if METHODS[table] is objects else seeds
    rows = [row for seed in seeds for row in measured(loaded, benchmark, METHODS[table], seed)]
    rows += own_task(loaded, benchmark) if isinstance(benchmark.queries[0], Choice) else []
    record = {
        "table": table,
        "data": data,
        "encoder": encoder,
        "fingerprint": loaded.fingerprint,
        "queries": len(benchmark.queries),
        "gallery": len(benchmark.items),
        "left out": {
            why: {"count": len(names), "told": told({why: names})}
            for why, names in benchmark.left_out.items()
        },
        "versions": results.versions(),
        "rows": rows,
    }
    path = Path(out) / f"{table}-{data}-{re.sub(r'[^A-Za-z0-9.-]+', '-', encoder)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, indent=1).encode())
    return path


def read_runs(folder: Path | str = FOLDER) -> pd.DataFrame:
    """Every figure of every run in a folder, each with table, encoder, data and what the data stand for.

    Raises:
        ValueError: a file that is no run; the message names it.
    """
    found = [row for path in sorted(Path(folder).glob("*.json")) for row in _rows(path)]
    return pd.DataFrame(found)


def read_run(path: Path | str) -> pd.DataFrame:
    """The same of one file."""
    return pd.DataFrame(_rows(Path(path)))


def _rows(path: Path) -> list[Row]:
    try:
        record = json.loads(path.read_text())
        about = {name: record[name] for name in ("table", "data", "encoder", "gallery")}
        about["stands for"] = paper_data(about["data"])
        about["left out"] = "; ".join(part["told"] for part in record.get("left out", {}).values())
        return [about | row for row in record["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no run of the scorecard ({error!r}): remove it") from error
