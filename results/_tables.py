"""What the scripts share: tidy rows going in, figures over seeds coming out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, product

import pandas as pd
from _runs import MINIS, SEEDS, run_names, shipped, trained

from geoclip_lite import results
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.results import Claim, Row, Study

PAPER = "Prakash et al. (2026)"
Decided = list[tuple[tuple[str, str, str], str, bool]]  # (text, where, paper), measured, whether it holds


def rows_of(values: dict[str, float], about: Row) -> list[Row]:
    """One tidy row per metric."""
    return [about | {"metric": metric, "value": float(value)} for metric, value in values.items()]


def over_seeds(table: pd.DataFrame, metric: str, **where: str) -> pd.Series:
    """A figure of every seed."""
    rows = table[table.metric == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if rows.empty or rows.seed.duplicated().any():
        raise LookupError(f"{metric!r} with {where}: {len(rows)} rows, expected one a seed")
    return rows.set_index("seed").value.sort_index()


def spread(values: pd.Series, pattern: str = "{:.2f}") -> str:
    """Mean over seeds, with the lowest and the highest."""
    return "{} ({} to {})".format(*(pattern.format(v) for v in (values.mean(), values.min(), values.max())))


def claims_of(decided: dict[str, Decided], experiment: str) -> list[Claim]:
    """The claims of every diet, those of one statement side by side; each is decided by its measurement."""
    found = []
    for same in zip(*decided.values(), strict=True):
        for diet, ((text, where, paper), measured, holds) in zip(decided, same, strict=True):
            verdict = "shows" if holds else "differs"
            found.append(Claim(f"{text} ({diet})", f"{PAPER}, {where}", paper, measured, verdict, experiment))
    return found


def study_of_runs(
    script: str,
    measure: Callable[[DualEncoder, Row], list[Row]],
    sample: Callable[[DualEncoder, Row], Iterable[Row]],
    claims: Callable[[pd.DataFrame], list[Claim]],
    tolerance: dict[str, float],
    minis: tuple[str, ...] = MINIS,
) -> Study:
    """Measures all seeds of these minis; the sample is of the last one, by the run that is shipped."""

    def every() -> list[Row]:
        runs = product(minis, SEEDS)
        rows = (measure(load_mini(trained(m, s)), {"encoder": m, "seed": s}) for m, s in runs)
        return list(chain.from_iterable(rows))

    return Study(
        script,
        every,
        lambda: sample(*shipped(minis[-1])),
        tolerance,
        claims,
        lambda: results.checksums(run_names(minis)),
        seeds=SEEDS,
    )
