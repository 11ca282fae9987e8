"""Rankings that agree, whatever a processor makes of the last digit of a score."""

import torch
from torch.testing import assert_close

from geoclip_lite.retrieval import Ranking


def assert_same_ranking(found: Ranking, wanted: Ranking, atol: float = 1e-5) -> None:
    """The same scores place by place, and the same items but for the order of near ties.

    An item may stand where another of its score does (within `atol`), also beyond the end of the list.
    """
    assert_close(found.scores, wanted.scores.to(found.scores), atol=atol, rtol=0)
    same = found.indices[:, :, None] == wanted.indices[:, None]  # queries x places x places
    there = wanted.scores[:, None].expand(same.shape).masked_fill(~same, -torch.inf).amax(2)
    there = torch.where(same.any(2), there, wanted.scores[:, -1:])
    assert_close(there.to(found.scores), found.scores, atol=atol, rtol=0)
