"""The ladder down: whatever fails, a rung answers, names itself, and keeps the rights."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recsys.items import MS_PER_DAY
from recsys.schemas import Surface
from recsys.types import Context, Query, UserState
from serving.recommender import Recommender, request_seed
from serving.service import Service


class Broken:
    """A model whose every call fails."""

    name = "broken"

    def __getattr__(self, attribute: str) -> None:
        raise RuntimeError("the model is down")


class Hung:
    """A model whose calls come back only when the test is over."""

    name = "sequence"

    def __init__(self) -> None:
        self.over = threading.Event()

    def __getattr__(self, attribute: str) -> Callable[..., None]:
        def call(*_given: object) -> None:
            self.over.wait(30)
            raise RuntimeError("too late")

        return call


@pytest.fixture(scope="module")
def state(tiny_service: Service) -> UserState:
    rows = (tiny_service.state(row["user_id"]) for row in tiny_service.listeners(300))
    return next(s for s in rows if s.personalized and len(s.track_id) > 50)


def ask(recommender: Recommender, state: UserState, surface: Surface = Surface.HOME) -> dict:
    now = recommender.release.manifest.until + MS_PER_DAY
    query = Query("r", surface, now, request_seed("r"), 10, state, Context(country="SE"), station=(1, 2))
    return recommender.answer(query).__dict__


def without(tiny_service: Service, **parts: object) -> Recommender:
    release = tiny_service._fleet._by_version["1"].release
    return Recommender(replace(release, **parts))


def test_all_parts_well_is_the_full_rung(tiny_service: Service, state: UserState) -> None:
    assert ask(without(tiny_service), state)["rung"] == "full"


def test_a_broken_ranker_falls_to_the_light_rung(tiny_service: Service, state: UserState) -> None:
    answer = ask(without(tiny_service, ranker=Broken()), state)
    assert answer["rung"] == "light"
    assert answer["policy"].startswith("light")
    assert len(answer["slots"]) >= 20


def test_a_broken_sequence_model_is_counted_and_the_light_rung_answers(
    tiny_service: Service, state: UserState
) -> None:
    answer = ask(without(tiny_service, sequence=Broken()), state)
    assert answer["rung"] == "light"
    assert answer["sources"]["sequence"]["outcome"] == "failed"


def test_without_light_scorer_the_order_of_retrieval_answers(tiny_service: Service, state: UserState) -> None:
    assert ask(without(tiny_service, ranker=Broken(), light=Broken()), state)["rung"] == "retrieval"


def test_without_models_the_last_good_slate_answers_then_the_popular_one(
    tiny_service: Service, state: UserState
) -> None:
    recommender = without(tiny_service, ranker=Broken(), light=Broken(), two_tower=Broken())
    assert ask(recommender, state)["rung"] == "popular"
    recommender.last_good.remember(state.user_id, [3, 5, 8])
    answer = ask(recommender, state)
    assert answer["rung"] == "last_good"
    assert {slot["track"] for slot in answer["slots"]} <= {3, 5, 8}


def test_radio_falls_too(tiny_service: Service, state: UserState) -> None:
    assert ask(without(tiny_service, ranker=Broken()), state, Surface.RADIO)["rung"] == "light"
    assert ask(without(tiny_service, two_tower=Broken()), state, Surface.RADIO)["rung"] == "popular"


def test_a_hung_sequence_model_is_left_behind_and_then_left_out(
    tiny_service: Service, state: UserState
) -> None:
    release = tiny_service._fleet._by_version["1"].release
    model = Hung()
    recommender = Recommender(replace(release, sequence=model), budget_ms=150.0)
    answers = [ask(recommender, state) for _ in range(8)]
    begin = time.perf_counter()
    last = ask(recommender, state)
    spent = time.perf_counter() - begin
    model.over.set()
    assert {a["rung"] for a in answers} == {"light"}
    assert answers[0]["sources"]["sequence"]["outcome"] == "timeout"
    assert "sequence overran its time" in answers[0]["fallen"]["full"]
    assert last["sources"]["sequence"]["outcome"] == "skipped"
    assert "left out" in last["fallen"]["full"]
    assert spent < 0.15
    assert recommender.guard is not None
    assert recommender.guard.describe()["source:sequence"]["open"] == 1


def test_rights_hold_on_every_rung(tiny_service: Service, state: UserState) -> None:
    release = tiny_service._fleet._by_version["1"].release
    now = release.manifest.until + MS_PER_DAY
    items = release.items
    closed = replace(
        items, available_until=np.where(np.arange(len(items))[:, None] % 2, items.available_until, 0)
    )
    for broken in (
        {},
        {"ranker": Broken()},
        {"ranker": Broken(), "light": Broken()},
        {"two_tower": Broken()},
    ):
        answer = ask(without(tiny_service, items=closed, **broken), state)
        allowed = closed.available(closed.country_number("SE"), now)
        assert answer["slots"]
        assert all(allowed[slot["track"]] for slot in answer["slots"])
