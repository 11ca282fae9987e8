"""Judges that know the truth: one that tells it, and one that errs at a known rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from typing import ClassVar

import numpy as np
from torch import Tensor

from geoclip_lite import relevance
from geoclip_lite.judge.questions import TOP_GRADE, Asked, Judge, Judgement, Question, prompt
from geoclip_lite.scenes import Scene


@dataclass(frozen=True)
class SymbolicJudge:
    """Judges by annotations: the truth in rendered worlds, and as good as their people elsewhere.

    Args:
        grade: queries x items -> 0 to 4. `relevance.overlap` compares whole scenes; for queries that name
            some of the objects only, `lambda q, i: 4 * relevance.object_coverage(q, i)`.
    """

    grade: Callable[[Sequence[Scene], Sequence[Scene]], Tensor] = relevance.overlap
    name: ClassVar[str] = "annotations"
    oracle: ClassVar[bool] = True

    def __call__(self, questions: Sequence[Question]) -> list[Judgement]:
        """One answer a question."""
        scores: list[float] = []
        for asked, group in groupby(questions, key=lambda question: question[0]):
            items = [item for _, item in group]
            if isinstance(asked, Scene):
                scores += [_whole(score) for score in self.grade([asked], items)[0].tolist()]
            else:
                scores += [float(asked.is_shown_by(item)) for item in items]
        return [Judgement(score, "as annotated") for score in scores]


def _whole(score: float) -> float:
    """A whole grade: 4 for a full match alone, 0 for none at all, and 1 to 3 for whatever lies between."""
    return score if score in (0.0, TOP_GRADE) else float(min(TOP_GRADE - 1, max(1, round(score))))


@dataclass(frozen=True)
class NoisyJudge:
    """Another judge, whose answers are made wrong at a known rate.

    A wrong grade is any other one within reach, each as likely; a wrong confidence is turned round, c to
    1 - c. Which answers are wrong depends on the seed and the question alone: whoever asks twice gets the
    same error twice, as from a model without temperature.

    Args:
        rate: share of wrong answers, 0 to 1.
        reach: how many grades an error may be off, 1 to 4.

    Raises:
        ValueError: either out of range.
    """

    judge: Judge
    rate: float
    seed: int = 0
    reach: int = TOP_GRADE

    def __post_init__(self):
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be 0 to 1, a share of the answers, got {self.rate}")
        if not 1 <= self.reach <= TOP_GRADE:
            raise ValueError(f"reach must be 1 to {TOP_GRADE} grades, got {self.reach}")

    @property
    def name(self) -> str:
        """Whose errors, and how many."""
        return f"{self.judge.name}, {self.rate:.0%} wrong"

    @property
    def oracle(self) -> bool:
        """As the judge below."""
        return self.judge.oracle

    def __call__(self, questions: Sequence[Question]) -> list[Judgement | None]:
        """One answer a question."""
        answers = self.judge(questions)
        return [self._perturbed(answer, *q) for answer, q in zip(answers, questions, strict=True)]

    def _perturbed(self, answer: Judgement | None, asked: Asked, item: Scene) -> Judgement | None:
        words = f"{self.seed}\n{item.image_id}\n{prompt(asked)}"
        rng = np.random.default_rng(list(sha256(words.encode()).digest()))
        if answer is None or rng.random() >= self.rate:
            return answer
        if not isinstance(asked, Scene):
            return replace(answer, score=1 - answer.score, reason="wrong on purpose")
        others = [g for g in range(TOP_GRADE + 1) if 0 < abs(g - answer.score) <= self.reach]
        return replace(answer, score=float(rng.choice(others)), reason="wrong on purpose")
