"""The typed client: equal to what the document gives, every endpoint over the real app, retries and errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import recsys_client as api
from pydantic import ValidationError
from recsys_client import transport

from clients.python.generate import document, generate, operations
from recsys.ids import is_event_id
from serving.access.gate import Access
from serving.access.keys import KeyFile, Scope
from serving.api.app import create_app
from tests.api.fake_service import TRACK_IDS

if TYPE_CHECKING:
    from serving.service import Service

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "python"
BASE = "http://127.0.0.1:8000"


def test_the_committed_client_is_what_the_document_gives(tmp_path: Path) -> None:
    generate(document(), tmp_path)
    for name in ("openapi.json", *(f"recsys_client/{n}.py" for n in ("models", "client", "__init__"))):
        assert (FOLDER / name).read_text() == (tmp_path / name).read_text(), f"{name}: run `make client`"


def test_every_operation_has_a_name_of_its_own() -> None:
    spec = document()
    names = [operation.name for operation in operations(spec)]
    assert len(names) == len(set(names)) == sum(len(methods) for methods in spec["paths"].values())
    spec["paths"]["/twin"] = {"get": spec["paths"]["/v1/home"]["get"]}
    with pytest.raises(ValueError, match="home"):
        operations(spec)


class Bridge(httpx.BaseTransport):
    """The asynchronous app under the blocking client."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answer() -> tuple[httpx.Response, bytes]:
            got = await self._inner.handle_async_request(request)
            return got, await got.aread()

        got, content = asyncio.run(answer())
        return httpx.Response(got.status_code, headers=got.headers, content=content)


@pytest.fixture(scope="module")
def app(tiny_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    root = tmp_path_factory.mktemp("keys")
    token = KeyFile(root).create("client", [Scope.ADMIN])
    yield create_app(tiny_service, access=Access.of_home(root, loopback=True)), token
    tiny_service.observers.clear()


@pytest.fixture(scope="module")
def client(app: tuple[Any, str]) -> api.Client:
    return api.Client(BASE, app[1], transport=Bridge(app[0]))


def save(home: api.HomeAnswer, track_id: str) -> api.Event:
    return api.Event.model_validate(
        {
            "event_id": api.new_event_id(),
            "kind": "save",
            "user_id": home.user_id,
            "ts": "2026-03-01T18:04:10Z",
            "track_id": track_id,
            "request_id": home.request_id,
        }
    )


def test_the_loop_from_answer_to_event_to_record_is_typed(client: api.Client) -> None:
    home = client.home(limit=3, country="SE", device=api.Device.MOBILE)
    item = home.shelves[0].items[0]
    assert isinstance(home, api.HomeAnswer)
    assert isinstance(item, api.Item)
    told = client.events(api.EventBatch(events=[save(home, item.track_id), {"kind": "nonsense"}]))
    assert (told.accepted, [r.index for r in told.refused]) == (1, [1])
    offline = [save(home, i.track_id) for i in home.shelves[0].items]
    receipt = client.event_batch([*offline, {"kind": "nonsense"}])
    assert (receipt.accepted, receipt.reasons[0].line) == (len(offline), len(offline) + 1)
    record = client.decision(home.request_id)
    assert [s["track_id"] for s in record.slots][:1] == [item.track_id]
    station = client.radio(seed=f"track:{item.track_id}", user_id=home.user_id, limit=4)
    assert client.radio(seed=station.seed, cursor=station.cursor).items
    assert len(client.similar(item.track_id, limit=5).items) == 5
    assert client.track(item.track_id).title == item.title
    assert client.artist(str(item.artist_id)).name == item.artist_name


def test_the_operator_s_endpoints_answer_too(client: api.Client) -> None:
    assert client.healthz()["status"] == "ok"
    assert client.readyz()["status"] == "ready"
    assert client.status()["ready"] is True
    assert "recsys_http_requests_total" in client.prometheus()


def test_the_asynchronous_client_does_the_same(app: tuple[Any, str]) -> None:
    async def run() -> tuple[api.HomeAnswer, api.Acknowledgement]:
        async with api.AsyncClient(BASE, app[1], transport=httpx.ASGITransport(app[0])) as client:
            home = await client.home(limit=1)
            event = save(home, home.shelves[0].items[0].track_id)
            return home, await client.events({"events": [event]})

    home, told = asyncio.run(run())
    assert isinstance(home, api.HomeAnswer)
    assert told.accepted == 1


def test_errors_carry_their_problem(client: api.Client, app: tuple[Any, str]) -> None:
    with pytest.raises(api.ApiError) as unknown:
        client.track("0" * 22)
    assert unknown.value.status == 404
    assert unknown.value.problem is not None
    assert unknown.value.problem.type == "/docs#unknown-id"
    with pytest.raises(api.ApiError) as anonymous:
        api.Client(BASE, transport=Bridge(app[0])).event_batch([])
    assert anonymous.value.status == 401
    with pytest.raises(api.ApiError, match="422"):
        client.home(limit=99)
    with pytest.raises(api.ApiError, match="404"):
        client.track("../status")


def test_a_misspelt_field_of_an_event_is_noticed_before_it_is_sent() -> None:
    good = save(FAKE_HOME, TRACK_IDS[0]).model_dump()
    with pytest.raises(ValidationError):
        api.Event.model_validate(good | {"trackid": "x"})


def test_fields_of_a_newer_server_do_no_harm() -> None:
    newer = {"lines": 1, "accepted": 1, "duplicates": 0, "refused": 0, "reasons": [], "mood": "good"}
    assert api.BatchReceipt.model_validate(newer).accepted == 1


FAKE_HOME = api.HomeAnswer.model_construct(user_id="A" * 22, request_id="r")


def scripted(*answers: int | None) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A server that gives these statuses in turn; None: the connection breaks."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        status = answers[len(seen) - 1]
        if status is None:
            raise httpx.ReadError("gone")
        body = {"accepted": 1, "duplicates": 0, "refused": []}
        return httpx.Response(status, json=body, headers={"Retry-After": "0"} if status != 200 else {})

    return httpx.MockTransport(answer), seen


@pytest.mark.parametrize("answers", [(503, 429, 200), (None, None, 200), (503, None, 200)])
def test_what_may_be_sent_twice_is_tried_three_times_with_the_same_bytes(
    answers: tuple[int | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport.time, "sleep", lambda _: None)
    server, seen = scripted(*answers)
    told = api.Client(BASE, transport=server).events({"events": [save(FAKE_HOME, TRACK_IDS[0])]})
    assert told.accepted == 1
    assert len({request.content for request in seen}) == 1
    assert len(seen) == 3


def test_it_gives_up_after_its_attempts_and_on_errors_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.time, "sleep", lambda _: None)
    for answers, tries in (((503,) * 3, 3), ((400, 200), 1), ((500, 200), 1)):
        server, seen = scripted(*answers)
        with pytest.raises(api.ApiError):
            api.Client(BASE, transport=server).events({"events": []})
        assert len(seen) == tries
    server, seen = scripted(None, None, None)
    with pytest.raises(httpx.ReadError):
        api.Client(BASE, transport=server).home()
    assert len(seen) == 3


def test_event_ids_are_uuids_of_version_7_in_order() -> None:
    ids = [api.new_event_id() for _ in range(50)]
    assert all(is_event_id(i) and i[14] == "7" for i in ids)
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)


def test_the_client_is_a_package_of_its_own(tmp_path: Path) -> None:
    """It imports nothing of ours, and its wheel holds its four modules and the marker of types."""
    code = "import sys, recsys_client; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"import json; {code}"], cwd=tmp_path, env={"PYTHONPATH": str(FOLDER)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = {"recsys", "serving", "models", "ranking", "music"}
    assert not ours & {name.split(".")[0] for name in json.loads(run.stdout)}
