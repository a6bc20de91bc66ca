"""Probabilities that are off on what the server shows are put right from the random slots that it served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_events import event, play

from ranking.calibration import Beta, expected_calibration_error
from recsys.errors import NotReady
from recsys.home import Home
from recsys.ingest import move
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.types import Context, Decision
from serving.loaded import LoadedRelease
from serving.recalibrate import recalibrate, served_slots
from serving.registry import Registry
from serving.service import Service
from serving.settings import HomeSettings, RadioSettings, ServiceSettings
from tests.patient import patient
from tests.serving.http_crash import copied

EXPLORE = patient(ServiceSettings(home=HomeSettings(epsilon=1.0), radio=RadioSettings(epsilon=1.0)))
SHIFT = 1.2
"""How much worse, in log-odds of a finish, radio is taken than the ranker believes."""


@given(
    st.floats(0.2, 3),
    st.floats(0.2, 3),
    st.floats(-2, 2),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20),
)
def test_a_calibrator_can_be_undone(a: float, b: float, c: float, p: list[float]) -> None:
    beta, score = Beta(a, b, c), np.array(p)
    assert np.allclose(beta(beta.inverse(beta(score))), beta(score), atol=1e-6)


def listened(decision: Decision, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Every slot is seen and played; how it ends follows the ranker's odds, shifted by SHIFT on radio."""
    place = {track: i for i, track in enumerate(decision.eligible)}
    for slot in decision.slots:
        p = float(decision.scores["p_finish"][place[slot["track"]]])
        odds = np.log(p / (1 - p)) - (SHIFT if decision.surface == "radio" else 0.0)
        finished = rng.random() < 1 / (1 + np.exp(-odds))
        about = {"request_id": decision.request_id, "surface": decision.surface}
        yield event(
            "impression", decision.user_id, slot["track_id"], decision.now, position=slot["position"], **about
        )
        ms, reason = (200_000, "trackdone") if finished else (5_000, "fwdbtn")
        yield play(decision.user_id, slot["track_id"], decision.now + 1_000 + ms, ms, reason, **about)


def serve(home: Home, requests: int, seed: int) -> None:
    """Asks for home and radio at full exploration, and logs how the listeners took it."""
    rng = np.random.default_rng(seed)
    with Service.open(home, EXPLORE, background=False) as service:
        now = service._fleet._by_version["1"].release.manifest.until + seed * MS_PER_DAY
        users = [row["user_id"] for row in service.listeners(requests)]
        for i, user in enumerate(users):
            page = service.home(user, 4, Context(), now + i)
            track = page["shelves"][0]["items"][0]["track_id"]
            station = service.radio(f"track:{track}", None, user, 10, Context(), now + i)
            for request_id in (page["request_id"], station["request_id"]):
                decision = service.decision_record(request_id)
                assert not service.ingest(list(listened(decision, rng)))["refused"]


@pytest.fixture(scope="module")
def served(tiny_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = copied(tiny_home, tmp_path_factory.mktemp("recalibrate"))
    serve(home, 45, 1)
    return home


def test_radio_that_is_taken_worse_than_believed_is_believed_less_afterwards(served: Home) -> None:
    champion = LoadedRelease.load(Registry(served).get("champion").folder)
    version, rows = recalibrate(served)
    assert Registry(served).get("champion").version != version  # promoting is a decision of its own
    after = LoadedRelease.load(Registry(served).get(version).folder)
    (radio,) = [r for r in rows if (r["surface"], r["objective"]) == ("radio", "finish")]
    assert radio["slots"] > 300
    assert radio["ece_after"] < 0.5 * radio["ece_before"]
    p = np.linspace(0.2, 0.8, 7)
    raw = champion.ranker.calibrator("finish", "radio").inverse(p)
    truth = 1 / (1 + np.exp(-(np.log(p / (1 - p)) - SHIFT)))
    assert (
        np.abs(after.ranker.calibrator("finish", "radio")(raw) - truth).max() < 0.15
    )  # 450 random slots; uncorrected .29


def test_what_it_learned_holds_on_slots_served_later(served: Home) -> None:
    version, _ = recalibrate(served)
    calibrator = LoadedRelease.load(Registry(served).get(version).folder).ranker.calibrator("finish", "radio")
    release = LoadedRelease.load(Registry(served).get("champion").folder)
    before = {len(own) for own in served_slots(Lake(served.lake), release.manifest.digest).values()}
    serve(served, 45, 3)
    own = served_slots(Lake(served.lake), release.manifest.digest)["radio"]
    assert len(own) > max(before)
    raw = release.ranker.calibrator("finish", "radio").inverse(own.p["finish"])
    was = expected_calibration_error(own.p["finish"], own.label["finish"], bins=5)
    now = expected_calibration_error(calibrator(raw), own.label["finish"], bins=5)
    assert now < 0.5 * was


def test_a_release_without_played_random_slots_says_what_is_missing(tiny_home: Home, tmp_path: Path) -> None:
    home = copied(tiny_home, tmp_path)
    with Service.open(home, patient(), background=False) as service:
        move(service.log, Lake(home.lake))
    with pytest.raises(NotReady, match="300 are needed"):
        recalibrate(home)
