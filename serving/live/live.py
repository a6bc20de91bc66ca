"""All loaded releases at the catalog's newest revision: asked before an answer, and again before it is fixed.

live = Live(catalog, settings)
recommender = live.fresh(fleet.of(assignment))     # a few microseconds where nothing has changed
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from music.catalog.service import Catalog
from music.catalog.watch import Watch
from serving.live.follower import Follower
from serving.recommender import Recommender
from serving.settings import LiveSettings

logger = logging.getLogger(__name__)


class Live:
    """Followers by release. Where the catalog cannot be read, answers go on with what is known, and status says so."""

    def __init__(self, catalog: Catalog, settings: LiveSettings, background: bool = True) -> None:
        self._catalog, self._settings, self._background = catalog, settings, background
        self._watch = Watch(catalog.engine)
        self._followers: dict[tuple[str, str], Follower] = {}
        self._lock = threading.Lock()
        self._again_at = 0.0  # monotonic seconds; until then an unreadable catalog is not asked
        self.reason = ""
        self.failures = 0

    def prepare(self, recommender: Recommender) -> None:
        """Compares a newly loaded release with the whole catalog, before it answers anything."""
        try:
            follower = Follower(recommender, self._catalog, self._settings, self._background)
        except Exception as error:  # the release answers as it was built; the next request tries again
            self._failed(error)
            return
        with self._lock:
            self._followers = {**self._followers, _key(recommender): follower}

    def fresh(self, recommender: Recommender) -> Recommender:
        """The same release at the catalog's newest revision: whatever was acknowledged before this call is in it."""
        follower = self._followers.get(_key(recommender))
        if time.monotonic() < self._again_at:
            return follower.current if follower else recommender
        try:
            if follower is None:
                self.prepare(recommender)
                follower = self._followers.get(_key(recommender))
                return follower.current if follower else recommender
            current = follower.at(self._watch.revision())
        except Exception as error:  # whatever it is: an answer with what is known beats none
            self._failed(error)
            return follower.current if follower else recommender
        if self.reason:
            self.reason = ""
        return current

    def keep(self, recommenders: list[Recommender]) -> None:
        """Forgets the releases that are not among these."""
        keys = {_key(r) for r in recommenders}
        with self._lock:
            self._followers = {key: f for key, f in self._followers.items() if key in keys}

    def status(self) -> dict[str, Any]:
        """Whether the catalog can be read, and where each release stands."""
        return {
            "readable": not self.reason,
            "reason": self.reason,
            "failures": self.failures,
            "releases": {
                f.view.base.manifest.version: {
                    "revision": f.revision,
                    "delta": len(f.view.delta),
                    "segment": f.view.segment,
                    "applied": f.applied,
                    "apply_ms": round(f.apply_ms, 3),
                    "merges": f.merges,
                }
                for f in self._followers.values()
            },
        }

    def close(self) -> None:
        self._watch.close()

    def _failed(self, error: Exception) -> None:
        if not self.reason:
            logger.error("the catalog cannot be followed; answers go on with what is known", exc_info=error)
        self.reason = f"{type(error).__name__}: {error}".splitlines()[0]
        self.failures += 1
        self._again_at = time.monotonic() + self._settings.retry_seconds


def _key(recommender: Recommender) -> tuple[str, str]:
    manifest = recommender.release.manifest
    return manifest.version, manifest.digest
