"""Work that repeats in a thread beside requests.

thread = repeating("following the releases", step, seconds, stop)     # until `stop` is set; then thread.join()
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def repeating(
    name: str, step: Callable[[], object], seconds: float, stop: threading.Event
) -> threading.Thread:
    """A started thread that runs `step` every so many seconds; a pass that fails (disk, registry) is logged, and the
    next one tries again."""

    def run() -> None:
        while not stop.wait(seconds):
            try:
                step()
            except Exception:
                logger.exception("%s failed", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
