"""What exploring cost on a day in the model's own estimate, held against the policy's bound, and the floors' shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from recsys.types import Decision
from serving.decisions import query_of
from serving.learning.spent import spent
from serving.parts.rerank import is_new
from serving.parts.selectors import ShelfSelector
from serving.recommender import Recommender


@dataclass(frozen=True)
class Explored:
    """One measured page.

    Attributes:
        slate: expected loss of all its slots, in the model's estimate of reward. page: of those that are looked at.
        bound: on the slate; None without one. new: share of new releases on the shelves that have floors.
    """

    slate: float
    page: float
    bound: float | None
    new: float

    @classmethod
    def of(cls, decision: Decision, recommender: Recommender, slots: int) -> Explored | None:
        """From the record of an answer and the surfaces that gave it; None where nothing learned answered."""
        if "bandit" not in decision.versions:
            return None
        rungs = {rung.name: rung for rung in recommender.pipeline(query_of(decision)).rungs}
        losses = spent(cast(ShelfSelector, rungs[decision.rung].selector), decision)
        settings = recommender.settings.home
        shelves = settings.rerank.shelves
        tracks = np.array([s["track"] for s in decision.slots if s["shelf"] in shelves], np.int64)
        country, days = int(decision.listener["country"]), settings.rerank.new_days
        new = is_new(recommender.release.items, tracks, country, decision.now, days)
        share = float(new.mean()) if len(new) else 0.0
        return cls(sum(losses), sum(losses[:slots]), settings.learned.slate_loss, share)


def summary(pages: Sequence[Explored]) -> dict[str, Any]:
    """Means of one day's measured pages, the greatest loss, and how many were above the bound."""
    if not pages:
        return {"pages": 0}
    over = [page for page in pages if page.bound is not None and page.slate > page.bound * (1 + 1e-9)]
    slates = np.array([page.slate for page in pages])
    return {
        "pages": len(pages),
        "bound": pages[0].bound,
        "slate_loss": float(slates.mean()),
        "most": float(slates.max()),
        "exceeded": len(over),
        "page_loss": float(np.mean([page.page for page in pages])),
        "new_share": float(np.mean([page.new for page in pages])),
    }
