"""Reasons are true: a claimed cause was tested by taking it away, and the plain statements say what is so."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests_events import event, play

from ranking.config import RankerConfig
from recsys.items import MS_PER_DAY
from recsys.plays import WINDOW, Outcome
from recsys.schemas import Surface
from recsys.types import Context, Query, UserState, history
from serving.loaded import LoadedRelease
from serving.reasons import claims
from serving.reasons.claims import OPTION, Claim
from serving.reasons.counterfactual import Counterfactual, Effect, without
from serving.reasons.worker import Explainer, examine
from serving.recommender import Recommender
from serving.replay import compare
from serving.service import Service
from serving.settings import HomeSettings, ReasonSettings, ServiceSettings


@pytest.fixture(scope="module")
def recommender(tiny_service: Service) -> Recommender:
    return tiny_service._fleet._by_version["1"]


@pytest.fixture(scope="module")
def release(recommender: Recommender) -> LoadedRelease:
    return recommender.release


@pytest.fixture(scope="module")
def now(release: LoadedRelease) -> int:
    return release.manifest.until + MS_PER_DAY


@pytest.fixture(scope="module")
def states(tiny_service: Service) -> list[UserState]:
    """Listeners with consent and plays, and with room for more."""
    found = (tiny_service.state(key) for key in tiny_service.store.keys(120))
    return [state for state in found if state.personalized and 30 < len(state.start) < WINDOW]


@pytest.fixture(scope="module")
def lifted(recommender: Recommender, states: list[UserState], now: int) -> UserState:
    """A listener whose last finished track supports several others."""
    test = Counterfactual(recommender.release, HomeSettings())
    for state in states:
        claim = examine(test, ReasonSettings(), state, Context(), now)
        if claim is not None and len(claim.supported) > 6:
            return state
    raise AssertionError("no listener of the tiny world has a track that matters")


def query(user: UserState, now: int, **more: Any) -> Query:
    return Query("reasons", Surface.HOME, now, 7, 10, user, **more)


def copied(service: Service, state: UserState, name: str) -> str:
    """A listener of this test's own with the last plays of another one."""
    rows = zip(state.track_id, state.start, state.ms_played, state.outcome, strict=True)
    events = [
        play(name, track, start + ms, ms, "trackdone" if outcome == Outcome.FINISH else "fwdbtn")
        for track, start, ms, outcome in rows
    ]
    assert service.ingest(events)["accepted"] == len(events)
    return name


def reasons(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(shelf, track id, reason code) of every slot."""
    return [
        (shelf["id"], item["track_id"], item["reason"]["code"])
        for shelf in answer["shelves"]
        for item in shelf["items"]
    ]


# --- the counterfactual --------------------------------------------------------------------------------------


def test_the_two_worlds_differ_by_the_track_alone_and_score_the_same_pool(
    release: LoadedRelease, lifted: UserState, now: int
) -> None:
    track = claims.last_finished(lifted, release.items, now)
    assert track is not None
    effect = Counterfactual(release, HomeSettings()).effect(query(lifted, now), track)
    assert release.items.number(track) not in effect.ids
    assert np.isfinite(effect.utility).all()
    assert effect.utility.shape == effect.rank.shape == (2, len(effect.ids))
    served = Recommender(release).run([query(lifted, now)])[1].candidates
    known = np.isin(served.ids, effect.ids)
    at = np.searchsorted(effect.ids, served.ids[known])
    np.testing.assert_allclose(effect.utility[0][at], served.columns["utility"][known], rtol=1e-6)
    absent = Recommender(release).run([query(without(lifted, track), now)])[1].candidates
    known = np.isin(absent.ids, effect.ids)
    assert known.sum() >= len(absent.ids) - 1, "what only the other history proposes is in the pool too"
    at = np.searchsorted(effect.ids, absent.ids[known])
    np.testing.assert_allclose(effect.utility[1][at], absent.columns["utility"][known], rtol=1e-6)


def test_a_track_that_was_never_played_has_no_effect(
    release: LoadedRelease, lifted: UserState, now: int
) -> None:
    stranger = next(t for t in release.items.track_ids if t not in lifted.track_id)
    effect = Counterfactual(release, HomeSettings()).effect(query(lifted, now), stranger)
    assert not effect.drop.any()
    assert not len(effect.supported(1))


def test_ties_and_tracks_that_only_others_overtook_are_not_supported() -> None:
    utility = np.array([[0.9, 0.5, 0.5, 0.4, 0.1], [0.2, 0.5, 0.5, 0.3, 0.45]])
    rank = np.array([[0, 1, 1, 3, 4], [4, 0, 0, 3, 2]])
    effect = Effect(np.arange(10, 15), utility, rank)
    assert effect.supported(1).tolist() == [10]
    assert effect.supported(5).tolist() == []
    overtaken = Effect(np.array([1]), np.array([[0.5], [0.5]]), np.array([[0], [9]]))
    assert not len(overtaken.supported(1)), "its own utility did not fall"


def test_a_history_without_a_track_is_that_of_a_listener_who_never_played_it(lifted: UserState) -> None:
    track = Counter(lifted.track_id).most_common(1)[0][0]
    rest = without(lifted, track)
    assert track not in rest.track_id
    assert len(rest.track_id) == len(rest.origin) == len(lifted.track_id) - lifted.track_id.count(track)


# --- what is claimed -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crowd:
    """A ranker that looks at what everybody plays, and not at the listener."""

    column: int
    config: RankerConfig

    def probabilities(self, x: NDArray[np.float32], _surface: str) -> dict[str, NDArray[np.float64]]:
        p = 0.5 + np.tanh(np.nan_to_num(x[:, self.column].astype(np.float64))) / 4
        return dict.fromkeys(("finish", "skip", "save", "play"), p)


def test_tracks_that_are_merely_similar_are_not_claimed(
    release: LoadedRelease, lifted: UserState, now: int
) -> None:
    from recsys.features.pair import names

    crowd = Crowd(names(("two_tower", "sequence")).index("popularity_28"), release.ranker.config)
    planted = Recommender(replace(release, ranker=crowd))
    test = Counterfactual(planted.release, HomeSettings())
    claim = examine(test, ReasonSettings(), lifted, Context(), now)
    assert claim is not None
    assert claim.supported == [], "the history proposes them, but nothing in it moves them"
    slots = planted.answer(query(lifted, now)).slots
    assert {s["reason"].partition(":")[0] for s in slots if s["shelf"] == "more_like"} == {"similar"}
    assert not [s for s in slots if s["reason"].startswith("finished")]


def test_only_supported_tracks_are_claimed_and_the_answer_replays(
    tiny_service: Service, recommender: Recommender, lifted: UserState, now: int
) -> None:
    user = copied(tiny_service, lifted, "S" * 22)
    before = tiny_service.home(user, 10, Context(), now)
    assert not [code for _, _, code in reasons(before) if code.startswith("finished")], "not tested yet"
    assert "more_like" in {shelf for shelf, _, _ in reasons(before)}
    tiny_service.refresh()
    test = Counterfactual(recommender.release, HomeSettings())
    claim = examine(test, ReasonSettings(), tiny_service.state(user), Context(), now)
    assert claim is not None
    after = tiny_service.home(user, 10, Context(), now + 1)
    claimed = [(track, code) for shelf, track, code in reasons(after) if shelf == "because_you_finished"]
    assert len(claimed) >= 1
    assert {code for _, code in claimed} == {f"finished:{claim.track_id}"}
    assert {track for track, _ in claimed} <= set(claim.supported)
    assert not {shelf for shelf, _, _ in reasons(after)} & {"more_like"}
    assert not [c for s, _, c in reasons(after) if c.startswith("finished") and s != "because_you_finished"]
    assert compare(recommender, tiny_service.decision_record(after["request_id"]))["same"]


def test_a_claim_ends_with_the_next_play_and_with_an_exclusion(
    tiny_service: Service, recommender: Recommender, lifted: UserState, now: int
) -> None:
    user = copied(tiny_service, lifted, "T" * 22)

    def shelves() -> set[str]:
        return {shelf for shelf, _, _ in reasons(tiny_service.home(user, 10, Context(), now))}

    shelves()
    tiny_service.refresh()
    assert "because_you_finished" in shelves()
    tiny_service.ingest([play(user, lifted.track_id[0], now - 1000, 5_000, "fwdbtn", session_id="skipping")])
    assert "because_you_finished" not in shelves()
    tiny_service.ingest([event("exclude_from_taste", user, None, now, session_id="skipping")])
    assert "because_you_finished" in shelves(), "the history is the tested one again"


@pytest.mark.parametrize(
    "changed",
    [{"release": "another"}, {"history": [0]}, {"track_id": "x" * 22}, {"supported": ["x" * 22] * 9}],
)
def test_a_claim_of_another_release_history_or_track_is_not_made(
    tiny_service: Service, release: LoadedRelease, lifted: UserState, now: int, changed: dict[str, Any]
) -> None:
    track = claims.last_finished(lifted, release.items, now)
    good = Claim(
        "1", claims.history_of(lifted, now), str(track), [release.items.track_id(i) for i in range(9)]
    )
    user = replace(lifted, user_id="V" * 22)
    asked = query(user, now)
    claims.save(tiny_service.store, user.user_id, good)
    made = claims.claimed(asked, tiny_service.store, "1", release.items, 3)
    assert made.options[OPTION]["tracks"] == list(range(9))
    assert claims.claimed(asked, tiny_service.store, "1", release.items, 10) is asked
    claims.save(tiny_service.store, user.user_id, replace(good, **changed))
    assert claims.claimed(asked, tiny_service.store, "1", release.items, 3) is asked


# --- the worker ----------------------------------------------------------------------------------------------


def explainer(service: Service, **more: Any) -> Explainer:
    return Explainer(service.state, service.store, service._fleet.of, ReasonSettings(**more))


def test_a_play_of_a_listener_who_is_here_is_tested_and_one_of_somebody_else_is_not(
    tiny_service: Service, lifted: UserState, now: int
) -> None:
    user = copied(tiny_service, lifted, "W" * 22)
    worker = explainer(tiny_service)
    worker.heard(user, now)
    worker.drain()
    assert worker.tested == 0, "nobody asked for a home feed"
    worker.asked(query(tiny_service.state(user), now))
    worker.drain()
    worker.asked(query(tiny_service.state(user), now))
    worker.drain()
    assert worker.tested == 1, "the same history is tested once"
    tiny_service.ingest([play(user, lifted.track_id[3], now + 5_000, 4_000, "fwdbtn")])
    worker.heard(user, now + 5_000)
    worker.drain()
    assert worker.tested == 2
    worker.heard(user, now + 3_600_000)
    assert not worker._waiting, "they asked too long ago"


def test_more_listeners_than_may_wait_are_dropped_and_counted(
    tiny_service: Service, states: list[UserState], now: int
) -> None:
    worker = explainer(tiny_service, waiting=2)
    for state in states[:5]:
        worker.asked(query(state, now))
    assert (len(worker._waiting), worker.dropped) == (2, 3)


def test_a_busy_process_tests_nothing(tiny_service: Service, lifted: UserState, now: int) -> None:
    worker, stop = explainer(tiny_service, busy_share=0.05), threading.Event()
    thread = worker.start(stop)
    end = time.monotonic() + 1.2
    while time.monotonic() < end:  # this thread uses a whole CPU, or what it can get
        worker.asked(query(lifted, now)) if time.monotonic() > end - 0.3 else sum(range(1000))
    stop.set()
    thread.join(5)
    assert worker.tested == 0
    assert worker.dropped >= 1


def test_an_idle_process_tests_within_a_moment(tiny_service: Service, lifted: UserState, now: int) -> None:
    user = copied(tiny_service, lifted, "Y" * 22)
    worker, stop = explainer(tiny_service, busy_share=64.0), threading.Event()
    thread = worker.start(stop)
    worker.asked(query(tiny_service.state(user), now))
    end = time.monotonic() + 10
    while not worker.tested and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    thread.join(5)
    assert worker.tested == 1


# --- plain statements ----------------------------------------------------------------------------------------


def test_every_plain_statement_is_true(
    tiny_service: Service, release: LoadedRelease, states: list[UserState], now: int
) -> None:
    items, seen = release.items, Counter[str]()
    for state in [*states[:25], UserState("0" * 22)]:
        for country in (items.countries[0], None):
            decision = Recommender(release).answer(query(state, now, context=Context(country=country)))
            window = history(state, items)
            past = window.track[(window.outcome != Outcome.SKIP) & (window.track >= 0)]
            artists = Counter(items.artist[past].tolist())
            at = {track: i for i, track in enumerate(decision.eligible)}
            for slot in decision.slots:
                track, (kind, _, value) = slot["track"], slot["reason"].partition(":")
                column = {n: c[at[track]] for n, c in decision.scores.items() if n.startswith("source:")}
                seen[kind] += 1
                if kind == "played_before":
                    assert track in past
                elif kind == "artist":
                    assert items.artist_ids[items.artist[track]] == value
                    assert artists[items.artist[track]] >= 2
                elif kind in ("popular_near_you", "popular_everywhere"):
                    assert (kind == "popular_near_you") == (country is not None)
                    assert column["source:popular"] > 0
                elif kind == "new_release":
                    assert now // MS_PER_DAY - items.release_day[track] <= 30
                elif kind == "taste":
                    assert len(past)
                    assert np.isfinite([column["source:two_tower"], column["source:sequence"]]).any()
                elif kind == "similar":
                    assert np.isfinite(column["source:anchor"])
                    assert value == claims.last_finished(state, items, now)
                else:
                    assert kind == "explore"
    assert {"played_before", "artist", "taste", "popular_near_you", "popular_everywhere", "similar"} <= set(
        seen
    )


def test_every_reason_and_title_is_a_sentence(recommender: Recommender, release: LoadedRelease) -> None:
    track, artist = release.items.track_ids[0], release.items.artist_ids[0]
    plain = ["played_before", "taste", "explore", "new_release", "popular_near_you", "popular_everywhere"]
    for code in [*plain, f"finished:{track}", f"similar:{track}", f"artist:{artist}", "last_good_fallback"]:
        sentence = recommender.render.reason(code)
        assert sentence[0].isupper()
        assert "_" not in sentence


def test_settings_of_reasons_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="extra"):
        ServiceSettings.model_validate({"reasons": {"least_dropp": 3}})
