"""A real local Ray over HTTP: one line when ready, answers, problems pass the proxy, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest

from recsys.errors import BadInput
from recsys.home import Home
from recsys.ids import uuid7
from recsys.lake import Lake
from serving.ray_app import allowed_hosts, claim_port
from tests.api.fake_service import LISTENERS, TRACK_IDS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from serving.access.gate import Access
from serving.ray_app import serve_ray
from tests.api.fake_service import FakeService, full_log_service
import sys
serve_ray({"full": full_log_service, "normal": FakeService}[sys.argv[2]], "127.0.0.1", int(sys.argv[1]), 1,
    lambda: Access(guarded=False))
"""


def descendants(pid: int) -> set[int]:
    """Processes started by `pid`, found by the parent field of /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found, frontier = set(), {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found |= frontier
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = claim_port("127.0.0.1", 0)
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(port), "full"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == f"recsys is ready at http://127.0.0.1:{port}\n"
    yield process, f"http://127.0.0.1:{port}"
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.slow
def test_home_and_pages_answer_through_the_proxy(server: tuple[subprocess.Popen[str], str]) -> None:
    with httpx.Client(base_url=server[1]) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.get("/v1/home", params={"user_id": LISTENERS[0]}).json()["shelves"]
        assert "Made for you" in client.get("/").text
        assert client.get("/v1/home?limit=99").headers["content-type"] == "application/problem+json"
        assert client.get("/healthz", headers={"Host": "rebound.example"}).status_code == 400


@pytest.mark.slow
def test_repeated_refusals_of_a_full_log_do_not_take_the_replica_out(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    event = {"event_id": uuid7(), "kind": "save", "user_id": LISTENERS[0], "track_id": TRACK_IDS[0]}
    body = {"events": [event | {"ts": "2026-03-01T10:00:00Z"}]}
    with httpx.Client(base_url=server[1]) as client:
        for _ in range(12):
            answer = client.post("/v1/events", json=body)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["type"] == "/docs#log-unavailable"
        assert client.get("/v1/home").status_code == 200


@pytest.mark.slow
def test_an_interrupt_ends_everything_within_seconds(server: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = server
    children = descendants(process.pid)
    assert len(children) > 3
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert time.monotonic() - begin < 20
    time.sleep(1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_a_real_home_is_served_by_the_command_until_it_is_interrupted(tiny_root: Path) -> None:
    port = claim_port("127.0.0.1", 0)
    recsys = Path(sys.executable).with_name("recsys")
    command = [str(recsys), "serve", "--home", str(tiny_root), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"recsys is ready at http://127.0.0.1:{port}\n"
    token = (tiny_root / "operator.token").read_text().strip()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answer = client.get("/v1/home").json()
        item = answer["shelves"][0]["items"][0]
        save = {
            "event_id": uuid7(),
            "kind": "save",
            "user_id": answer["user_id"],
            "ts": "2026-03-01T10:00:00Z",
        }
        body = {"events": [save | {"track_id": item["track_id"], "request_id": answer["request_id"]}]}
        assert client.post("/v1/events", json=body).status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.post("/v1/events", json=body).json()["accepted"] == 1
        assert client.post("/v1/events", json=body).json()["duplicates"] == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout.read() == ""
    events = Lake(Home.of(tiny_root).lake).scan("events").filter(pl.col("event_id") == save["event_id"])
    assert events.collect().height == 1


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="choose another --port"):
            claim_port("127.0.0.1", taken.getsockname()[1])


def test_only_a_loopback_server_is_bound_to_its_own_names() -> None:
    assert allowed_hosts("127.0.0.1")
    assert allowed_hosts("0.0.0.0") is None
