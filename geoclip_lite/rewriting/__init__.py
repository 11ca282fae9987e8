"""Rewriting queries for a frozen retriever, by rewards that rank.

queries     shifted queries over rendered scenes: long, multilingual, composed, and clean ones as a control
languages, sentences  the grammar and the sentences that they are made of
prior       what a general language model would make of a query; what policies are warmed up on
vocabulary, policy    a causal language model of 0.4 million parameters, and its words
warm_up     supervised training, `python -m geoclip_lite.rewriting`
corpus      queries and pictures as a frozen retriever sees them
rewards     similarity, three rewards by rank, a contrastive one
grpo        group relative policy optimisation in one page
baselines   what needs no reinforcement
evaluation  recall on the whole gallery, and inflation
language_models  the same with a real language model, by TRL (an extra)
readers     Flickr30k-CN, XM3600, CIRR, JSON lines
"""

from geoclip_lite.lazy import exports

__all__ = [
    "REWARDS",
    "SHIFTS",
    "Corpus",
    "Policy",
    "Query",
    "QuerySet",
    "Recipe",
    "Step",
    "Trained",
    "checked",
    "clipped_objective",
    "earned",
    "embed",
    "group_advantages",
    "held_out_set",
    "load_policy",
    "log_rows",
    "outcomes",
    "save_policy",
    "train",
    "training_set",
    "vector_outcomes",
]
__getattr__ = exports(
    __name__,
    corpus="Corpus earned embed",
    evaluation="checked outcomes vector_outcomes",
    grpo="Recipe Step Trained clipped_objective group_advantages log_rows train",
    policy="Policy load_policy save_policy",
    queries="SHIFTS Query QuerySet held_out_set training_set",
    rewards="REWARDS",
)
