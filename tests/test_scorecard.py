"""The scorecard: what is printed, a run from end to end, and what it says where files are missing."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from geoclip_lite import metrics, relevance
from geoclip_lite.adapters import ZeroShot, per_query
from geoclip_lite.datasets import samples
from geoclip_lite.encoders import load_encoder
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scorecard import SETS, SetMissingError, beside, overview, printed, read_runs, run
from geoclip_lite.scorecard.__main__ import main
from geoclip_lite.scorecard.page import directions
from geoclip_lite.scorecard.printed import tables
from geoclip_lite.scorecard.rows import METHODS, measured
from geoclip_lite.scorecard.running import sets_for
from geoclip_lite.scorecard.sets import read_set
from geoclip_lite.scorecard.shop import Shop

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return samples.write(tmp_path_factory.mktemp("scorecard") / "data", n=40)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for table, name in (("4", "sugarcrepe"), ("3", "visual-genome"), ("2", "urban1k")):
        run(table, "mini-pairs", name, folder=data, seeds=(0, 1), out=out)
    return read_runs(out)


# --- what is printed ------------------------------------------------------------------------------


def test_every_printed_figure_can_be_one():
    found = printed()
    assert tables() == ["1", "2", "3", "4", "5", "6", "7", "J", "report"]
    assert not found.duplicated(["table", "data", "space", "method", "metric"]).any()
    shares = ~found.metric.str.startswith("R@")
    assert found.paper[shares].between(0, 1).all()
    assert found.paper[~shares].between(0, 100).all()
    wide = found[~shares].pivot(index=["table", "data", "space", "method"], columns="metric", values="paper")
    assert not (wide["R@5"] < wide["R@1"]).any()
    assert not (wide["R@10"] < wide["R@5"]).any()


def test_every_table_can_be_run_on_something():
    assert all(set(sets_for(table)) <= set(SETS) and sets_for(table) for table in tables())
    with pytest.raises(ValueError, match="table must be one of"):
        sets_for("8")


# --- a run ----------------------------------------------------------------------------------------


def test_a_run_measures_what_the_rooms_measure(data, runs):
    benchmark, encoder = read_set("sugarcrepe", data), load_encoder("mini-pairs")
    ranking = shortlist(
        encoder.encode_texts([choice.caption for choice in benchmark.queries]),
        Gallery.of_images(encoder, benchmark.items),
        40,
    )
    right = relevance.exact(benchmark.queries, benchmark.items)
    rows = runs[(runs.table == "4") & (runs.space == "plain") & (runs.method == "none")]
    for k in (1, 5, 10):
        values = rows[rows.metric == f"R@{k}"].value.unique()
        assert values == pytest.approx([100 * float(metrics.hit_at(ranking, right, k).mean())])


def test_no_reranker_exceeds_its_shortlist_and_every_row_says_what_it_rests_on(runs):
    recall = runs[runs.metric.str.startswith("R@")]
    assert (recall.value <= recall["shortlist recall"] + 1e-9).all()
    assert (runs.low <= runs.value + 1e-9).all()
    assert (runs.value <= runs.high + 1e-9).all()
    local = runs.method.str.startswith("local")
    assert runs.transductive[local].all()
    assert not runs.transductive[~local].any()
    annotated = runs.method.isin(["FGW", "assignment", "look-up of words"])
    assert runs.oracle[annotated].all()
    assert not runs.oracle[~annotated].any()
    assert set(runs[runs.data == "visual-genome"].metric) > {"nDCG@10", "CAS-noun@10"}
    assert not runs[runs.data == "urban1k"].metric.str.startswith("nDCG").any(), "nobody graded these"


def test_the_page_has_a_row_a_printed_figure_and_no_number_that_nobody_measured(runs):
    page = beside(runs)
    assert len(page) == len(printed()) == len(beside(pd.DataFrame()))
    steered = page[page.space == "ridge + steering"]
    columns = [name for name in page if " on " in name]
    assert columns
    assert (steered[columns] == "not in our copy").all().all()
    shown = page[(page.table == "4") & (page.space == "plain") & (page.method == "none")]
    value = runs[(runs.table == "4") & (runs.method == "none") & (runs.metric == "R@1")].value.iloc[0]
    assert shown.set_index("metric")["mini-pairs on sugarcrepe"]["R@1"] == f"{value:.1f}"
    others = page[(page.table == "1") & (page.space == "plain")]
    assert (others[columns] == "").all().all(), "table 1 was not run"


def test_a_verdict_follows_from_intervals():
    rows = [
        {"table": "3", "data": "clevr", "stands for": "clevr-hope", "encoder": "mini-pairs", "metric": "R@1"}
        | {"space": "objects", "method": method, "seed": 0, "value": value}
        | {"low": value - 3, "high": value + 3}
        for method, value in (("none", 50.0), ("FGW", 60.0), ("assignment", 52.0), ("average", 40.0))
    ]
    found = directions(pd.DataFrame(rows)).set_index("method").verdict
    assert found.to_dict() == {"FGW": "shows", "assignment": "differs", "average": "shows"}
    assert directions(pd.DataFrame()).empty


def test_seeds_change_ridge_alone(runs):
    r1 = runs[(runs.table == "4") & (runs.metric == "R@1")].pivot_table(
        index=["space", "method"], columns="seed", values="value"
    )
    assert np.allclose(r1.loc["plain", 0], r1.loc["plain", 1])
    assert set(runs[runs.table == "3"].seed) == {0}, "nothing is drawn there"


# --- by command -----------------------------------------------------------------------------------


def test_the_command_runs_a_row_or_says_what_is_missing(data, tmp_path, capsys):
    common = ["--data", str(data), "--queries", "20", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["run", "2", *common]) == 0
    assert (tmp_path / "2-urban1k-mini-pairs.json").is_file()
    assert main(["run", "2", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 1
    assert "datasets get urban1k" in capsys.readouterr().err
    assert main(["run", "9", *common]) == 2
    assert main(["run", "2", "--data-set", "shapes", *common]) == 2
    assert main(["run", "2", *common[:2], "--queries", "0"]) == 2
    assert main(["run", "2", "--data", str(tmp_path / "nowhere"), "--seeds", "0"]) == 2, "before it looks"
    assert "seeds must be 1 or more" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert "table 4: sugarcrepe" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.json")] == ["2-urban1k-mini-pairs.json"]


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"rows": []}))
    with pytest.raises(ValueError, match=r"x\.json is no run of the scorecard"):
        read_runs(tmp_path)
    with pytest.raises(SetMissingError, match="get sugarcrepe"):
        read_set("sugarcrepe", tmp_path)
    with pytest.raises(ValueError, match="data must be one of"):
        read_set("imagenet", tmp_path)


# --- the page -------------------------------------------------------------------------------------


def test_the_overview_has_paper_minis_and_real_encoders_side_by_side(runs):
    real = runs.assign(encoder="ViT-B-32/x")
    page = overview(pd.concat([runs, real])).set_index(["table", "data", "space", "method"])
    assert list(page) == ["encoder", "metric", "paper", "minis", "real encoders", "chapter"]
    none = page.loc[("4", "sugarcrepe", "plain", "none")]
    assert none.minis.startswith("mini-pairs on sugarcrepe: ")
    assert none["real encoders"] == none.minis.replace("mini-pairs", "ViT-B-32/x")
    assert re.fullmatch(r"mini-pairs on sugarcrepe: [\d.]+( \([\d.]+ to [\d.]+\))?", none.minis), "no verdict"
    moved = page.loc[("4", "sugarcrepe", "plain", "local assignment")].minis
    assert re.search(r", (shows|differs)$", moved)
    assert set(page.loc["1"].minis) == {"", "not in our copy"}, "table 1 was not run"
    for chapter in page.chapter:
        assert (ROOT / "notebooks" / f"{chapter}.ipynb").is_file()
    empty = overview(pd.DataFrame())
    assert len(empty) == len(page)
    assert (empty[["minis", "real encoders"]] == "").all().all()


def test_no_figure_is_typed_on_the_page():
    """Every number on it comes out of code that holds none; names of things may have digits."""
    notebook = nbformat.read(ROOT / "book" / "scorecard.ipynb", as_version=4)
    for cell in notebook.cells:
        text = re.sub(r"```.*?```|\(\.\./[^)]*\)|R@\d+", "", cell.source, flags=re.DOTALL)
        if cell.cell_type == "code":
            text = re.sub(r"(axis|fill_value|precision)=\d|lstrip\(\"0\"\)", "", text)
        assert not re.search(r"\d", text), cell.source


def test_a_shop_is_searched_before_and_after_training():
    """The frozen row is chapter 10's own zero-shot search; the residual adapter moves it."""
    shop = Shop.drawn(of_each_kind=6, training=300, validation=80, items=60)
    names = [{one.number for one in part} for part in (shop.training, shop.validation, shop.items)]
    assert not set.intersection(*names), "no photograph is in two parts"
    encoder = load_encoder("mini-products", device="cpu")
    rows = pd.DataFrame(measured(encoder, shop, METHODS["report"], seed=0))
    r10 = rows[rows.metric == "R@10"].set_index("method").value
    gallery = encoder.encode_images([one.scene().image(64) for one in shop.items])
    texts = encoder.encode_texts([query.text for query in shop.queries])
    hits = per_query(ZeroShot(), texts, gallery, shop.relevant())["R@10"]
    assert r10["none"] == pytest.approx(100 * hits.mean())
    assert set(r10.index) == {"none", "two-tower, margin", "residual, InfoNCE"}
    assert r10["residual, InfoNCE"] > r10["two-tower, margin"]
    assert len(shop.first(5).relevant()) == 5
    assert sets_for("report") == ["products"]
