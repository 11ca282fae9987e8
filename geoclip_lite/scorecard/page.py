"""The paper's figures beside ours.

beside      every printed figure, with a column for each run
directions  does a method move R@1 the way it does in the paper?
overview    one row a method: paper, minis and real encoders with verdicts, the chapter with the experiment
coverage    what each run was measured on, what of the data was left out, and what chance would give
own_tasks   SugarCrepe's own figure, of the runs on its files
summary     one run in words

A figure that is no better than rankings at random is marked "within chance" or "below chance".
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from geoclip_lite.encoders import shipped
from geoclip_lite.scorecard.paper import KEYS, printed

PLACE = ["table", "data", "space", "method", "metric"]
UNKNOWN = "not in our copy"
REAL = "real encoders"
LUCK, BELOW = "within chance", "below chance"
IN_PERCENT = ("R@", "accuracy")
ACCURACY = "accuracy"
COVERAGE = ["queries", "gallery", "left out"]
CHANCE = ["chance", "chance low", "chance high"]
OTHER_METRIC = {"J": "R@10", "report": "R@10"}
CHAPTERS = dict.fromkeys(("1", "2", "4", "5", "6", "7"), "04_neighbourhood_matching") | {
    "3": "05_objects_against_objects",
    "J": "09_steering_several_objects",
    "report": "10_residual_adapters",
}


def beside(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a printed figure, with a column for each data set and encoder that was run.

    Columns hold "mean (lowest to highest)" over seeds, marked where it is within chance; what nobody ran is
    empty, and what our copy does not define says so.

    Args:
        runs: of `read_runs`.
    """
    page = printed().set_index(PLACE)
    if len(runs):
        named = runs.assign(run=_names(runs), data=runs["stands for"])
        told = pd.Series({key: _marked(some) for key, some in named.groupby([*PLACE, "run"])})
        page = page.join(told.unstack().rename_axis(index=PLACE))
    steered = page.index.get_level_values("space").str.contains("steering")
    page.loc[steered, [c for c in page if c not in (*KEYS, "paper")]] = UNKNOWN
    return page.fillna("").reset_index()


def _names(runs: pd.DataFrame) -> pd.Series:
    return runs.encoder + " on " + runs.data


def _marked(runs: pd.DataFrame) -> str:
    """One figure over seeds; with what luck gives, if it is no better."""
    level = _chance_level(runs)
    return f"{_told(runs)}, {level} ({_range(runs, CHANCE[1:])})" if level else _told(runs)


def _chance_level(runs: pd.DataFrame) -> str:
    """Where luck would put every one of these figures, or above them; "" for what is better, or not known."""
    known = runs.reindex(columns=["value", *CHANCE])
    if not (known.value <= known["chance high"]).all():
        return ""
    return BELOW if (known.value < known["chance low"]).all() else LUCK


def _told(runs: pd.DataFrame) -> str:
    """One figure: its mean and range over seeds."""
    mean, spread = _number(runs.value.mean(), runs), _range(runs, ["value"])
    return mean if runs.value.min() == runs.value.max() else f"{mean} ({spread})"


def _range(runs: pd.DataFrame, columns: list[str]) -> str:
    """From the lowest to the highest number in some columns."""
    numbers = runs[columns].to_numpy(float)
    return f"{_number(numbers.min(), runs)} to {_number(numbers.max(), runs)}"


def _number(number: float, runs: pd.DataFrame) -> str:
    """Percent with one decimal, fractions with three."""
    return f"{number:.1f}" if runs.metric.iloc[0].startswith(IN_PERCENT) else f"{number:.3f}"


def directions(runs: pd.DataFrame) -> pd.DataFrame:
    """For each method of the paper: does it move R@1 the way it does there, against no reranking?

    One row a method and run; see `_verdict`.
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
            about["here"] = f"{_told(none)} to {_told(ours)}"
            rows.append(about | {"verdict": _verdict(value - base, ours, none)})
    return pd.DataFrame(rows)


def _verdict(change: float, ours: pd.DataFrame, none: pd.DataFrame) -> str:
    """Nothing shows without a figure that moved.

    within chance  neither figure is better than luck, so nothing can be said
    shows          R@1 moved the paper's way: in every seed, its interval is beyond R@1 without the method
    undecided      the interval of some seed holds the paper's change, but no change as well
    differs        all the rest
    """
    if _chance_level(ours) and _chance_level(none):
        return LUCK
    low, high = ours.low - none.value, ours.high - none.value
    if (change > 0 and (low > 0).all()) or (change < 0 and (high < 0).all()):
        return "shows"
    held = (low <= min(change, 0)) & (high >= max(change, 0))
    return "undecided" if held.any() else "differs"


def overview(runs: pd.DataFrame) -> pd.DataFrame:
    """R@1 as printed beside that of the minis and of real encoders; R@10 where nothing else is printed.

    Columns: what identifies a row of the papers' tables, "metric", "paper", "minis" and "real encoders" (see
    `_told_of`), and "chapter".
    """
    page = beside(runs)
    page = page[page.metric == page.table.map(OTHER_METRIC).fillna("R@1")].reset_index(drop=True)
    ran = [column for column in page if column not in (*KEYS, "metric", "paper")]
    of_minis = [column for column in ran if column.partition(" on ")[0] in shipped()]
    verdicts, partial = _verdicts(directions(runs)), _partial(runs)
    table = page[[*KEYS, "metric", "paper"]].copy()
    for name, columns in (("minis", of_minis), (REAL, [column for column in ran if column not in of_minis])):
        table[name] = [_told_of(row, columns, verdicts, partial) for _, row in page.iterrows()]
    table["chapter"] = table.table.map(CHAPTERS)
    return table


def _told_of(
    row: pd.Series,
    columns: list[str],
    verdicts: dict[tuple[str, ...], str],
    partial: dict[tuple[str, str], str],
) -> str:
    """ "mini-pairs on shapes (partial, 1,000 queries): 63.3 (57.9 to 66.9), differs", of every run."""
    if any(row[column] == UNKNOWN for column in columns):
        return UNKNOWN
    told = []
    for run in columns:
        verdict = verdicts.get((run, row.table, row.space, row.method), LUCK)
        of = f"{run}{partial.get((run, row.table), '')}: {row[run]}"
        told += [of if verdict == LUCK else f"{of}, {verdict}"] if row[run] else []
    return "; ".join(told)


def _verdicts(found: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """Run, table, space, method -> verdict."""
    if found.empty:
        return {}
    keys = zip(found.encoder + " on " + found.data, found.table, found.space, found.method, strict=True)
    return dict(zip(keys, found.verdict, strict=True))


def _partial(runs: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Run, table -> how many queries, where something was left out of the data."""
    about = coverage(runs).to_dict("records")
    some = [one for one in about if one["left out"]]
    return {(one["run"], one["table"]): f" (partial, {one['queries']:,} queries)" for one in some}


# --- one run, and all of them ---------------------------------------------------------------------


def coverage(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a run: queries, gallery, what was left out of the data, and R@1 by chance, in percent."""
    rows = []
    for (table, run), some in _by_run(runs):
        one = some[some.metric == "R@1"].reindex(columns=[*COVERAGE, *CHANCE, "metric"]).head(1)
        known = f"{_number(one.chance.iloc[0], one)} ({_range(one, CHANCE[1:])})"
        by_chance = {"R@1 by chance": "" if one.chance.isna().all() else known}
        rows.append(
            {"table": table, "run": run, **one[COVERAGE].astype(object).fillna("").iloc[0], **by_chance}
        )
    return pd.DataFrame(rows)


def own_tasks(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a run and kind of SugarCrepe's pairs: accuracy in percent, and how many pairs tied, which count
    as wrong."""
    rows = []
    for (_, run), some in _by_run(runs):
        for subset, one in some[some.metric == ACCURACY].groupby("method", sort=False):
            figures = {"accuracy": _marked(one), "95 %": _range(one, ["low", "high"])}
            tied = f"{one.tied.iloc[0]:.0f} of {one.queries.iloc[0]}"
            rows.append({"run": run, "pairs": subset, **figures, "tied": tied})
    return pd.DataFrame(rows).drop_duplicates(ignore_index=True)


def summary(runs: pd.DataFrame) -> str:
    """One run in words: what it was measured on, then every figure with its interval.

    Args:
        runs: of `read_run`.
    """
    [about] = coverage(runs).to_dict("records")
    head = (
        f"table {about['table']}, {about['run']}: {about['queries']:,} queries, gallery {about['gallery']:,}"
    )
    parts = [head, f"left out: {about['left out'] or 'nothing'}"]
    rows = [
        {"space": space, "method": method, "metric": metric, "figure": _marked(some)}
        | {"95 %": _range(some, ["low", "high"])}
        for (space, method, metric), some in runs[runs.metric != ACCURACY].groupby(PLACE[2:], sort=False)
    ]
    shown = pd.DataFrame(rows), own_tasks(runs).drop(columns="run", errors="ignore")
    parts += [table.to_string(index=False) for table in shown if len(table)]
    return "\n\n".join(["\n".join(parts[:2]), *parts[2:]])


def _by_run(runs: pd.DataFrame) -> Iterable[tuple[tuple[str, str], pd.DataFrame]]:
    return runs.groupby(["table", _names(runs)], sort=False) if len(runs) else ()
