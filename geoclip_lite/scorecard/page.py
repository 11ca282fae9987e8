"""The paper's figures beside ours.

beside      every printed figure, with a column for each run
directions  does a method move R@1 the way it does in the paper?
overview    one row a method: paper, minis and real encoders with verdicts, the chapter with the experiment
"""

from __future__ import annotations

import pandas as pd

from geoclip_lite.encoders import shipped
from geoclip_lite.scorecard.printed import KEYS, printed

PLACE = ["table", "data", "space", "method", "metric"]
UNKNOWN = "not in our copy"
REAL = "real encoders"
OTHER_METRIC = {"J": "R@10", "report": "R@10"}
CHAPTERS = dict.fromkeys(("1", "2", "4", "5", "6", "7"), "04_neighbourhood_matching") | {
    "3": "05_objects_against_objects",
    "J": "09_steering_several_objects",
    "report": "10_residual_adapters",
}


def beside(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a printed figure, with a column for each data set and encoder that was run.

    Columns hold "mean (lowest to highest)" over seeds; what nobody ran is empty, and what our copy does not
    define says so.

    Args:
        runs: of `read_runs`.
    """
    page = printed().set_index(PLACE)
    if len(runs):
        named = runs.assign(run=runs.encoder + " on " + runs.data, data=runs["stands for"])
        told = named.groupby([*PLACE, "run"]).value.agg(_told).unstack("run")
        page = page.join(told)
    steered = page.index.get_level_values("space").str.contains("steering")
    page.loc[steered, [c for c in page if c not in (*KEYS, "paper")]] = UNKNOWN
    return page.fillna("").reset_index()


def _told(values: pd.Series) -> str:
    """Over seeds."""
    pattern = "{:.1f}" if values.abs().max() > 1 else "{:.3f}"
    mean, low, high = (pattern.format(v) for v in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def directions(runs: pd.DataFrame) -> pd.DataFrame:
    """For each method of the paper: does it move R@1 the way it does there, against no reranking?

    One row a method and run; "shows" or "differs".
    """
    paper = printed()[printed().metric == "R@1"].set_index(["table", "data", "space", "method"]).paper
    rows = []
    for (table, data, space, method), value in paper.items():
        base = paper.get((table, data, space, "none"))
        if method == "none" or base is None or not len(runs):
            continue
        same = (runs.table == table) & (runs["stands for"] == data) & (runs.space == space)
        for (encoder, where), some in runs[same & (runs.metric == "R@1")].groupby(["encoder", "data"]):
            ours, none = (some[some.method == m].set_index("seed") for m in (method, "none"))
            about = {"table": table, "data": where, "encoder": encoder, "real": encoder not in shipped()}
            about |= {"space": space, "method": method, "paper": f"{base:g} to {value:g}"}
            about["here"] = f"{_told(none.value)} to {_told(ours.value)}"
            rows.append(about | {"verdict": _verdict(value - base, ours, none)})
    return pd.DataFrame(rows)


def _verdict(change: float, ours: pd.DataFrame, none: pd.DataFrame) -> str:
    """A rise shows if every seed's interval over queries lies above the mean without reranking; so a fall."""
    rises, falls = (ours.low > none.value).all(), (ours.high < none.value).all()
    shows = rises if change > 0 else falls if change < 0 else not (rises or falls)
    return "shows" if shows else "differs"


def overview(runs: pd.DataFrame) -> pd.DataFrame:
    """R@1 as printed beside that of the minis and of real encoders; R@10 where nothing else is printed.

    Columns: what identifies a row of the papers' tables, "metric", "paper", "minis" and "real encoders" (see
    `_told_of`), and "chapter".
    """
    page = beside(runs)
    page = page[page.metric == page.table.map(OTHER_METRIC).fillna("R@1")].reset_index(drop=True)
    ran = [column for column in page if column not in (*KEYS, "metric", "paper")]
    of_minis = [column for column in ran if column.partition(" on ")[0] in shipped()]
    verdicts = _verdicts(directions(runs))
    table = page[[*KEYS, "metric", "paper"]].copy()
    for name, columns in (("minis", of_minis), (REAL, [column for column in ran if column not in of_minis])):
        table[name] = [_told_of(row, columns, verdicts) for _, row in page.iterrows()]
    table["chapter"] = table.table.map(CHAPTERS)
    return table


def _told_of(row: pd.Series, columns: list[str], verdicts: dict[tuple[str, ...], str]) -> str:
    """ "mini-pairs on shapes: 63.3 (57.9 to 66.9), differs", of every run that has the figure."""
    if any(row[column] == UNKNOWN for column in columns):
        return UNKNOWN
    told = []
    for run in columns:
        verdict = verdicts.get((run, row.table, row.space, row.method))
        told += [f"{run}: {row[run]}{f', {verdict}' if verdict else ''}"] if row[run] else []
    return "; ".join(told)


def _verdicts(found: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """Run, table, space, method -> verdict."""
    if found.empty:
        return {}
    keys = zip(found.encoder + " on " + found.data, found.table, found.space, found.method, strict=True)
    return dict(zip(keys, found.verdict, strict=True))
