"""What exploring cost on a day in the model's own estimate, held against the policy's bound, and the floors' shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from recsys.types import Decision
from serving.decisions import query_of
from serving.learning.spent import spent
from serving.parts.selectors import ShelfSelector
from serving.recommender import Recommender


@dataclass(frozen=True)
class Explored:
    """One measured page.

    Attributes:
        slate: expected loss of all its slots, in the model's estimate of reward. page: of those that are looked at.
        bound: on the slate; None without one. learned: whether something learned answered, or the champion's own policy
            (the estimate is the ranker's utility then, and no bound is stated).
    """

    slate: float
    page: float
    bound: float | None
    learned: bool

    @classmethod
    def of(cls, decision: Decision, recommender: Recommender, slots: int) -> Explored:
        """From the record of an answer and the surfaces that gave it; a page below the full rung explores nothing."""
        taught = "bandit" in decision.versions
        if decision.rung != "full" or not taught:
            return cls(0.0, 0.0, None, False)
        rungs = {rung.name: rung for rung in recommender.pipeline(query_of(decision)).rungs}
        losses = spent(cast(ShelfSelector, rungs[decision.rung].selector), decision)
        bound = recommender.settings.home.learned.slate_loss
        return cls(sum(losses), sum(losses[:slots]), bound, True)


def summary(pages: Sequence[Explored]) -> dict[str, Any]:
    """Figures of one day; `exceeded` counts pages whose estimated loss was above the bound."""
    own = [page for page in pages if page.learned]
    over = [p for p in own if p.bound is not None and p.slate > p.bound * (1 + 1e-9)]
    slates = np.array([page.slate for page in own] or [0.0])
    return {
        "pages": len(own),
        "slate_loss": float(slates.mean()),
        "most": float(slates.max()),
        "page_loss": float(np.mean([page.page for page in own] or [0.0])),
        "bound": own[0].bound if own else None,
        "exceeded": len(over),
    }
