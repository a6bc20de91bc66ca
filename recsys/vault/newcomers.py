"""Ids for those who come without one, whose keys are durable before they are given.

A made-up id is told in the answer and may be kept, so what is recorded under it has to be erasable alone: a key that
many share could be destroyed for all of them or for none. Each has its own; they are made many at a time, ahead.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from recsys.errors import LogUnavailable
from recsys.ids import public_id, uuid7
from recsys.vault.vault import Vault

logger = logging.getLogger(__name__)
AT_ONCE = 64
_NONE = "no keys ahead for those who come without an id: %s"


class Newcomers:
    """A few ids ahead of who takes them; safe for several threads."""

    def __init__(self, vault: Vault) -> None:
        """Makes nothing before the first is taken."""
        self._vault, self._making = vault, threading.Lock()
        self._ready: deque[str] = deque()

    def take(self) -> str:
        """An id that nobody had. Where none is ready, one whose key is made by whoever seals for it first."""
        if len(self._ready) <= AT_ONCE // 2 and self._making.acquire(blocking=False):
            self._begin()
        try:
            return self._ready.popleft()
        except IndexError:
            return _made_up()

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._make, name="keys for newcomers", daemon=True).start()
        except (
            RuntimeError,
            MemoryError,
        ) as error:  # no thread to be had now: whoever comes is served without
            self._making.release()
            logger.warning(_NONE, error)

    def _make(self) -> None:
        try:
            try:
                ids = [_made_up() for _ in range(AT_ONCE)]
                self._vault.prepare(ids)
                self._ready.extend(ids)
            finally:
                self._vault.close()  # this thread's connection
        except LogUnavailable as error:
            logger.warning(_NONE, error)
        finally:
            self._making.release()


def _made_up() -> str:
    return public_id("anonymous", uuid7())
