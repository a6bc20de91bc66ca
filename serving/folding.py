"""Folds new events into the listener states in a thread of its own; a request waits for it a moment, never for long.

folder = Folder(updater, log, every=0.2)
folder.wait(0.1)       # after an append: whether all that was durable then is in the states
"""

from __future__ import annotations

import logging
import threading
import time

from recsys.ports import EventLog
from recsys.state_store import StateUpdater

logger = logging.getLogger(__name__)


class Folder:
    """One thread over one StateUpdater; several waiting requests share a pass."""

    def __init__(self, updater: StateUpdater, log: EventLog, every: float) -> None:
        self._updater, self._log, self._every = updater, log, every
        self._change = threading.Condition()
        self._asked = self._done = -1  # log offsets
        self._stop = self._failing = False
        self._thread = threading.Thread(target=self._run, name="fold-states", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Asks for a pass and waits for it at most `seconds`; not at all while the store fails.

        What is durable but not folded yet is folded by a later pass.
        """
        target = self._log.end
        with self._change:
            self._asked = max(self._asked, target)
            self._change.notify_all()
            self._change.wait_for(lambda: self._done >= target or self._failing, seconds)
            return self._done >= target

    def stop(self) -> None:
        """Ends the thread."""
        with self._change:
            self._stop = True
            self._change.notify_all()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._stop or self._asked > self._done, self._every)
                if self._stop:
                    return
                failing = self._failing
            if failing:  # one try every so often, not one an event
                time.sleep(self._every)
            self._pass()

    def _pass(self) -> None:
        try:
            end = self._log.end
            self._updater.catch_up()
        except (
            Exception
        ) as error:  # store or log trouble: the records stay in the log, the next pass tries again
            if not self._failing:
                logger.warning("listener states are behind the log: %s: %s", type(error).__name__, error)
            with self._change:
                self._failing = True
                self._change.notify_all()
            return
        with self._change:
            self._done, self._failing = end, False
            self._change.notify_all()
