"""Radio, part by part in execution order: tracks like the seeds, for this listener, away from what was skipped."""

from __future__ import annotations

from bandits.epsilon_greedy import EpsilonGreedy
from ranking.scorer import PairHydrator, RankScorer
from recsys.pipeline import Pipeline, Rung, SideEffect, Truncate
from recsys.types import QueryBatch
from serving.filters import PolicyFilter, RightsFilter
from serving.loaded import LoadedRelease
from serving.scorers import ModelScorer, RadioScorer, SkipScorer, StationScorer
from serving.selectors import ShelfSelector, ShelfSpec, always, everything
from serving.settings import RadioSettings
from serving.sources import PopularSource, SequenceSource, StationSource, TwoTowerSource


def radio(
    release: LoadedRelease,
    settings: RadioSettings,
    effects: tuple[SideEffect[QueryBatch], ...] = (),
    budget_ms: float | None = None,
) -> Pipeline[QueryBatch]:
    """The ladder of radio: full -> without the heavy scorers -> popular where the listener is."""
    items, station = release.items, StationSource(release.two_tower, release.items)
    rules = (RightsFilter(items), PolicyFilter(items))
    found = (
        station,
        TwoTowerSource(release.two_tower, release.index, items, k=100),
        SequenceSource(release.sequence, items, k=100),
    )
    near = (StationScorer(release.two_tower), SkipScorer(release.two_tower))
    narrow = (RadioScorer(settings, None, "near"), Truncate("near", settings.ranked))
    taste = (
        ModelScorer(release.two_tower),
        ModelScorer(release.sequence),
        PairHydrator(items, release.stats),
        RankScorer(release.ranker),
        RadioScorer(settings, "utility"),
    )
    return Pipeline(
        [
            Rung("full", found, rules + near + narrow + taste, selector(release, settings, "radio", "full")),
            Rung("light", (station,), rules + near + narrow, selector(release, settings, "near", "light")),
            Rung(
                "popular",
                (PopularSource(items, release.popularity, k=1000),),
                rules,
                selector(release, settings, "source:popular", "popular"),
            ),
        ],
        budget_ms,
        effects,
    )


def selector(release: LoadedRelease, settings: RadioSettings, column: str, rung: str) -> ShelfSelector:
    """One endless list with artist separation."""
    shelf = ShelfSpec("radio", everything, always("station" if rung != "popular" else "popular"))
    name = f"{rung}-eps{settings.epsilon:g}" if rung != "popular" else "popular"
    return ShelfSelector(
        (shelf,), column, EpsilonGreedy(settings.epsilon), release.items, settings.rules, name
    )
