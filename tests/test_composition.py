"""Kinds of wrong answers, each by an example that a reader can check by eye."""

import pytest
import torch

from geoclip_lite.composition import KINDS, kind_of_answer, kinds_of_answers
from geoclip_lite.datasets import shapes
from geoclip_lite.retrieval import Ranking


def scene(*phrases):
    by_phrase = {primitive.phrase: primitive for primitive in shapes.PRIMITIVES}
    return shapes.composition([by_phrase[phrase] for phrase in phrases])


QUERY = ("blue star", "red circle", "red circle")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (("red circle", "blue star", "red circle"), "right"),
        (("red star", "blue circle", "red circle"), "binding error"),
        (("blue star", "red circle", "red hexagon"), "substitution"),
        (("blue star", "red circle", "green circle"), "substitution"),
        (("blue star", "red circle", "green hexagon"), "omission"),
        (("blue star", "blue star", "red circle"), "omission"),
    ],
)
def test_kinds(answer, kind):
    assert kind_of_answer(scene(*QUERY), scene(*answer)) == kind


def test_a_ranking_is_judged_by_its_first_column():
    items = [scene(*QUERY), scene("red star", "blue circle", "red circle")]
    scores = torch.tensor([[0.9, 0.8], [0.7, 0.9]])
    kinds = kinds_of_answers(Ranking.of_scores(scores), [items[0], items[0]], items)
    assert kinds == ["right", "binding error"]
    assert set(kinds) <= set(KINDS)
