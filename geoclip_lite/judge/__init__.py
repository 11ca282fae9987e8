"""Judges: who says how well a picture matches, and what becomes of a metric when nobody knows for sure.

    judged = align(queries, scenes, ranking, k=10, judge=NoisyJudge(SymbolicJudge(), rate=0.1))
    print(judged.ndcg_at(ranking, 10))                              # says what it is normalised by
    agreement(judged, align(queries, scenes, ranking, k=10))        # with the truth

questions   what is asked: a whole query, or a Concept; what counts as an answer; the Judge protocol
symbolic    SymbolicJudge (annotations), NoisyJudge (wrong at a known rate)
model       ModelJudge, which asks an EndpointModel or a LocalModel
calls       its Budget, and the replies that it keeps
local       LocalModel and MatchingJudge, over transformers
scoring     align, attribute, rerank; Judged, whose metrics say what they rest on
agreement   Cohen's kappa with an interval

The paper lets a vision-language model grade what was retrieved (its appendix G). How far such a judge can be
trusted is not in our copy of it; in rendered worlds, whose truth is known, it can be measured.
"""

from geoclip_lite.judge.agreement import agreement, cohen_kappa
from geoclip_lite.judge.calls import Budget, BudgetError, Cost, JudgeWarning
from geoclip_lite.judge.local import LocalModel, MatchingJudge
from geoclip_lite.judge.model import EndpointModel, Model, ModelJudge
from geoclip_lite.judge.questions import Concept, Judge, Judgement, objects_of, words_of
from geoclip_lite.judge.scoring import Judged, JudgedMetric, align, attribute, rerank
from geoclip_lite.judge.symbolic import NoisyJudge, SymbolicJudge

__all__ = [
    "Budget",
    "BudgetError",
    "Concept",
    "Cost",
    "EndpointModel",
    "Judge",
    "JudgeWarning",
    "Judged",
    "JudgedMetric",
    "Judgement",
    "LocalModel",
    "MatchingJudge",
    "Model",
    "ModelJudge",
    "NoisyJudge",
    "SymbolicJudge",
    "agreement",
    "align",
    "attribute",
    "cohen_kappa",
    "objects_of",
    "rerank",
    "words_of",
]
