"""The next batches of training, made by a thread while the present one is computed.

with closing(ahead(make(epoch), depth=4)) as batches: ...   # closed, the thread ends with an error as well
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """The same items in the same order; at most `depth` wait. An error in making one is raised where it is asked for;
    a consumer that stops early stops the thread."""
    ready: Queue[tuple[bool, T | BaseException | None]] = Queue(maxsize=depth)
    over = Event()

    def put(done: bool, value: T | BaseException | None) -> None:
        while not over.is_set():
            try:
                ready.put((done, value), timeout=0.1)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(False, item)
                if over.is_set():
                    return
            put(True, None)
        except BaseException as error:
            put(True, error)

    thread = Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            done, value = ready.get()
            if not done:
                yield value  # type: ignore[misc]
                continue
            if isinstance(value, BaseException):
                raise value
            return
    finally:
        over.set()
        thread.join()
