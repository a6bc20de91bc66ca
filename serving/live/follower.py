"""One loaded release that follows the catalog: applies what changed, and builds its index again in the background.

follower = Follower(recommender, catalog, settings)
follower.at(revision).answer(query)
"""

from __future__ import annotations

import logging
import threading
import time

from music.catalog.service import Catalog
from recsys.index_live import merged
from serving.live.view import View, same
from serving.recommender import Recommender
from serving.settings import LiveSettings

logger = logging.getLogger(__name__)

SKEW_MS = 60_000
"""A withdrawal at most this far ahead of this machine's clock is in force: clocks differ, takedowns do not wait."""


class Follower:
    """The newest view of one release; a request keeps the one that it began with."""

    def __init__(self, base: Recommender, catalog: Catalog, settings: LiveSettings, background: bool) -> None:
        self._base, self._catalog, self._settings = base, catalog, settings
        self._background = background
        self._lock = threading.Lock()
        self._merging = threading.Lock()
        self.applied, self.merges, self.apply_ms = 0, 0, 0.0
        self.view = View.of(base.release, catalog.snapshot(), closed_by())
        self.current = self._recommender(self.view)

    @property
    def revision(self) -> int:
        return self.view.known.revision

    def at(self, revision: int) -> Recommender:
        """The release as the catalog was at `revision`, or later.

        Raises:
            SQLAlchemyError: the catalog cannot be read.
        """
        if revision > self.revision:
            with self._lock:
                if revision > self.revision:  # else another request has been here while this one waited
                    self._apply()
        return self.current

    def _apply(self) -> None:
        begin = time.perf_counter()
        before = self.view
        view = before.moved(self._catalog.changes(before.known.revision), closed_by())
        if same(view.delta, before.delta):
            self.current = self.current.relabelled(view.release)
        else:
            self.current = self._recommender(view)
        self.view = view
        self.applied += 1
        self.apply_ms = (time.perf_counter() - begin) * 1000
        if self._background and view.segment >= self._settings.merge_rows and not self._merging.locked():
            threading.Thread(target=self.merge, name="merge", daemon=True).start()

    def merge(self) -> None:
        """Builds one index over everything, beside the requests, and swaps it in."""
        with self._merging:
            then = self.view
            if not then.segment:
                return
            index = merged(then.index, then.release.two_tower.item_vectors)
            with self._lock:
                self.view = self.view.with_index(index, then.delta.row)
                self.current = self._recommender(self.view)
                self.merges += 1
            logger.info("index merged with %d tracks", then.segment)

    def _recommender(self, view: View) -> Recommender:
        before = getattr(self, "current", self._base)
        if view.release.items.frame is before.release.items.frame:
            render = before.render
        else:
            render = self._base.render.revised(view.release.items, view.delta)
        return before.over(view.release, render)


def closed_by() -> int:
    """UTC ms up to which withdrawals are in force; a clock is read here, beside the requests' own."""
    return time.time_ns() // 1_000_000 + SKEW_MS
