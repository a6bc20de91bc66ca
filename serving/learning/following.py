"""The newest learned state on the request path: looked for beside requests, checked against each release.

following = Following(home)
recommender = following.fresh(recommender)     # well under a microsecond where nothing learned is asked for
following.follow()                             # looks whether a newer state has been published (one small file)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from recsys.errors import BadInput
from recsys.home import Home
from serving.learning.states import States, Taught, basis
from serving.recommender import Recommender

logger = logging.getLogger(__name__)


class Following:
    """Recommenders with what was learned. A state that cannot be used is refused in words, and the champion's own
    exploration answers."""

    def __init__(self, home: Home) -> None:
        self._states = States(home)
        self._version = ""
        self._lock = threading.Lock()
        self._known: dict[str, Taught | None] = {}  # of this version, by basis
        self._after: WeakKeyDictionary[Recommender, Recommender] = WeakKeyDictionary()
        self.refused: dict[str, str] = {}  # release version -> why the newest state is not for it
        self.follow()

    def follow(self) -> None:
        """Takes up a newer state."""
        version = self._states.current()
        if version != self._version:
            with self._lock:
                self._known, self._after, self.refused = {}, WeakKeyDictionary(), {}
                self._version = version

    def fresh(self, recommender: Recommender) -> Recommender:
        """The recommender with what was learned over its release; itself where its settings do not ask for it."""
        if not recommender.settings.home.learned.on or not self._version:
            return recommender
        found = self._after.get(recommender)
        return self._made(recommender) if found is None else found

    def newest(self, recommender: Callable[[], Recommender]) -> Callable[[], Recommender]:
        """How an answer asks, at its end, for its recommender as the catalog is by then."""
        return lambda: self.fresh(recommender())

    def status(self) -> dict[str, Any]:
        """The version that answers are drawn from, and the releases that it was refused for."""
        return {"version": self._version, "refused": dict(self.refused)}

    def _made(self, recommender: Recommender) -> Recommender:
        with self._lock:
            taught = self._of(recommender)
            made = recommender if taught is None else recommender.after(taught)
            if made is not recommender:
                self._after[recommender] = made
        return made

    def _of(self, recommender: Recommender) -> Taught | None:
        over = basis(recommender.release)
        if over not in self._known:
            try:
                self._known[over] = self._states.load(self._version, over)
            except BadInput as error:
                self._known[over] = None
                self.refused[recommender.release.manifest.version] = str(error)
                logger.error("learned state refused, the champion explores as usual: %s", error)
        return self._known[over]
