"""Radio over HTTP: every kind of seed and the dial, and text of clients that stays text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.api.schemas import RadioAnswer

if TYPE_CHECKING:
    from serving.service import Service


@pytest.fixture(scope="module")
def client(tiny_service: Service) -> Iterator[TestClient]:
    yield TestClient(create_app(tiny_service))
    tiny_service.observers.clear()


def page(client: TestClient, **params: str | float) -> RadioAnswer:
    return RadioAnswer.model_validate(client.get("/v1/radio", params=params).json(), strict=True)


def test_genre_and_words_stations_have_the_documented_shape_and_keep_their_dial(client: TestClient) -> None:
    for seed in ("genre:rock", "genre:Jazz", "words:shadows tonight"):
        first = page(client, seed=seed, dial=0.9)
        assert (first.seed, first.dial, first.relaxed, first.rung) == (seed, 0.9, [], "full")
        then = page(client, seed=seed, cursor=first.cursor)
        assert then.dial == 0.9
        assert page(client, seed=seed, cursor=then.cursor, dial=0).dial == 0


@pytest.mark.parametrize("dial", ["2", "-1", "nan", "much"])
def test_a_dial_outside_its_range_is_a_problem(client: TestClient, dial: str) -> None:
    answer = client.get("/v1/radio", params={"seed": "genre:rock", "dial": dial})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "query.dial"


@pytest.mark.parametrize(
    "text", ["((((((", '"', "title:(a OR", "\\", "a\u0301\u202e", "<script>alert(1)</script>"]
)
def test_hostile_words_get_tracks_or_a_problem(client: TestClient, text: str) -> None:
    assert client.get("/v1/radio", params={"seed": f"words:{text}"}).status_code in (200, 404)


def test_an_unknown_genre_is_not_found_and_some_known_ones_are_named(client: TestClient) -> None:
    answer = client.get("/v1/radio", params={"seed": "genre:polka"})
    assert answer.status_code == 404
    assert "classical" in answer.json()["detail"]


def test_the_page_shows_words_as_words(client: TestClient) -> None:
    text = client.get("/radio", params={"seed": "words:<b>shadows</b>"}).text
    assert "<b>shadows" not in text
    assert "&lt;b&gt;shadows" in text


def test_the_page_turns_the_dial_of_the_station_that_it_shows(client: TestClient) -> None:
    text = client.get("/radio", params={"seed": "genre:rock"}).text
    assert "<strong>balanced</strong>" in text
    link = text.split('">discover</a>')[0].rsplit('href="', 1)[1].replace("&amp;", "&")
    then = client.get(link).text
    assert "<strong>discover</strong>" in then
    assert then.count('class="track"') == 10
