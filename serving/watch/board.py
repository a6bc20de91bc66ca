"""One `/metrics` for all replicas on a machine: each leaves its text in a folder, whichever is asked joins them.

    board = Board(folder)
    board.start(metrics.text)           # a fresh text every few seconds
    board.joined(own=metrics.text())    # every sample with the label `replica`

Prometheus' own multi-process mode counts in memory-mapped files, drops collectors and must be set up before the
first import; a proxy in front hides the replicas' ports. So samples stay per replica and are only put together.
A replica takes the lowest free number, held by a lock that ends with its process: numbers stay few.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from recsys.errors import BadInput

SECONDS = 5.0
_OLD = 4 * SECONDS
_MOST = 256


def board_folder(root: Path) -> Path:
    """Where the replicas of a home meet on this machine: never in the home, which machines may share."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"recsys-{os.getuid()}-{name}"


class Board:
    """This process's place among the replicas that share `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises BadInput where the folder is another user's."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():  # temporary directories are open to all
            raise BadInput(f"{folder} belongs to somebody else: remove it")
        self._folder, self._stop = folder, threading.Event()
        self.number, self._lock = _claim(folder)

    def start(self, text: Callable[[], bytes], seconds: float = SECONDS) -> None:
        """Leaves a fresh text every `seconds`, in a thread of its own."""

        def run() -> None:
            while not self._stop.wait(seconds):
                self.leave(text())

        threading.Thread(target=run, name="metrics-board", daemon=True).start()

    def leave(self, text: bytes) -> None:
        """Makes this text what the others see."""
        beside = self._folder / f"{self.number}.new"
        beside.write_bytes(text)
        beside.replace(self._folder / f"{self.number}.prom")

    def joined(self, own: bytes) -> bytes:
        """This replica's text and what the others left lately, each sample labelled with its replica."""
        texts = {self.number: own.decode()}
        oldest = time.time() - _OLD
        for path in self._folder.glob("*.prom"):
            if path.stem != str(self.number) and path.stat().st_mtime > oldest:
                texts[int(path.stem)] = path.read_text()
        return join(texts).encode()

    def close(self) -> None:
        """Takes this replica's text away and gives its number back."""
        self._stop.set()
        (self._folder / f"{self.number}.prom").unlink(missing_ok=True)
        os.close(self._lock)


def _claim(folder: Path) -> tuple[int, int]:
    for number in range(_MOST):
        handle = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            continue
        return number, handle
    raise OSError(f"more than {_MOST} replicas share {folder}")


def join(texts: dict[int, str]) -> str:
    """Prometheus texts of several replicas as one: each family once, each sample with `replica="N"`."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                known = heads.setdefault(family, [])
                if line.split(" ", 2)[1] not in {h.split(" ", 2)[1] for h in known}:
                    known.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    return "".join("\n".join([*heads[f], *samples.get(f, [])]) + "\n" for f in heads)


def _labelled(line: str, number: int) -> str:
    """One sample line with one label more."""
    brace, space = line.find("{"), line.find(" ")
    if 0 <= brace < space:
        return f'{line[: brace + 1]}replica="{number}",{line[brace + 1 :]}'
    return f'{line[:space]}{{replica="{number}"}}{line[space:]}'
