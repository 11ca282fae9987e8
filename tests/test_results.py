"""Records that cannot rot: digests, and one small entry of each record measured anew."""

import importlib.util
import json
import sys
from functools import partial

import pandas as pd
import pytest

from geoclip_lite import composition, encoders, metrics, results
from geoclip_lite.datasets import shapes, things
from geoclip_lite.encoders import templates
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.rewriting import policy


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A records folder of its own, with a script that depends on one module of the package."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "PACKAGE", tmp_path / "geoclip_lite")
    (tmp_path / "geoclip_lite").mkdir()
    (tmp_path / "geoclip_lite" / "__init__.py").write_text("")
    (tmp_path / "geoclip_lite" / "deep.py").write_text("def f():\n    return 1\n")
    (tmp_path / "geoclip_lite" / "near.py").write_text("from geoclip_lite.deep import f\n")
    (tmp_path / "geoclip_lite" / "other.py").write_text("x = 1\n")
    (tmp_path / "study.py").write_text("from geoclip_lite import near\nimport torch\n")
    monkeypatch.setattr(results, "versions", lambda: {})
    return tmp_path


# --- digests --------------------------------------------------------------------------------------


def test_dependencies_are_followed_and_no_more(folder):
    found = {path.name for path in results.dependencies(folder / "study.py")}
    assert found == {"study.py", "__init__.py", "near.py", "deep.py"}


@pytest.mark.parametrize(
    ("name", "text", "stale"),
    [
        ("deep.py", "def f():\n    return 2\n", True),
        ("deep.py", 'def f():\n    """Now documented."""\n    return 1  # one\n\n\n', False),
        ("other.py", "x = 2\n", False),
        ("near.py", "from geoclip_lite.deep import f\nfrom geoclip_lite import other\n", True),
    ],
)
def test_a_record_is_stale_when_code_it_needs_has_changed(folder, name, text, stale):
    results.write(folder / "study.py", [{"value": 1.0}])
    assert results.is_fresh("study")
    (folder / "geoclip_lite" / name).write_text(text)
    assert results.is_fresh("study") != stale


def test_trained_runs_are_part_of_the_digest(folder):
    def train(checksum):
        results.write(folder / "training.py", [{"encoder": "mini", "seed": 0, "sha256": checksum}])

    (folder / "training.py").write_text("")
    train("one")
    results.write(folder / "study.py", [{"value": 1.0}], runs=["mini-seed0"])
    assert results.is_fresh("study")
    train("two")
    assert not results.is_fresh("study")
    with pytest.raises(LookupError, match=r"no run 'mini-seed1' .*; there are \['mini-seed0'\]"):
        results.write(folder / "study.py", [{"value": 1.0}], runs=["mini-seed1"])


# --- records --------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(folder):
    rows = [{"metric": "R@1", "value": 0.1 + 0.2, "seed": 0}, {"metric": "R@5", "value": 1.0, "seed": 1}]
    claim = Claim("It falls", "section 4", "3.5", "5.0", "shows", "01")
    results.write(folder / "study.py", rows, [claim])
    pd.testing.assert_frame_equal(results.read("study"), pd.DataFrame(rows))
    assert results.claims()[["text", "verdict", "record"]].values.tolist() == [["It falls", "shows", "study"]]


def test_a_missing_record_says_what_there_is(folder):
    results.write(folder / "study.py", [{"value": 1.0}])
    with pytest.raises(FileNotFoundError, match=r"no record 'stduy' .*\['study'\].*make results"):
        results.read("stduy")


def test_a_record_of_nothing_is_refused(folder):
    with pytest.raises(ValueError, match=r"study\.py measured nothing"):
        results.write(folder / "study.py", [])
    assert not list(folder.glob("*.json"))


# --- the records of the book ----------------------------------------------------------------------


@pytest.mark.parametrize("name", results.names())
def test_no_record_is_stale(name):
    assert results.is_fresh(name), f"results/{name}.json is out of date: run `make results`"


def test_every_script_has_its_record():
    assert {path.stem for path in results.FOLDER.glob("[!_]*.py")} == set(results.names())


def test_verdicts_are_of_the_four_kinds():
    allowed = {"shows", "differs", "cannot be tested here", "not in our copy"}
    assert set(results.claims().verdict) <= allowed


def script(name, monkeypatch):
    """A script of results/ as a module."""
    monkeypatch.syspath_prepend(str(results.FOLDER))
    spec = importlib.util.spec_from_file_location(name, results.FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def shipped_seed(name):
    return encoders.load_encoder(name).recipe["seed"]


@pytest.mark.parametrize("name", DIETS)
def test_shipped_weights_are_the_chosen_run(name, monkeypatch):
    """The rule, by hand: the median of three; and the file is that run's."""
    runs = results.read("training").query("encoder == @name").sort_values("validation recall")
    assert len(runs) == 3
    assert runs.shipped.tolist() == [False, True, False]
    assert runs.iloc[1].sha256 == encoders.shipped()[name]
    assert runs.iloc[1].seed == shipped_seed(name)
    again = script("training", monkeypatch).validation_recall(encoders.load_encoder(name), name)
    assert sum(again.values()) / len(again) == pytest.approx(runs.iloc[1]["validation recall"], abs=0.002)


@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_single_object_rows_of_minis_can_be_measured_again(name, monkeypatch):
    minis = script("minis", monkeypatch)
    about = {"encoder": name, "seed": shipped_seed(name)}
    for row in minis.measure(encoders.load_encoder(name), about, ["42 primitives", "96 object types"]):
        assert matching(results.read("minis"), row) == pytest.approx(row["value"], abs=0.02)


@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_the_last_checkpoint_of_formation_can_be_measured_again(name, monkeypatch):
    formation, table = script("formation", monkeypatch), results.read("formation")
    seed = shipped_seed(name)
    last = table.query("encoder == @name and seed == @seed").step.max()
    about = {"encoder": name, "seed": seed, "step": last}
    for row in formation.measure(encoders.load_encoder(name), about):
        assert matching(table, row) == pytest.approx(row["value"], abs=0.02)


@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_the_two_spaces_of_the_primitives_can_be_measured_again(name, monkeypatch):
    two_spaces, encoder = script("two_spaces", monkeypatch), encoders.load_encoder(name)
    scenes = shapes.references()
    texts = encoder.encode_texts([scene.caption for scene in scenes])
    about = {"encoder": name, "seed": shipped_seed(name), "world": "shapes", "experiment": "single objects"}
    for row in two_spaces.single_objects(texts, Gallery.of_images(encoder, scenes), about):
        assert matching(results.read("two_spaces"), row) == pytest.approx(row["value"], abs=0.05), row


@pytest.mark.parametrize("name", ["mini-single", "mini-pairs"])
def test_merging_shapes_can_be_measured_again(name, monkeypatch):
    merging, encoder = script("merging", monkeypatch), encoders.load_encoder(name)
    scenes = shapes.evaluation_scenes()
    captions = encoder.encode_texts([scene.caption for scene in scenes])
    objects = composition.ObjectVectors(scenes, partial(templates.encode_with_templates, encoder))
    about = {"encoder": name, "seed": shipped_seed(name), "world": "shapes", "experiment": "merging"}
    for row in merging.merging(captions, objects, Gallery.of_images(encoder, scenes), about):
        assert matching(results.read("merging"), row) == pytest.approx(row["value"], abs=0.02), row


def test_a_claim_follows_from_its_rows(monkeypatch):
    """The same rows with the sign of one figure turned give the other verdict."""
    merging, rows = script("merging", monkeypatch), results.read("merging")
    text = "Merging object vectors by average retrieves worse than the caption (mini-pairs)"

    def decide(table):
        return {claim.text: claim.verdict for claim in merging.claims(table)}[text]

    average = (rows.method == "average") & (rows.metric == "R@10")
    assert decide(rows) == results.claims().set_index("text").verdict[text]
    assert decide(rows.assign(value=rows.value.mask(average, 1.0))) == "differs"
    assert decide(rows.assign(value=rows.value.mask(average, 0.0))) == "shows"


def matching(table, row):
    """The recorded value of a row with the same labels."""
    labels = {k: v for k, v in row.items() if isinstance(v, str) or k in ("seed", "step", "objects", "k")}
    found = table[(table[list(labels)] == pd.Series(labels)).all(axis=1)]
    assert len(found) == 1, labels
    return found.iloc[0]["value"]


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


def test_a_sweep_of_things_can_be_measured_again(monkeypatch):
    steering, name = script("steering", monkeypatch), "mini-things"
    view = steering.seen_by(encoders.load_encoder(name), things)
    table = results.read("steering")
    table = table[(table.encoder == name) & (table.seed == shipped_seed(name))]
    last = table[(table.step == table.step.max()) & (table.slot == "source") & (table.way == "other nouns")]
    [row] = steering.thing_tasks(view, steering.other_nouns, "source").figures([1.0], {})
    expected = last[last.strength == 1.0].iloc[0]
    for metric in ("R@1", "target@10", "kept@10", "nDCG@10"):
        assert row[metric] == pytest.approx(expected[metric], abs=0.02)


def test_steered_averages_can_be_measured_again(monkeypatch):
    script_of, name = script("steering_objects", monkeypatch), "mini-pairs"
    setting = script_of.Setting.seen_by(encoders.load_encoder(name), "evaluation_scenes")
    table = results.read("steering_objects")
    table = table[(table.encoder == name) & (table.seed == shipped_seed(name))]
    table = table[(table.method == "average, steered") & (table.strength == 0.3)].set_index("metric")
    found = script_of.shortlist(setting.merged(0.3), setting.images, 10)
    for metric, value in script_of.figures(found, setting).items():
        assert float(value) == pytest.approx(table.value[metric], abs=0.02)


def test_the_ends_of_the_adapters_ladder_can_be_measured_again(monkeypatch):
    script_of, encoder = script("adapters", monkeypatch), encoders.load_encoder("mini-products")
    table = results.read("adapters")
    table = table[(table.part == "ladder") & (table.seed == shipped_seed(encoder.name))]
    queries, right = script_of.asked()
    gallery = encoder.encode_images(script_of.catalogue("gallery")[1])
    texts = encoder.encode_texts([query.text for query in queries])
    for arm, vectors in (("zero-shot", (texts, gallery)), ("keywords in titles", script_of.keywords())):
        found = metrics.evaluate(shortlist(*vectors, 100), right)
        expected = table[table.arm == arm].drop_duplicates("kind").set_index("kind")
        for kind in expected.index:
            rows = [kind in ("all", query.kind) for query in queries]
            for metric in ("R@1", "R@10", "MRR"):
                assert found[metric][rows].mean() == pytest.approx(expected[metric][kind], abs=0.011)


def test_rewriting_without_reinforcement_can_be_measured_again(monkeypatch):
    """What needs no policy, by the shipped retriever; what the shipped policy writes, whoever searches."""
    script_of, name = script("rewriting", monkeypatch), "mini-alt"
    table = results.read("rewriting").query("part == 'method' and retriever == @name and kind == 'long'")
    encoder, asked = encoders.load_encoder(name, device="cpu"), script_of.held_out_set("long")
    corpus = script_of.Corpus.of(encoder, asked)
    mine = table[(table.seed == shipped_seed(name)) & table.start.isna()].set_index("method")
    for method, write in script_of.UNTRAINED.items():
        found = script_of.evaluation.outcomes(corpus, write(corpus)).mean()
        for metric in ("R@10", "right", "all", "faithful", "generic"):
            assert found[metric] == pytest.approx(mine[metric][method], abs=0.02), (method, metric)
    warm = table[(table.start == "good") & (table.method == script_of.BEFORE) & (table.seed == 0)].iloc[0]
    found = script_of.evaluation.outcomes(corpus, script_of.load_policy().greedy(asked.texts)).mean()
    for metric in ("faithful", "generic", "words"):
        assert found[metric] == pytest.approx(warm[metric], abs=0.02), metric


def test_the_shipped_policy_is_the_first_seed_of_the_good_start():
    starts = results.read("rewriting").query("part == 'start' and start == 'good' and seed == 0")
    assert starts.sha256.item() == rewriting_weights_checksum()


def rewriting_weights_checksum():
    return (policy.WEIGHTS / "SHA256SUMS").read_text().split()[0]


def test_a_claim_on_inflation_follows_from_its_rows(monkeypatch):
    """Cosines with all pictures as high as can be: similarity inflates; as before: it does not."""
    script_of, rows = script("rewriting", monkeypatch), results.record("rewriting")["rows"]
    text = "Rewarding similarity inflates scores: cosines with all pictures rise (mini-alt, good start)"

    def decide(value):
        changed = [
            row | {"all": value} if row.get("method") == script_of.SIMILARITY and "all" in row else row
            for row in rows
        ]
        return {claim.text: claim.verdict for claim in script_of.claims(changed)}[text]

    assert (decide(0.9), decide(-0.9)) == ("shows", "differs")
