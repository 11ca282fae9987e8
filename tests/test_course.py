"""The sets for students and instructors: what is in them, and what must not be."""

import ast

import nbformat
import pytest

from geoclip_lite import course
from geoclip_lite.course import main, without_solutions, write_sets

NOTEBOOKS = sorted((course.Path(__file__).parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    out = tmp_path_factory.mktemp("course")
    write_sets(NOTEBOOKS[0].parent, out)
    return out


def cells(path, tag):
    return [c for c in nbformat.read(path, as_version=4).cells if tag in c.metadata.get("tags", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_students_get_every_exercise_and_no_solution(sets, path):
    mine, theirs = (
        nbformat.read(path, as_version=4),
        nbformat.read(sets / "student" / path.name, as_version=4),
    )
    nbformat.validate(theirs)
    text = "\n".join(cell.source for cell in theirs.cells)
    assert "solution-start" not in text
    assert "solution-end" not in text
    assert course.BEGIN not in text
    assert not cells(sets / "student" / path.name, "solution")
    exercises = [cell.source.count("```{exercise}") for cell in mine.cells]
    assert text.count("```{exercise}") == sum(exercises) >= 3
    stubs = [cell.source for cell in cells(path, "stub")]
    assert [cell.source for cell in cells(sets / "student" / path.name, "stub")] == stubs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_else_is_lost(sets, path):
    """Code outside solutions stays as it is, and so do all headings."""
    mine, theirs = (
        nbformat.read(path, as_version=4),
        nbformat.read(sets / "student" / path.name, as_version=4),
    )
    code = [
        c.source for c in mine.cells if c.cell_type == "code" and "solution" not in c.metadata.get("tags", [])
    ]
    assert [c.source for c in theirs.cells if c.cell_type == "code"] == code
    for source in code:
        ast.parse(source.replace("%", "#", 1) if source.startswith("%") else source)
    headings = [line for c in mine.cells for line in c.source.splitlines() if line.startswith("## ")]
    kept = [line for c in theirs.cells for line in c.source.splitlines() if line.startswith("## ")]
    assert kept == headings


def test_instructors_get_the_chapters_as_they_are(sets):
    for path in NOTEBOOKS:
        assert nbformat.read(sets / "instructor" / path.name, 4) == nbformat.read(path, 4)


def book(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in cells])


def test_words_of_a_solution_go_with_it():
    start, end = "```{solution-start} ex\n:class: dropdown\n```", "```{solution-end}\n```"
    whole = book(f"before\n\n{start}\n\nanswer\n\n{end}\n\nbehind")
    assert [c.source for c in without_solutions(whole).cells] == ["before\n\nbehind"]
    parts = book(f"before\n\n{start}", "answer", f"{end}\n\nbehind")
    assert [c.source for c in without_solutions(parts).cells] == ["before", "behind"]
    assert len(whole.cells) == 1, "the original stays as it is"


@pytest.mark.parametrize("text", ["```{solution-start} ex\n```", "```{solution-end}\n```"])
def test_half_a_solution_is_refused(text):
    with pytest.raises(ValueError, match="a solution"):
        without_solutions(book(text))


def test_the_command_says_what_it_wrote_or_lacks(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "there is no chapter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([str(NOTEBOOKS[0].parent), str(tmp_path / "out")]) == 0
    assert f"{len(NOTEBOOKS)} chapters in " in capsys.readouterr().out
