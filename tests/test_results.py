"""Records that hold: a small part of each is measured again and compared within its tolerance."""

import importlib.util
import json
import math
import sys
from functools import cache

import pandas as pd
import pytest

from geoclip_lite import encoders, results
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.results import Claim, Study
from geoclip_lite.rewriting import policy

TRAINED = [
    {"encoder": "mini", "seed": 0, "sha256": "zero", "shipped": False},
    {"encoder": "mini", "seed": 1, "sha256": "one", "shipped": True},
]
ROWS = [
    {"encoder": "mini", "seed": seed, "what": what, "R@1": value + seed / 10, "seconds": 3.0}
    for seed in (0, 1)
    for what, value in (("alone", 0.9), ("together", 0.2))
]
SAMPLE = [{name: row[name] for name in row if name != "seconds"} for row in ROWS[2:]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of records of its own, in which two runs were trained and the second is shipped."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    Study("training.py", lambda: TRAINED, lambda: TRAINED, {}, needs=lambda row: None).write(TRAINED, TRAINED)
    return tmp_path


def study(rows=ROWS, sample=SAMPLE, tolerance=0.05, runs=("mini-seed0", "mini-seed1"), claims=lambda t: ()):
    return Study(
        "study.py",
        lambda: [dict(row) for row in rows],
        lambda: sample,
        {"R@1": tolerance},
        claims,
        lambda: results.checksums(runs),
        seeds=(0, 1),
    )


# --- what holds -----------------------------------------------------------------------------------


def changed(**values):
    return [SAMPLE[0], SAMPLE[1] | values]


def test_a_record_holds_as_long_as_its_sample_is_measured_again(folder):
    study().run()
    assert not list(study().differences())
    assert not list(study(sample=changed(**{"R@1": SAMPLE[1]["R@1"] + 0.04})).differences())


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        (changed(**{"R@1": SAMPLE[1]["R@1"] + 0.06}), "together.*R@1"),
        (changed(**{"R@1": math.nan}), "together.*R@1"),
        (changed(what="apart"), "apart"),
        (SAMPLE[:1], "1 rows"),
        ([{name: row[name] for name in row if name != "R@1"} for row in SAMPLE], "R@1"),
    ],
)
def test_what_moves_a_number_is_said(folder, sample, named):
    study().run()
    found = list(study(sample=sample).differences())
    assert found
    assert pd.Series(found).str.contains(named).any()


def test_other_checkpoints_make_another_record(folder):
    study().run()
    assert any("checkpoints" in line for line in study(runs=["mini-seed1"]).differences())
    with pytest.raises(LookupError, match=r"'mini-seed2'.*'mini-seed0'"):
        study(runs=["mini-seed2"]).run()


def test_a_run_measures_again_only_what_does_not_hold(folder, capsys):
    study().run()
    other = [row | {"R@1": 0.5} for row in ROWS]
    study(rows=other).run()
    assert results.read("study")["R@1"].tolist() == [row["R@1"] for row in ROWS]
    study(rows=other, sample=changed(**{"R@1": 0.5})).run()
    assert results.read("study")["R@1"].tolist() == [0.5] * 4
    assert "R@1" in capsys.readouterr().out


def test_claims_are_decided_again_from_the_rows(folder):
    def decided(verdict):
        return lambda table: [Claim("It falls", "section 4", "3.5", f"{table['R@1'].min()}", verdict, "01")]

    study(claims=decided("differs")).run()
    study(claims=decided("shows"), rows=ROWS[:1]).run()
    [claim] = results.claims().to_dict("records")
    assert (claim["verdict"], claim["measured"], claim["record"]) == ("shows", "0.2", "study")


# --- records --------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_and_says_what_it_rests_on(folder):
    study().run()
    pd.testing.assert_frame_equal(results.read("study"), pd.DataFrame(ROWS))
    record = results.record("study")
    assert record["script"] == "study.py"
    assert record["seeds"] == [0, 1]
    assert record["tolerance"] == {"R@1": 0.05}
    assert record["versions"]["torch"]
    assert record["checkpoints"] == {
        "mini-seed0": {"sha256": "zero", "shipped": False},
        "mini-seed1": {"sha256": "one", "shipped": True},
    }


def test_figures_of_encoders_that_are_not_shipped_are_marked(folder):
    study().run()
    marked = [row.get(results.UNSHIPPED, False) for row in results.record("study")["rows"]]
    assert marked == [True, True, False, False]


def test_a_missing_record_says_what_there_is(folder):
    study().run()
    with pytest.raises(FileNotFoundError, match=r"no record 'stduy' .*'study'"):
        results.read("stduy")


@pytest.mark.parametrize("nothing", ["rows", "sample"])
def test_a_record_of_nothing_is_refused(folder, nothing):
    with pytest.raises(ValueError, match=nothing):
        study(**{nothing: []}).run()
    assert not (folder / "study.json").exists()


# --- the records of the book ----------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def scripts_can_be_imported():
    """What the scripts share lies beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(results.FOLDER))
        yield


@cache
def script(name):
    """A script of results/ as a module."""
    spec = importlib.util.spec_from_file_location(name, results.FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", results.names())
def test_a_part_of_each_record_is_measured_again(name):
    assert not list(script(name).STUDY.differences())


@pytest.mark.parametrize("name", results.names())
def test_a_sample_is_a_part_of_its_record(name):
    """Each of its rows is there with the same labels, but for what is measured for the sample alone."""
    record = results.record(name)
    for row in record["sample"]:
        figures = record["tolerance"].keys() & row.keys()
        labels = row.items() - {(figure, row[figure]) for figure in figures}
        alike = [other for other in record["rows"] if labels <= other.items()]
        assert alike or row.get("part") == "sample", row
        for figure in figures if alike else ():
            assert row[figure] == pytest.approx(alike[0][figure], abs=record["tolerance"][figure])


@pytest.mark.parametrize("name", results.names())
def test_claims_follow_from_their_rows(name):
    claims = script(name).STUDY.claims(results.read(name))
    assert [vars(claim) for claim in claims] == results.record(name)["claims"]


@pytest.mark.parametrize("name", results.names())
def test_checkpoints_that_are_called_shipped_are(name):
    shipped = encoders.shipped().values()
    for checkpoint in results.record(name)["checkpoints"].values():
        assert checkpoint["shipped"] == (checkpoint["sha256"] in shipped)


def test_every_script_has_its_record():
    assert {path.stem for path in results.FOLDER.glob("[!_]*.py")} == set(results.names())
    assert all(results.record(name)["script"] == f"{name}.py" for name in results.names())


def test_verdicts_are_of_the_four_kinds():
    allowed = {"shows", "differs", "cannot be tested here", "not in our copy"}
    assert set(results.claims().verdict) <= allowed


@pytest.mark.parametrize("name", DIETS)
def test_shipped_weights_are_the_chosen_run(name):
    """The rule, by hand: the median of three; and the file is that run's."""
    runs = results.read("training").query("encoder == @name").sort_values("validation recall")
    assert len(runs) == 3
    assert runs.shipped.tolist() == [False, True, False]
    assert runs.iloc[1].sha256 == encoders.shipped()[name]
    assert runs.iloc[1].seed == encoders.load_encoder(name).recipe["seed"]


def test_a_claim_follows_from_its_rows():
    """The same rows with the sign of one figure turned give the other verdict."""
    merging, rows = script("merging"), results.read("merging")
    text = "Merging object vectors by average retrieves worse than the caption (mini-pairs)"

    def decide(table):
        return {claim.text: claim.verdict for claim in merging.STUDY.claims(table)}[text]

    average = (rows.method == "average") & (rows.metric == "R@10")
    assert decide(rows) == results.claims().set_index("text").verdict[text]
    assert decide(rows.assign(value=rows.value.mask(average, 1.0))) == "differs"
    assert decide(rows.assign(value=rows.value.mask(average, 0.0))) == "shows"


def test_single_objects_are_found_by_the_mean_of_three_seeds():
    minis = results.read("minis")
    forth = minis[(minis.direction == "text to image") & (minis.metric == "R@1")]
    alone = forth[forth["set"].isin(["42 primitives", "96 object types"]) & forth.seed.notna()]
    mean = alone.groupby(["encoder", "set"]).value.agg(["mean", "size"])
    assert (mean["size"] == 3).all()
    assert (mean["mean"] >= 0.97).all(), mean


def test_records_are_small_and_readable():
    for name in results.names():
        path = results.FOLDER / f"{name}.json"
        assert path.stat().st_size < 500_000
        assert json.loads(path.read_text())["versions"]["torch"]


def test_a_chapters_verdicts_are_its_claims_and_no_other_chapters():
    shown = results.verdicts("01_pointwise_retrieval")
    claims = results.claims()
    mine = claims[claims.experiment == "01_pointwise_retrieval"]
    assert shown.data["claim"].tolist() == mine["text"].tolist()
    assert 'class="verdicts"' in shown.to_html()
    with pytest.raises(LookupError, match="99_nothing"):
        results.verdicts("99_nothing")


def test_the_shipped_policy_is_the_first_seed_of_the_good_start():
    starts = results.read("rewriting").query("part == 'start' and start == 'good' and seed == 0")
    assert starts.sha256.item() == (policy.WEIGHTS / "SHA256SUMS").read_text().split()[0]


def test_a_claim_on_inflation_follows_from_its_rows():
    """Cosines with all pictures as high as can be: similarity inflates; as before: it does not."""
    script_of, rows = script("rewriting"), results.read("rewriting")
    text = "Rewarding similarity inflates scores: cosines with all pictures rise (mini-alt, good start)"
    rewarded = (rows.method == script_of.SIMILARITY) & rows["all"].notna()

    def decide(value):
        changed = rows.assign(**{"all": rows["all"].mask(rewarded, value)})
        return {claim.text: claim.verdict for claim in script_of.STUDY.claims(changed)}[text]

    assert (decide(0.9), decide(-0.9)) == ("shows", "differs")
