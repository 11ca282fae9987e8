"""The scorecard: what is printed, a run from end to end, and what it says where files are missing."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from geoclip_lite import metrics, relevance, results
from geoclip_lite.adapters import ZeroShot, per_query
from geoclip_lite.datasets import samples
from geoclip_lite.datasets.official import sugarcrepe
from geoclip_lite.encoders import load_encoder
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.scorecard import (
    SETS,
    SetMissingError,
    beside,
    coverage,
    overview,
    own_tasks,
    printed,
    read_runs,
    run,
)
from geoclip_lite.scorecard.__main__ import main
from geoclip_lite.scorecard.page import directions
from geoclip_lite.scorecard.paper import tables
from geoclip_lite.scorecard.rows import METHODS, by_chance, figures, measured
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


def moved(none, change, width=3.0, **more):
    """Runs of table 4 (cosine and local FGW: no change in the paper; local assignment: a rise)."""
    about = {"table": "4", "data": "sugarcrepe", "stands for": "sugarcrepe", "encoder": "ViT/x"}
    about |= {"metric": "R@1", "space": "plain", "seed": 0, "queries": 200, "gallery": 40}
    figures = {"none": none, "local FGW": none + change, "local assignment": none + change}
    return pd.DataFrame(
        about | {"method": method, "value": value, "low": value - width, "high": value + width} | more
        for method, value in figures.items()
    )


@pytest.mark.parametrize(
    ("none", "change", "width", "more", "fgw", "assignment"),
    [
        (50, 0, 3, {}, "undecided", "differs"),
        (50, 5, 3, {}, "differs", "shows"),
        (50, -5, 3, {}, "differs", "differs"),
        (30, 10, 40, {}, "undecided", "undecided"),
        (2.4, 0, 2, {"chance low": 0, "chance high": 10}, "within chance", "within chance"),
        (2.4, 5, 2, {"chance low": 0, "chance high": 10}, "within chance", "within chance"),
        (2.4, 25, 2, {"chance low": 0, "chance high": 10}, "differs", "shows"),
    ],
)
def test_nothing_shows_without_a_figure_that_moved(none, change, width, more, fgw, assignment):
    found = directions(moved(none, change, width, **more)).set_index("method").verdict
    assert found.to_dict() == {"local FGW": fgw, "local assignment": assignment}


@pytest.mark.parametrize(("value", "mark"), [(12, ""), (10, "within chance"), (1, "below chance")])
def test_a_figure_that_luck_would_give_is_marked_on_the_page(value, mark):
    page = overview(moved(value, 0, chance=5, **{"chance low": 2, "chance high": 10}))
    told = page.set_index(["table", "space", "method"]).loc[("4", "plain", "none"), "real encoders"]
    assert told == f"ViT/x on sugarcrepe: {value}.0" + (f", {mark} (2.0 to 10.0)" if mark else "")


def test_percent_below_one_is_no_fraction():
    assert "0.3" in overview(moved(0.333, 0))["real encoders"].str.cat()
    assert "0.333" not in overview(moved(0.333, 0))["real encoders"].str.cat()


def test_seeds_change_ridge_alone(runs):
    r1 = runs[(runs.table == "4") & (runs.metric == "R@1")].pivot_table(
        index=["space", "method"], columns="seed", values="value"
    )
    assert np.allclose(r1.loc["plain", 0], r1.loc["plain", 1])
    assert set(runs[runs.table == "3"].seed) == {0}, "nothing is drawn there"


# --- luck, and what was left out ------------------------------------------------------------------


def test_chance_is_that_of_rankings_at_random(data):
    """Means of a thousand random rankings, for every metric; recall has a formula, too."""
    benchmark = read_set("visual-genome", data).first(20)
    found, rng = by_chance(benchmark), np.random.default_rng(0)
    means = pd.DataFrame(
        {
            name: 100 * float(v.mean()) if name.startswith("R@") else float(v.mean())
            for name, v in figures(
                Ranking.of_scores(torch.from_numpy(rng.random((20, 40)))), benchmark.relevant(), benchmark
            ).items()
        }
        for _ in range(300)
    )
    assert set(found) == set(means)
    for name, luck in found.items():
        assert luck["chance"] == pytest.approx(means[name].mean(), abs=5 * means[name].std() / 300**0.5)
        assert means[name].between(luck["chance low"], luck["chance high"]).mean() > 0.9
    assert found["R@10"]["chance"] == pytest.approx(100 * 10 / 40)


def test_intervals_of_a_run_are_over_pictures(data, runs):
    benchmark, encoder = read_set("sugarcrepe", data), load_encoder("mini-pairs")
    pictures = [choice.image_id for choice in benchmark.queries]
    assert len(set(pictures)) < len(pictures)
    texts = encoder.encode_texts([choice.caption for choice in benchmark.queries])
    ranking = shortlist(texts, Gallery.of_images(encoder, benchmark.items), 40)
    hits = 100 * metrics.hit_at(ranking, benchmark.relevant(), 5)
    expected = metrics.bootstrap_interval(hits, groups=pictures)
    rows = runs[(runs.table == "4") & (runs.space == "plain") & (runs.method == "none")]
    row = rows[rows.metric == "R@5"].iloc[0]
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    alone = metrics.bootstrap_interval(hits)
    assert (row.low, row.high) != (alone.low, alone.high)


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """The sample without most of its pictures, and the name of an untrained model of open_clip."""
    place = samples.write(tmp_path_factory.mktemp("partial") / "data", n=30)
    for path in sorted((place / "coco" / "val2017").iterdir())[12:]:
        path.unlink()
    tower = {"layers": 1, "width": 64}
    config = {
        "embed_dim": 24,
        "vision_cfg": tower | {"image_size": 48, "patch_size": 16},
        "text_cfg": tower | {"context_length": 77, "vocab_size": 49408, "heads": 1},
    }
    (place / "untrained.json").write_text(json.dumps(config))
    open_clip.add_model_config(place / "untrained.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model("untrained").half().state_dict(), place / "untrained.safetensors")
    return place, f"untrained/{place / 'untrained.safetensors'}"


def test_an_untrained_model_on_a_part_of_the_data_shows_nothing_and_says_so(partial, tmp_path, capsys):
    data, encoder = partial
    options = ["--data", str(data), "--encoder", encoder, "--seeds", "2", "--out", str(tmp_path)]
    assert main(["run", "4", *options]) == 0
    said = capsys.readouterr().out
    [path] = tmp_path.glob("*.json")
    record, found = json.loads(path.read_text()), read_runs(tmp_path)
    queries = record["queries"]
    missing = record["left out"]["items without their picture"]["count"]
    assert 0 < queries <= 7 * 12 < missing <= 7 * 18
    assert f"{queries} queries" in said
    assert f"items without their picture: {missing}" in said
    assert "within chance" in said
    assert str(path) in said
    verdicts = directions(found)
    assert len(verdicts) >= 4
    assert not (verdicts.verdict == "shows").any()
    page = overview(found)
    told = page[page["real encoders"].str.contains(" on ")]["real encoders"]
    assert told.str.contains(f"partial, {queries} queries").all()
    assert "shows" not in told.str.cat()
    assert told.str.contains("within chance").any()
    [about] = coverage(found).to_dict("records")
    assert str(missing) in about["left out"]
    assert (about["queries"], about["gallery"]) == (queries, 12)


def test_queries_that_were_cut_are_left_out_by_number(data, tmp_path):
    run("2", "mini-pairs", folder=data, queries=15, seeds=(0,), out=tmp_path)
    [about] = coverage(read_runs(tmp_path)).to_dict("records")
    assert about["queries"] == 15
    assert "first 15: 25" in about["left out"]
    assert "1,000" in about["left out"], "and the files hold fewer pairs than were published"


def test_a_whole_data_set_is_not_partial(data, tmp_path):
    run("3", "mini-pairs", "visual-genome", folder=data, seeds=(0,), out=tmp_path)
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["left out"] == {}
    assert "partial" not in overview(read_runs(tmp_path)).minis.str.cat()


def test_sugarcrepes_own_task_stands_beside_its_table_with_its_ties(runs):
    found = own_tasks(runs).set_index("pairs")
    assert set(found.index) == set(sugarcrepe.SUBSETS)
    tied, items = zip(*(map(int, told.split(" of ")) for told in found.tied), strict=True)
    rows = runs[runs.metric == "accuracy"].drop_duplicates("method").set_index("method")
    assert rows.tied.astype(int).tolist() == list(tied)
    assert (rows.value <= 100 - 100 * rows.tied / rows.queries + 1e-9).all(), "a tie counts as wrong"
    assert rows.loc["replace_att", "value"] > rows.loc["replace_att", "chance high"]
    assert "chance" in found.accuracy["swap_att"]
    assert sum(items) == runs[(runs.table == "4") & (runs.metric == "R@1")].queries.iloc[0]


def test_the_recorded_runs_say_what_they_rest_on():
    found = results.read("scorecard")
    table = coverage(found).set_index("run")
    assert "1,430" in table.loc["mini-pairs on shapes", "left out"]
    assert table.loc["mini-pairs on clevr-like", "left out"] == ""
    assert found[["chance", "chance low", "chance high"]].notna().all().all()


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
