"""Runs the app: on a local Ray with Ray Serve (`serve_home`), or in one plain process (`serve_uvicorn`).

One deployment holds retrieval, ranking and HTTP: a hop between deployments would cost more than the ranking.
HAProxy (a wheel) stands in front of the replicas; each replica opens the home folder for itself. One process beside
them moves events to the lake.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastapi import FastAPI

from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.ingest import mover_process
from recsys.turns import CREW
from serving.access.gate import Access
from serving.access.keys import KeyFile
from serving.access.settings import from_environment
from serving.api.app import create_app
from serving.api.contract import Service
from serving.api.edge import LOOPBACK_NAMES
from serving.registry import Registry
from serving.scale import Replicas, most, options
from serving.settings import ServiceSettings
from serving.watch.board import board_folder
from serving.watch.watching import Watching

if TYPE_CHECKING:
    from ray.serve import Deployment

Opener = Callable[[], Service]

# Measured in docs/serving.md: HAProxy and the throughput mode bring one hop from 6.5 to 0.8 ms, and without the
# third flag a shutdown waits 32 s. Ray starts workers at niceness 15, behind everything else on the machine; here
# they are what answers. libgomp's spinning threads starve each other on shared cores.
RAY_ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    # A replica that dies with a request in hand has answered nothing: the proxy asks another one. Safe for every
    # endpoint, as each may be called twice (events have ids, answers are made anew).
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def serve_home(
    home: Home,
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: Replicas = 1,
    simulated_clock: bool = False,
) -> None:
    """Serves a home folder with Ray Serve until Ctrl-C or SIGTERM; prints one line with the address when it answers.

    `simulated_clock`: callers set the time (serving/clock.py).

    Raises:
        BadInput: the port is taken.
        NotReady: no release has been promoted, or no replica could open the home.
    """
    if not Registry(home).stamp.exists():  # said at once, rather than by a replica half a minute later
        raise NotReady("no release has been promoted: run `recsys demo`, or `recsys release promote`")
    access = guard(home, host)
    with mover_process(home, ServiceSettings().lake_seconds):
        serve_ray(partial(open_home, home.root), host, port, replicas, access, watched(home), simulated_clock)


def serve_uvicorn(
    home: Home,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_service: Opener | None = None,
    simulated_clock: bool = False,
) -> None:
    """The same app in this process, without Ray; stays until Ctrl-C or SIGTERM.

    `open_service`: what to serve instead of the home's own service (drills of failure).
    """
    import uvicorn

    port = claim_port(host, port)
    service = open_home(home.root) if open_service is None else open_service()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            announce(host, port, sys.stdout)

    try:
        # uvicorn raises the signal that stopped it once more: with a handler of ours, what follows is still done.
        with _interrupts(), mover_process(home, ServiceSettings().lake_seconds):
            watching = Watching.of_server()
            access = guard(home, host)()
            app = create_app(
                service, allowed_hosts(host), access, watching=watching, simulated_clock=simulated_clock
            )
            config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False)
            Server(config).run()
    finally:
        service.close()


def open_home(root: Path) -> Service:
    """The real service over one home folder."""
    from serving.service import Service as HomeService

    return HomeService.open(Home.of(root))


def guard(home: Home, host: str) -> Callable[[], Access]:
    """Makes the home's operator key where it has none, says on stderr where it is, and how to guard each replica."""
    settings = from_environment()
    token = KeyFile(home.root).prepare()
    if token.exists():
        print(f"the operator's key is in {token}", file=sys.stderr, flush=True)
    return partial(Access.of_home, home.root, allowed_hosts(host) is not None, settings)


def watched(home: Home) -> Callable[[], Watching]:
    """How each replica is watched: the metrics of those on one machine are joined."""
    return partial(Watching.of_server, board_folder(home.root))


def serve_ray(
    open_service: Opener,
    host: str,
    port: int,
    replicas: Replicas,
    access: Callable[[], Access] = Access,
    watching: Callable[[], Watching] = Watching,
    simulated_clock: bool = False,
) -> None:
    """Serves what `open_service` returns in each replica, guarded by what `access` returns (by default nobody
    may write), watched as `watching` says, until interrupted."""
    port, out = claim_port(host, port), sys.stdout
    with (
        redirect_stdout(sys.stderr),  # Ray writes errors of its own to standard output
        _interrupts() as interrupted,
        tempfile.TemporaryDirectory(prefix="recsys-proxy-") as folder,
    ):
        try:
            bound = (open_service, allowed_hosts(host), access, watching, simulated_clock)
            _start(bound, host, port, replicas, Path(folder))
            announce(host, port, out)
            interrupted.wait()
        finally:
            stop()


def stop() -> None:
    """Ends Serve and the local Ray; nothing of it stays behind."""
    import ray
    from ray import serve

    serve.shutdown()
    ray.shutdown()


def claim_port(host: str, port: int) -> int:
    """The port to listen on; a free one for 0.

    Raises:
        BadInput: the address cannot be bound (Ray would only say so deep in a log).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another --port"
            ) from None
        return int(probe.getsockname()[1])


def allowed_hosts(host: str) -> frozenset[str] | None:
    """Host names that requests may carry: on loopback only its own, else any (a proxy in front checks)."""
    return LOOPBACK_NAMES if host in {"127.0.0.1", "localhost", "::1"} else None


def announce(host: str, port: int, out: TextIO) -> None:
    """The one line on standard output."""
    print(f"recsys is ready at http://{f'[{host}]' if ':' in host else host}:{port}", file=out, flush=True)


def _start(bound: tuple[Any, ...], host: str, port: int, replicas: Replicas, folder: Path) -> None:
    _prepare_environment(folder)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="ray")  # its own use of pydantic
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(
        address="local",
        num_cpus=max(most(replicas), 2),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    quiet = serve.schema.LoggingConfig(log_level="WARNING", enable_access_log=False)
    serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
    local = {"ray_actor_options": {"num_cpus": 0}, "max_constructor_retry_count": 1, "logging_config": quiet}
    deployment = replica(**options(replicas), **local)
    try:
        serve.run(deployment.bind(*bound), name="recsys", route_prefix="/")
    except RuntimeError as error:
        raise NotReady(f"no replica could start: {_reason(error)}") from error


def replica(**given: Any) -> Deployment:
    """The one deployment, with options of Ray Serve; bind it to an opener and the host names that it answers to."""
    from ray import serve

    return serve.deployment(serve.ingress()(_Replica), **(given or options(1)))


def _reason(error: RuntimeError) -> str:
    """Why a replica failed, in one line: the end of its traceback, which Serve keeps in its status."""
    from ray import serve

    application = serve.status().applications.get("recsys")
    messages = [d.message for d in application.deployments.values() if d.message] if application else []
    return str((messages or [error])[0]).strip().splitlines()[-1]


class _Replica:
    """One process with its own service; Serve asks it for the ASGI app after it is constructed."""

    def __init__(
        self,
        open_service: Opener,
        hosts: frozenset[str] | None,
        access: Callable[[], Access],
        watching: Callable[[], Watching] = Watching,
        simulated_clock: bool = False,
    ) -> None:
        self._watching, self._simulated = watching(), simulated_clock
        self._service = open_service()
        self._hosts, self._access = hosts, access

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(
            self._service,
            self._hosts,
            self._access(),
            watching=self._watching,
            simulated_clock=self._simulated,
        )

    def check_health(self) -> None:
        """Asked by Serve every few seconds; a replica that fails it is drained and replaced.

        Raises:
            NotReady: no release is loaded, or every thread for ladders hangs.
        """
        if not self._service.ready() or CREW.exhausted:
            raise NotReady(
                "this replica answers from its last rung only: all its threads hang, or no release"
            )

    def __del__(self) -> None:
        self._service.close()


def _prepare_environment(folder: Path) -> None:
    """Ray reads these at import; workers inherit them. The proxy's files and ports are this server's own."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    own: dict[str, Any] = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": folder / "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": folder / "admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": folder / "server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": folder / "metrics.sock",
        "RAY_SERVE_HAPROXY_METRICS_PORT": claim_port("127.0.0.1", 0),
        "RAY_SERVE_HAPROXY_STATS_PORT": claim_port("127.0.0.1", 0),
    }
    os.environ.update({name: str(value) for name, value in own.items()})


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; where called off the main thread, signals stay as they are."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {s: signal.signal(s, lambda *_: event.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
