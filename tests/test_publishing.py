"""What is published beside the pages: releases, notebooks that fetch the book, slides, forms for issues."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from built_book import ROOT, serve
from test_pages import AXE_RULES, Axe

CHAPTERS = sorted(path.name for path in ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"))
FORMS = sorted(path for path in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if path.stem != "config")
FILES = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")


def script(name: str):
    """A script of book/ as a module."""
    spec = importlib.util.spec_from_file_location(f"book_{name}", ROOT / "book" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


launch, release, slides = map(script, ("launch", "release", "slides"))

# ---- releases ----------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """A copy of the files that name the version."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def pages(tmp_path):
    made = tmp_path / "html"
    for name in ("index.html", "notebooks/01.html", "_static/b.css"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"This is {name}.")
    return made


def version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_version_of_today_could_be_released():
    assert release.check_version(f"v{version()}") == version()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "pyproject.toml",
            f'version = "{version()}"',
            'version = "9.9.9"',
            "pyproject.toml names version 9.9.9",
        ),
        ("CITATION.cff", f"version: {version()}", "version: 9.9.9", "CITATION.cff names version 9.9.9"),
        (
            "CITATION.cff",
            "date-released: ",
            'date-released: "2001-01-01" # ',
            "released 2001-01-01, CHANGELOG",
        ),
        ("CHANGELOG.md", f"## {version()} (", "## 9.9.9 (", f"no entry '## {version()} "),
    ],
)
def test_files_that_disagree_are_refused(file, old, new, message, root):
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)):
        release.check_version(f"v{version()}", root)


@pytest.mark.parametrize("tag", ["0.1.0", "v0.1", "v0.1.0-rc1", "latest"])
def test_a_tag_that_is_no_version_is_refused(tag):
    with pytest.raises(ValueError, match=r"tag must be like v0\.1\.0"):
        release.check_version(tag)


def test_a_release_holds_every_page_and_its_checksum_and_is_the_same_twice(pages, root, tmp_path):
    tag, name = f"v{version()}", f"geoclip-lite-book-{version()}"
    release.write_release(tag, tmp_path / "one", pages, root)
    for path in pages.rglob("*"):
        os.utime(path, (1, 1))
    release.write_release(tag, tmp_path / "two", pages, root)
    packed = (tmp_path / "one" / f"{name}.tar.gz").read_bytes()
    assert packed == (tmp_path / "two" / f"{name}.tar.gz").read_bytes()
    checksum = (tmp_path / "one" / "SHA256SUMS").read_text()
    assert checksum == f"{hashlib.sha256(packed).hexdigest()}  {name}.tar.gz\n"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
    there = [path for path in pages.rglob("*") if path.is_file()]
    assert found == {f"{name}/{path.relative_to(pages)}": path.read_bytes() for path in there}
    assert "Thirteen chapters" in (tmp_path / "one" / "notes.md").read_text()


def test_there_is_no_release_without_pages(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="run `make book`"):
        release.write_release(f"v{version()}", tmp_path / "out", tmp_path / "nowhere", root)
    assert not (tmp_path / "out").exists()


def test_the_citation_fits_its_schema():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited), "what the format requires"
    assert cited["cff-version"] == "1.2.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cited["date-released"])
    for work in [cited, *cited["references"]]:
        assert work["authors"]
        assert all({"name"} & set(author) or {"family-names"} & set(author) for author in work["authors"])


# ---- notebooks that fetch the book -------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What the install cell would run; it runs in an empty folder."""
    made = []

    def run(command, check):
        assert check
        made.append(command)
        if "clone" in command:
            (tmp_path / command[-1] / "notebooks").mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return made


def install_cell() -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    made = launch.with_install_cell(notebook, "https://host.example/some/one", "v0.1.0")
    assert [cell.source for cell in made.cells[1:]] == ["1"]
    return made.cells[0].source


def test_the_install_cell_does_nothing_where_the_book_is(calls, tmp_path):
    exec(install_cell(), {})
    assert calls == []
    assert Path.cwd() == tmp_path


def test_the_install_cell_fetches_the_book_where_it_is_not(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(install_cell(), {})
    clone, checkout, install = calls
    assert clone[-2:] == ["https://host.example/some/one", "geoclip-lite"]
    assert checkout[-1] == "v0.1.0"
    assert install[:3] == [sys.executable, "-m", "pip"]
    extra = re.search(r"\[(\w+)\]$", install[-1])[1]
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert Path.cwd() == tmp_path / "geoclip-lite" / "notebooks", "records and links are found from there"
    assert sys.path[0] == str(tmp_path / "geoclip-lite")


def test_every_chapter_gets_its_cell_under_its_own_name(tmp_path):
    written = launch.write_copies("https://host.example/some/one", "abc123", tmp_path)
    assert [path.relative_to(tmp_path) for path in written] == [Path("notebooks") / name for name in CHAPTERS]
    for path in written:
        nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize(
    ("address", "revision"),
    [("https://host.example/a b", "v1"), ("host/a", "v1"), ("https://h/a/b", "-x"), ("https://h/a'b", "v1")],
)
def test_an_address_that_is_none_is_refused(address, revision, tmp_path, capsys):
    assert launch.main(["--", address, revision, str(tmp_path)]) == 1
    assert "must be" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- Binder, dev container, forms --------------------------------------------------------------------


def test_binder_installs_an_extra_that_there_is(tmp_path):
    post_build = ROOT / ".binder" / "postBuild"
    assert os.access(post_build, os.X_OK)
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@" >> "$LOG"\n')
    fake.chmod(0o755)
    log = tmp_path / "log"
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log)}
    subprocess.run([post_build], cwd=ROOT, env=env, check=True)
    installed, imported = log.read_text().splitlines()
    extras = re.search(r"\.\[([\w,]+)\]", installed)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert imported.startswith("-c import geoclip_lite")
    minor = re.fullmatch(r"python-3\.(\d+)\n", (ROOT / ".binder" / "runtime.txt").read_text())[1]
    first, end = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups())
    assert first <= int(minor) < end


def test_the_dev_container_runs_what_the_makefile_has():
    made = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    targets = re.findall(r"make (\w+)", made["postCreateCommand"])
    assert targets == ["setup"]
    assert re.fullmatch(r"python:3\.1[1-3]-\w+", made["image"])
    interpreter = made["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter.endswith("/.venv/bin/python")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_an_issue_form_fits_the_schema(form):
    made = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(made)
    ids = [field["id"] for field in made["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    for field in made["body"]:
        assert field["type"] in ("input", "textarea", "dropdown", "checkboxes", "markdown")
        assert field["attributes"].get("label") or field["type"] == "markdown"
        assert set(field) <= {"type", "id", "attributes", "validations"}


def test_a_report_of_a_bug_asks_for_the_environment():
    asked = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())["body"]
    (field,) = [field for field in asked if field["id"] == "environment"]
    assert "python -m geoclip_lite.environment" in field["attributes"]["description"]
    assert field["validations"]["required"] is True


# ---- slides ------------------------------------------------------------------------------------------

PAGE = """
<article class="bd-article"><section id="top"><h1>9. Title<a class="headerlink">#</a></h1>
<div class="note admonition"><p>After this</p><ul><li>do it</li></ul></div>
<section id="one"><h2>One</h2>
<div class="tip admonition"><p class="admonition-title">Predict</p><p>What?</p></div>
<div class="cell tag_slide"><div class="cell_input">code()</div>
<div class="cell_output"><img alt="a figure" src="../_images/a.png"></div></div>
<div class="cell"><div class="cell_output">no slide</div></div>
<div class="cell tag_slide"><div class="cell_output"><section class="gcl">explorer</section></div></div>
</section>
<section id="end"><h2>What we learnt</h2><p>Much.</p>
<section id="more"><h3>More</h3><p>no</p></section></section>
</section></article>"""


def parsed(html: str = PAGE) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def test_slides_are_the_promise_each_question_each_output_and_the_summary():
    made = slides.slides_of(parsed())
    assert [slide.title for slide in made] == ["9. Title", "Predict", "One", "One", "What we learnt"]
    promise, question, figure, explorer, summary = (slide.body for slide in made)
    assert "<li>do it</li>" in promise
    assert question == "<p>What?</p>"
    assert 'alt="a figure"' in figure
    assert "code()" not in figure
    assert explorer == "<p>To be moved live: the explorer stands in the book.</p>"
    assert summary == "<p>Much.</p>"
    assert made[1].anchor == "one"


@pytest.mark.parametrize(
    ("link", "from_deck"),
    [
        ("../_images/a.png", "../../_images/a.png"),
        ("../book/glossary.html#term-x", "../../book/glossary.html#term-x"),
        ("05_other.html", "../../notebooks/05_other.html"),
        ("#here", "../../notebooks/01_this.html#here"),
        ("https://host.example/a", "https://host.example/a"),
    ],
)
def test_links_are_those_of_the_page(link, from_deck):
    page = slides.moved(parsed(f'<a href="{link}">x</a>'), "../../notebooks/01_this.html")
    assert page.a["href"] == from_deck


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("note admonition", "lacks 'After this chapter"),
        ("What we learnt", "its summary"),
        ("cell tag_slide", "no cell of '9. Title' is tagged"),
        ("cell_output", "shows nothing"),
    ],
)
def test_a_page_that_makes_no_slides_says_why(gone, message):
    with pytest.raises(ValueError, match=message):
        slides.slides_of(parsed(PAGE.replace(gone, "other")))


@pytest.fixture(scope="module", params=[name[:2] for name in CHAPTERS])
def deck(request, book):
    path = book / slides.FOLDER / f"{request.param}.html"
    assert path.is_file(), f"chapter {request.param} has no slides: does its page have cells tagged slide?"
    return path


def test_the_teaching_guide_leads_to_every_deck():
    named = re.findall(r"_static/slides/(\d\d)\.html", (ROOT / "book" / "teaching.md").read_text())
    assert named == [name[:2] for name in CHAPTERS]


def test_a_deck_has_questions_and_figures_and_everything_it_shows_is_there(deck, book):
    page = parsed(deck.read_text())
    titles = [heading.get_text() for heading in page.select("section h1, section h2")]
    assert titles.count("Predict") >= 3
    assert len(page.select("h1")) == 1
    for tag, name in (("img", "src"), ("a", "href"), ("script", "src")):
        for link in (part[name].split("#")[0] for part in page.select(f"{tag}[{name}]")):
            local = not re.match(r"[a-z]+:", link)
            assert not local or (deck.parent / link).exists(), f"{deck.name} names {link}, which is not there"


def test_a_deck_is_accessible_and_turned_by_the_arrow_keys(deck, browser):
    scheme = "dark" if int(deck.stem) % 2 else "light"  # all share one style sheet
    with serve() as address:
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(f"{address}/{slides.FOLDER.as_posix()}/{deck.name}", wait_until="load")
        found = Axe().run(page, options=AXE_RULES).response["violations"]
        assert not [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found]
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => scrollY >= innerHeight - 2")
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("() => scrollY < 2")
        context.close()
