"""Experiments on the request path: who is in which arm, what a request tells of its listener, settings of an arm.

trials = Trials(home, settings)
assignment = trials.assign(user, context, surface, now)         # a few microseconds
recommender = trials.answering(fleet.of, live.fresh, assignment) # with the settings that its arms set
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from experiments.assign import assign
from experiments.config import CHAMPION, Config
from experiments.exposure import shown
from experiments.parameters import Space, mistakes, overlay
from experiments.running import Live, Running
from experiments.store import Store
from recsys.errors import BadInput, RecsysError
from recsys.home import Home
from recsys.schemas import Surface
from recsys.types import Assignment, Context, UserState
from serving.recommender import Recommender
from serving.settings import ServiceSettings

logger = logging.getLogger(__name__)
KEPT = 64
"""Recommenders with settings of an arm that are kept; each is a set of pipelines over shared models (0.1 MB)."""
SETTABLE: Mapping[str, frozenset[Surface]] = {
    "home": frozenset({Surface.HOME}),
    "radio": frozenset({Surface.RADIO}),
    "recommendations": frozenset({Surface.RECOMMENDATIONS}),
    "lists.mixes": frozenset({Surface.DAILY_MIX, Surface.DISCOVERY}),
    "lists.discovery": frozenset({Surface.DISCOVERY}),
    "lists.radar": frozenset({Surface.RELEASE_RADAR}),
    "lists.because": frozenset({Surface.BECAUSE}),
    "lists.similar": frozenset({Surface.SIMILAR, Surface.SIMILAR_ARTISTS}),
    "lists.continuation": frozenset({Surface.CONTINUATION}),
    "lists.next_up": frozenset({Surface.NEXT_UP}),
}
"""Parts of `ServiceSettings` that an arm may set, and the surfaces that read them."""


def space(settings: ServiceSettings | None = None) -> Space:
    """What arms may set here."""
    return Space(
        settings or ServiceSettings(), {path: frozenset(map(str, s)) for path, s in SETTABLE.items()}
    )


def folder(home: Home) -> Path:
    """Where a home's experiments are written down and kept."""
    return home.root / "experiments"


class Trials:
    """The experiments of one service.

    Args:
        given: what runs; None: what the home's folder says, followed as it changes.

    Raises:
        BadInput: the folder's files cannot be used, and no earlier version could; or `given` sets what no arm can.
    """

    def __init__(self, home: Home, settings: ServiceSettings, given: Config | None = None) -> None:
        known = space(settings)
        for _, message in mistakes(given, known) if given is not None else ():
            raise BadInput(message)
        self._given = None if given is None else Live.of(given, known)
        self._running = Running(folder(home), Store(folder(home)), known) if given is None else None
        self._variants, self._of_release = Variants(), Variants()
        self._coming: frozenset[str] = frozenset()

    @property
    def live(self) -> Live:
        """What runs, as one snapshot."""
        if self._running is not None:
            return self._running.live
        assert self._given is not None
        return self._given

    def follow(self, load: Callable[[], None]) -> None:
        """Looks whether the files have changed. A new version waits until `load` has brought what `releases` names."""

        def ready(config: Config) -> None:
            self._coming = named(config)
            try:
                load()
            except (RecsysError, OSError):  # the champion answers where a release is missing
                logger.exception("releases of version %s of the experiments", config.version)

        if self._running is not None:
            self._running.follow(ready)
            self._coming = frozenset()

    def releases(self) -> frozenset[str]:
        """Aliases and versions that arms name, of the running version and of one that is about to."""
        return named(self.live.config) | self._coming

    def keep(self, recommenders: list[Recommender]) -> None:
        """Forgets settings of arms over releases that are not among these, which would stay in memory."""
        for variants in (self._variants, self._of_release):
            variants.keep({r.release.manifest.version for r in recommenders})

    def assign(
        self, user: UserState, context: Context, surface: Surface, now: int, lasting: bool = True
    ) -> Assignment:
        """The listener's and the session's arms, which of them can show, and the settings that this surface reads.

        An id that does not last (of a request without a listener, or incognito) is a unit of one request: it gets its
        arms, and counts in no experiment. A session without a listener counts as a session.
        """
        live = self.live
        if live.config.plan.idle:
            return live.config.plan.nobody
        return assigned(live, user.user_id, attributes(user, context), context, surface, now, lasting)

    def answering(
        self,
        release: Callable[[Assignment], Recommender],
        fresh: Callable[[Recommender], Recommender],
        assignment: Assignment,
    ) -> Recommender:
        """What answers an assignment: its release, as the catalog is by now, under the settings of its arms."""
        return self._variants.of(fresh(release(assignment)), assignment.parameters)

    def newest(
        self, fresh: Callable[[Recommender], Recommender], recommender: Recommender, assignment: Assignment
    ) -> Callable[[], Recommender]:
        """How an answer asks, at its end, for its recommender as the catalog is by then."""
        return lambda: self._variants.of(fresh(recommender), assignment.parameters)

    def of(self, release: Callable[[Assignment], Recommender]) -> Callable[[Assignment], Recommender]:
        """How an assignment finds its release as it was built, and with its arms' settings."""
        return lambda assignment: self._of_release.of(release(assignment), assignment.parameters)

    def status(self) -> dict[str, Any]:
        """The running version, and why a newer one does not run."""
        return {
            "version": self.live.config.version,
            "running": [e.name for e in self.live.config.running],
            "error": None if self._running is None else self._running.error,
        }


def named(config: Config) -> frozenset[str]:
    """The releases that arms of a config name."""
    return frozenset(arm.release for e in config.running for arm in e.arms) - {CHAMPION}


def assigned(
    live: Live,
    user_id: str,
    asked: Mapping[str, Any],
    context: Context,
    surface: Surface,
    now: int,
    lasting: bool = True,
) -> Assignment:
    """`Trials.assign` of one snapshot of the experiments, with what targeting may ask about (`attributes`) at hand."""
    found = assign(live.config, user_id, now, asked, context.session_id)
    parameters = live.on(surface, found.parameters) if found.parameters else found.parameters
    seen = () if context.incognito else shown(found, live.reach, surface)
    units: dict[str, str] = {n: live.units[n] for n in seen if live.units[n] != "listener"}
    if not lasting:
        seen = tuple(units)
    if not seen:
        return Assignment(found.arms, found.release, parameters, found.overridden, (), found.version)
    about = {**asked, "cohort": [*asked["cohort"], *live.config.plan.cohorts.get(user_id, ())]}
    return Assignment(
        found.arms, found.release, parameters, found.overridden, seen, found.version, about, units
    )


def attributes(user: UserState, context: Context) -> dict[str, Any]:
    """What targeting may ask about (experiments.targeting.KNOWN)."""
    return {
        "country": context.country,
        "tier": context.tier,
        "platform": context.device,
        "cohort": ("new",) if user.is_new else ("known",),
    }


class Variants:
    """Recommenders with the settings of an arm, built when first asked for; models and index are shared."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], tuple[Recommender, Recommender]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, recommender: Recommender, parameters: Mapping[str, Any]) -> Recommender:
        """The recommender under some parameters; itself where there are none."""
        if not parameters:
            return recommender
        key = recommender.release.manifest.version, orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)
        with self._lock:
            base, variant = self._kept.pop(key, (None, recommender))
            if base is not recommender:  # none yet, or of an older state of the catalog
                variant = recommender.under(overlay(recommender.settings, parameters))
            self._kept[key] = recommender, variant
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return variant

    def keep(self, versions: set[str]) -> None:
        """Forgets what is over other releases."""
        with self._lock:
            self._kept = OrderedDict((key, both) for key, both in self._kept.items() if key[0] in versions)
