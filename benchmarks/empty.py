"""Handlers that do nothing, to measure servers against: `python -m benchmarks.empty uvicorn|ray PORT`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any


async def app(
    _scope: dict[str, Any], _receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """The smallest ASGI app."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


def on_ray(port: int) -> None:
    """An empty deployment behind the same proxy and flags as `recsys serve`, until interrupted."""
    from serving.ray_app import RAY_ENVIRONMENT

    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    from fastapi import FastAPI
    from ray import serve

    empty = FastAPI()

    @empty.get("/")
    async def nothing() -> dict[str, str]:
        return {}

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    quiet = serve.schema.LoggingConfig(log_level="WARNING", enable_access_log=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet)
    options = {"ray_actor_options": {"num_cpus": 0}, "logging_config": quiet}
    serve.run(serve.deployment(serve.ingress(empty)(type("Empty", (), {})), **options).bind())
    print(f"ready at http://127.0.0.1:{port}", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()


def on_uvicorn(port: int) -> None:
    """The smallest app in one uvicorn process, until interrupted."""
    import uvicorn

    print(f"ready at http://127.0.0.1:{port}", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    {"ray": on_ray, "uvicorn": on_uvicorn}[sys.argv[1]](int(sys.argv[2]))
