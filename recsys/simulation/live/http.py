"""The HTTP API as a policy of live listeners: `recsys serve --simulated-clock`, asked at the listeners' time.

with HttpPolicy("http://127.0.0.1:8000", world.track_ids) as policy:
    for lived in days(world, policy, LiveSettings(), 1): ...

Listeners meet the same luck as in any other run; what the server draws when it explores follows from its own request
ids, which are new in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from recsys.errors import RecsysError
from recsys.simulation.catalog import CODES, COUNTRIES
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.ports import Arrays, Requests, Served
from recsys.simulation.population import DEVICES

if TYPE_CHECKING:
    import httpx

ZONES = [tz for tz, _, _ in COUNTRIES.values()]
MOST_EVENTS = 1_000
"""In one post."""


class HttpPolicy:
    """A server that keeps simulated time.

    Args:
        track_ids: public id of each track number of the world.
        headers: of every request (an API key).
        limit: tracks a shelf; slots: how many slots, in the order of the page, listeners look at.
        at_once: requests under way at the same time.
        transport: where requests go instead of the network, for an app in this process.
    """

    name, hears = "http", True

    def __init__(
        self,
        address: str,
        track_ids: Sequence[str],
        headers: Mapping[str, str] | None = None,
        limit: int = 10,
        slots: int = 10,
        at_once: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.address, self.limit, self.slots, self.at_once = address, limit, slots, at_once
        self._number = {track: i for i, track in enumerate(track_ids)}
        self._headers, self._transport = dict(headers or {}), transport

    def __enter__(self) -> HttpPolicy:
        import httpx

        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(
            base_url=self.address, headers=self._headers, timeout=60.0, transport=self._transport
        )
        self._lines = asyncio.Semaphore(self.at_once)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def serve(self, requests: Requests) -> Served:
        """See recsys.simulation.live.Policy.

        Raises:
            RecsysError: the server does not answer, or refuses.
        """
        answers = self._runner.run(self._all([self._home(requests, i) for i in range(len(requests))]))
        track = np.full((len(requests), self.slots), -1, np.int32)
        propensity = np.full(track.shape, np.nan)
        shelf, reason = np.full(track.shape, "", object), np.full(track.shape, "", object)
        for i, answer in enumerate(answers):
            placed = [(part["id"], item) for part in answer["shelves"] for item in part["items"]]
            for slot, (name, item) in enumerate(placed[: self.slots]):
                track[i, slot] = self._number[item["track_id"]]
                propensity[i, slot] = item["propensity"]
                shelf[i, slot], reason[i, slot] = name, item["reason"]["code"]
        ids = np.array([answer["request_id"] for answer in answers], object)
        return Served(track, propensity, answers[0]["policy"], None, ids, shelf, reason)

    async def _home(self, requests: Requests, i: int) -> Any:
        country = requests.country[i]
        asked = {
            "user_id": str(requests.user_id[i]),
            "limit": self.limit,
            "country": CODES[country],
            "tz": ZONES[country],
            "device": DEVICES[requests.device[i]],
            "session_id": str(requests.session_id[i]),
            "incognito": bool(requests.incognito[i]),
        }
        return await self._call("GET", "/v1/home", int(requests.now[i]), params=asked)

    def hear(self, events: pl.DataFrame, now: int) -> None:
        """Posts listeners' events.

        Raises:
            RecsysError: the server does not answer, or refuses one.
        """
        told = events.drop("received_at").to_dicts()
        rows = [{name: value for name, value in row.items() if value is not None} for row in told]
        posts = [
            self._call(
                "POST",
                "/v1/events",
                now,
                content=orjson.dumps({"events": rows[at : at + MOST_EVENTS]}),
                headers={"content-type": "application/json"},
            )
            for at in range(0, len(rows), MOST_EVENTS)
        ]
        for answer in self._runner.run(self._all(posts)):
            if answer["refused"]:
                raise RecsysError(f"the server refused an event: {answer['refused'][0]['reason']}")

    async def _all(self, calls: Sequence[Any]) -> list[Any]:
        return list(await asyncio.gather(*calls))

    async def _call(
        self, method: str, path: str, now: int, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Any:
        """The JSON of one answer; `Recsys-Now` says when it is asked."""
        import httpx

        async with self._lines:
            try:
                answer = await self._client.request(
                    method, path, headers={"Recsys-Now": str(now), **(headers or {})}, **more
                )
            except httpx.HTTPError as error:
                raise RecsysError(
                    f"{self.address} does not answer ({type(error).__name__}): start it with "
                    "`recsys serve --simulated-clock`"
                ) from None
        if answer.status_code != 200:
            raise RecsysError(f"{self.address}{path}: {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def learn(self, day: LiveDay) -> None:
        """Nothing beyond the events: the server learns as it does."""

    def state(self) -> Arrays:
        """Nothing here: the server holds it all."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Nothing here."""
