"""What rewriting by reinforcement has to beat.

translated    word by word from a dictionary, in the query's order
cleaned       translated, then only "colour noun" pairs, listed as captions list them
best_of       the rewrite, of k, that lies nearest to some picture: the retriever judges, nobody labels
mean_of       the mean of k rewrites' vectors
imitate_best  fine-tuning on the best of k rewrites by a reward: as many samples, no policy gradient
tuned_text_tower  the retriever's own text tower, trained on the same queries and pictures
with_reference    of composed queries: the reference picture's vector plus the query's
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from geoclip_lite.encoders.mini import CONTEXT_LENGTH, MiniClip, embed_tokens
from geoclip_lite.encoders.tokenizer import PAD, START, UNKNOWN, WordTokenizer
from geoclip_lite.rewriting import languages, sentences
from geoclip_lite.rewriting.corpus import Corpus, earned, embed
from geoclip_lite.rewriting.evaluation import named_objects
from geoclip_lite.rewriting.grpo import Recipe
from geoclip_lite.rewriting.policy import Policy
from geoclip_lite.rewriting.rewards import REWARDS
from geoclip_lite.rewriting.vocabulary import join, split
from geoclip_lite.rewriting.warm_up import imitate

Vectors = Float[Tensor, "queries dim"]


# --- without learning -----------------------------------------------------------------------------


@cache
def dictionary() -> dict[str, str]:
    """Every form of every foreign noun and colour, articles, numbers and "and", and English synonyms."""
    found = {said: word for word, said in sentences.SYNONYMS.items()}
    for word in languages.FRENCH_NOUNS:
        called = sentences.SYNONYMS.get(word, word)
        found |= {sentences.plural(word): word, sentences.plural(called): word}
    for nouns in (languages.FRENCH_NOUNS, languages.GERMAN_NOUNS, languages.SPANISH_NOUNS):
        found |= {form.lower(): word for word, (_, *forms) in nouns.items() for form in forms}
    found |= {f"{plural.lower()}n": word for word, (_, _, plural) in languages.GERMAN_NOUNS.items()}
    for colours in (languages.FRENCH_COLOURS, languages.SPANISH_COLOURS):
        found |= {form: word for word, forms in colours.items() for form in forms}
    endings = ("e", "en", "er", "es")
    found |= {stem + end: word for word, stem in languages.GERMAN_COLOURS.items() for end in endings}
    found |= {"un": "a", "une": "a", "una": "a", "ein": "a", "einen": "a", "einem": "a"}
    found |= dict.fromkeys(languages.AND.values(), "and") | {"和": "and", "、": ","}
    for two, three in languages.COUNTS.values():
        found |= {two: "two", three: "three"}
    found |= {f"{count}个": word for count, word in (("一", "a"), ("两", "two"), ("三", "three"))}
    found |= {said: word for word, said in languages.CHINESE_NOUNS.items()}
    found |= {said: word for word, said in languages.CHINESE_COLOURS.items()}
    return {said: word for said, word in found.items() if said != word}


def translated(text: str) -> str:
    """Word by word, in the query's order; what is not in the dictionary stays as it is."""
    chinese = sorted((said for said in dictionary() if split(said) != [said]), key=len, reverse=True)
    for said in chinese:
        text = text.replace(said, f" {dictionary()[said]} ")
    return join([dictionary().get(word, word) for word in split(text)])


def cleaned(text: str) -> str:
    """The coloured shapes that the translated text names, listed as a caption does; else the translation.

    A colour before or behind its noun is read, "circle that is red" too, and "two" doubles what follows.
    """
    said = translated(text).replace("的", " ")
    said = re.sub(r"(\w+) that (?:is|are) (\w+)", r"\2 \1", said)
    nouns, colours = "|".join(languages.FRENCH_NOUNS), "|".join(languages.FRENCH_COLOURS)
    said = re.sub(rf"\b({nouns}) +({colours})\b", r"\2 \1", said)
    said = re.sub(rf"\btwo +(({colours}) +({nouns}))", r"\1, \1", said)
    said = re.sub(rf"\bthree +(({colours}) +({nouns}))", r"\1, \1, \1", said)
    phrases = [thing.phrase for thing in named_objects(said)]
    return ", ".join(sorted(phrases)) if phrases else translated(text)


def with_reference(corpus: Corpus) -> Vectors:
    """The reference picture's vector plus that of the query's text, for composed queries.

    Raises:
        ValueError: queries without a reference.
    """
    if not all(corpus.near):
        raise ValueError("corpus: every query must have a reference picture; take the composed queries")
    references = corpus.vectors[[near[0] for near in corpus.near]]
    return F.normalize(references + embed(corpus.encoder, corpus.asked.texts), dim=1)


# --- with the samples of a policy -----------------------------------------------------------------


def samples(policy: Policy, texts: Sequence[str], k: int, seed: int, batch: int = 64) -> list[list[str]]:
    """k random rewrites of every query."""
    generator = torch.Generator().manual_seed(seed)
    parts = [texts[i : i + batch] for i in range(0, len(texts), batch)]
    return [some for part in parts for some in policy.texts(policy.sample(part, k, generator))]


def best_of(corpus: Corpus, rewrites: Sequence[Sequence[str]]) -> list[str]:
    """Of each query's rewrites the one with the highest cosine to any picture of the gallery."""
    nearest = [(embed(corpus.encoder, some) @ corpus.vectors.T).amax(1) for some in rewrites]
    return [some[int(scores.argmax())] for some, scores in zip(rewrites, nearest, strict=True)]


def mean_of(corpus: Corpus, rewrites: Sequence[Sequence[str]]) -> Vectors:
    """The mean of each query's rewrites as one vector."""
    k = len(rewrites[0])
    vectors = embed(corpus.encoder, [text for some in rewrites for text in some])
    return F.normalize(vectors.view(len(rewrites), k, -1).mean(1), dim=-1)


def imitate_best(start: Policy, corpus: Corpus, recipe: Recipe, progress: bool = True) -> Policy:
    """Fine-tunes a copy of the policy on the best of k rewrites of each query, by the recipe's reward.

    Queries, samples, candidates and updates are as many as in GRPO; clip and beta have no part in it.
    """
    policy, rng = start.copy(), np.random.default_rng(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    for step in trange(recipe.steps, desc="best of k", unit="step", delay=3, disable=not progress):
        numbers = [(step * recipe.queries + i) % len(corpus.right) for i in range(recipe.queries)]
        texts = [corpus.asked.queries[i].text for i in numbers]
        rewrites = policy.sample(texts, recipe.k, generator)
        candidates = corpus.candidates(numbers, recipe.candidates, rng)
        values = earned(corpus, policy.texts(rewrites), candidates, REWARDS[recipe.reward])
        values = values.masked_fill(~rewrites.well_formed, -torch.inf)
        best = values.argmax(1).tolist()
        usable = [i for i in range(len(texts)) if values[i].isfinite().any()]
        chosen = [policy.texts(rewrites)[i][best[i]] for i in usable]
        for _ in range(recipe.updates if usable else 0):
            imitate(policy, optimizer, [texts[i] for i in usable], chosen)
    return policy


# --- with the retriever's own text tower ----------------------------------------------------------


def tuned_text_tower(
    corpus: Corpus, seed: int, steps: int = 300, batch: int = 64, learning_rate: float = 5e-4
) -> MiniClip:
    """A copy of the retriever whose text tower was trained on the corpus's queries and right pictures.

    Words that it did not know get vectors of their own, which begin at the one for unknown words. The loss is
    the contrastive one against all pictures of the corpus; pictures stay where they are.

    Raises:
        TypeError: the retriever is no mini CLIP.
    """
    if not isinstance(corpus.encoder, MiniClip):
        raise TypeError(f"corpus: the retriever must be a mini CLIP, got {type(corpus.encoder).__name__}")
    texts = [" ".join(split(text)) for text in corpus.asked.texts]
    encoder = _with_words(corpus.encoder, sorted({word for text in texts for word in text.split()}))
    towers = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    learned = [p for name, p in encoder.model.named_parameters() if name.split(".")[0] in towers]
    optimizer = torch.optim.AdamW(learned, lr=learning_rate, weight_decay=0.01)
    generator, ids = torch.Generator().manual_seed(seed), _ids(encoder, texts)
    scale = encoder.model.logit_scale.exp().detach()
    for _ in range(steps):
        rows = torch.randint(len(texts), (batch,), generator=generator)
        vectors = F.normalize(embed_tokens(encoder.model, ids[rows]), dim=-1)
        loss = F.cross_entropy(scale * vectors @ corpus.vectors.T, corpus.right[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
    return encoder


def tuned_vectors(encoder: MiniClip, texts: Sequence[str]) -> Vectors:
    """What a tuned text tower makes of queries; words that no training query held are unknown to it."""
    with torch.inference_mode():
        ids = _ids(encoder, [" ".join(split(text)) for text in texts])
        return torch.cat([F.normalize(embed_tokens(encoder.model, part), dim=-1) for part in ids.split(256)])


def _ids(encoder: MiniClip, texts: Sequence[str]) -> Tensor:
    """Numbers of the words, without a warning where a long query is cut to the context."""
    known, room = encoder.tokenizer.ids, encoder.tokenizer.context_length - 1
    rows = [[START, *(known.get(word, UNKNOWN) for word in text.split())][:room] for text in texts]
    rows = [[*row, encoder.tokenizer.end] for row in rows]
    width = max(map(len, rows))
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


def _with_words(encoder: MiniClip, words: Sequence[str]) -> MiniClip:
    """A copy that knows these words too."""
    old = encoder.tokenizer
    tokenizer = WordTokenizer([*old.words, *(word for word in words if word not in old.ids)], CONTEXT_LENGTH)
    model = copy.deepcopy(encoder.model)
    table = model.token_embedding.weight.detach()
    fresh = table[UNKNOWN].repeat(tokenizer.vocabulary_size - len(table), 1)
    grown = torch.cat([table[: old.end], fresh, table[old.end :]])  # the end stays the last number
    model.token_embedding = torch.nn.Embedding.from_pretrained(grown, freeze=False)
    return MiniClip(f"{encoder.name}, tuned", model, tokenizer, encoder.recipe, encoder.device)
