"""The creators' side: tiers, shares and concentration counted by hand, errors both ways, floors, both sides."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_events import write_experiment
from typer.testing import CliRunner

from recsys.errors import BadInput, NotReady
from recsys.evaluation.creators import (
    NEW,
    TIERS,
    Book,
    by_day,
    concentration,
    groups,
    seen,
    share_difference,
    two_way_error,
)
from recsys.evaluation.metrics import gini
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import conform
from serving.cli.app import app
from serving.creators.floors import floors
from serving.creators.picture import picture
from serving.creators.report import creators
from serving.creators.sides import of_experiment, of_loop

START, END = datetime(2026, 5, 11, tzinfo=UTC), datetime(2026, 5, 18, tzinfo=UTC)
ARTISTS = 40
TRACKS = conform(
    pl.DataFrame(
        {
            "track_id": [f"t{i}" for i in range(ARTISTS)],
            "artist_id": [f"a{i}" for i in range(ARTISTS)],
            "release_date": [date(2026, 5, 1) if i == 39 else date(2020, 1, 1) for i in range(ARTISTS)],
            "isrc": ["SEAAA2000001" if i % 2 else "GBBBB2000001" for i in range(ARTISTS)],
        }
    ),
    "tracks",
)


def row(kind: str, user: str, hours: float, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "user_id": user, "ts": START + timedelta(hours=hours), **more}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    made = pl.DataFrame(rows, infer_schema_length=None).with_columns(day=pl.col("ts").dt.date())
    return conform(made, "events")


def shown(user: str, hours: float, track: int, nth: int = 0, **more: Any) -> dict[str, Any]:
    about = {"request_id": f"{user}-{hours}", "track_id": f"t{track}", "surface": "home", "position": nth}
    return row("impression", user, hours, conn_country="SE", **about, **more)


def past() -> list[dict[str, Any]]:
    """Artist 0 is played 40 times, artist 1 39 times, ...; artist 39 never."""
    return [
        row("play_end", f"u{n}", -30, track_id=f"t{i}", ms_played=100_000)
        for i in range(ARTISTS - 1)
        for n in range(ARTISTS - i)
    ]


BY_HAND = [
    *past(),
    *(shown("x", 1, i, i) for i in (0, 1, 5, 39)),
    *(shown("y", 30, i, i) for i in (0, 0, 7)),
    shown("z", 31, 9, incognito_mode=True),
    shown("z", 32, 9, consent_analytics=False),
    row(
        "play_end",
        "x",
        1.2,
        request_id="x-1",
        track_id="t5",
        ms_played=200_000,
        surface="home",
        reason_end="trackdone",
    ),
]


def test_tiers_shares_and_labels_are_counted_by_hand() -> None:
    events = frame(BY_HAND).lazy()
    slots, book = seen(events, TRACKS, START, END), Book.of(events, TRACKS, START, END)
    assert len(slots) == 6, (
        "a track twice in one answer is one slot; the incognito and the silent do not count"
    )
    found = {g.name: g for g in groups(slots, book, "tier")}
    assert {name: g.artists for name, g in found.items()} == {
        TIERS[0]: 1,
        TIERS[1]: 3,
        TIERS[2]: 35,
        TIERS[3]: 1,
    }
    assert {name: g.slots.value for name, g in found.items()} == pytest.approx(
        {TIERS[0]: 2 / 6, TIERS[1]: 1 / 6, TIERS[2]: 2 / 6, TIERS[3]: 1 / 6}
    )
    assert found[TIERS[2]].streams.value == 1
    assert found[TIERS[0]].plays_before == pytest.approx(40 / sum(range(2, 41)))
    assert found[TIERS[0]].listeners == 2
    assert {g.name: g.artists for g in groups(slots, book, "label")} == {"SEAAA": 20, "GBBBB": 20}
    named = Book.of(events, TRACKS, START, END, pl.DataFrame({"artist_id": ["a0"], "label": ["Big"]}))
    assert {g.name: g.slots.value for g in groups(slots, named, "label")}["Big"] == pytest.approx(2 / 6)
    assert {g.name: g.artists for g in groups(slots, book, "age")} == {"known": 39, NEW: 1}


def test_concentration_counts_artists_who_were_never_shown() -> None:
    events = frame(BY_HAND).lazy()
    slots, book = seen(events, TRACKS, START, END), Book.of(events, TRACKS, START, END)
    amount = np.zeros(ARTISTS)
    amount[[0, 1, 5, 7, 39]] = 2, 1, 1, 1, 1
    found, days = concentration(slots, book), by_day(slots, book)
    assert found.gini.value == pytest.approx(gini(amount, np.ones(ARTISTS, bool)))
    assert found.reached.value == 5 / ARTISTS
    assert found.top_share.value == pytest.approx(2 / 6)
    assert found.new_artists.value == found.new_releases.value == pytest.approx(1 / 6)
    assert days["slots"].to_list() == [4, 2]
    assert days["gini"][-1] == pytest.approx(found.gini.value)
    assert days["new_artists"].to_list() == [0.25, 0.0]


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_two_way_error_is_no_smaller_than_either_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    influence, one, two = rng.normal(size=50), rng.integers(0, 6, 50), rng.integers(0, 9, 50)
    error = two_way_error(influence, one, two)
    same = (one[:, None] == one) | (two[:, None] == two)
    both = float(influence @ same @ influence)
    ways = [float(influence @ (code[:, None] == code) @ influence) for code in (one, two)]
    assert error == pytest.approx(np.sqrt(max(both, *ways)))


def many(lift: float, seed: int, users: int = 150) -> list[dict[str, Any]]:
    """Listeners who look at ten slots; `lift` more of them go to the tail."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(users):
        tail = rng.random(10) < 0.3 + lift
        track = np.where(tail, rng.integers(4, ARTISTS, 10), rng.integers(0, 4, 10))
        rows += [shown(f"u{i}", 5 + i / 1000, int(t), n) for n, t in enumerate(dict.fromkeys(track.tolist()))]
        rows.append(row("play_end", f"u{i}", 6, track_id="t0", ms_played=60_000, session_id=f"s{i}"))
    return rows


def slots_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return seen(frame(rows).lazy(), TRACKS, START, END)


def test_a_shift_of_slots_is_found_and_none_is_not() -> None:
    book = Book.of(frame(past()).lazy(), TRACKS, START, END)
    base, same, more = slots_of(many(0.0, 1)), slots_of(many(0.0, 2)), slots_of(many(0.2, 3))
    nothing = share_difference(base, base, book, "tier", "tail")
    assert (nothing.value, nothing.high) == (0.0, pytest.approx(0.0))
    equal = share_difference(same, base, book, "tier", "tail")
    assert equal.low < 0 < equal.high
    moved = share_difference(more, base, book, "tier", "tail")
    assert moved.low > 0.02


def decision(nth: int, policy: str, short: dict[str, int], track: int, rung: str = "full") -> dict[str, Any]:
    body = {"rung": rung, "policy": policy, "short": short, "slots": [{"track_id": f"t{track}"}]}
    return row(
        "decision", f"u{nth}", 3, request_id=f"d{nth}", surface="home", payload=orjson.dumps(body).decode()
    )


def test_floors_are_what_the_decisions_say() -> None:
    policy = "full-eps0.05-dpp0.4-new0.1-tail0.2"
    rows = [
        decision(0, policy, {"made_for_you:new": 1}, 39),
        decision(1, policy, {}, 0),
        decision(2, policy, {"made_for_you:new": 2, "made_for_you:tail": 1}, 0),
        decision(3, "popular", {}, 39, rung="popular"),
    ]
    found = floors(frame(rows).lazy(), TRACKS, START, END, "home")
    assert found.answers == 3
    assert found.asked == {"new": 0.1, "tail": 0.2}
    assert found.met == pytest.approx({"new": 1 / 3, "tail": 2 / 3})
    assert found.short == pytest.approx({"new": 1.0, "tail": 1 / 3})
    assert found.new_slots == pytest.approx(1 / 3)


def made(root: Path, rows: list[dict[str, Any]]) -> Home:
    home = Home.of(root).make()
    Lake(home.lake).append("events", frame(rows))
    Lake(home.lake).append("tracks", TRACKS)
    return home


def test_both_sides_of_an_experiment(tmp_path: Path) -> None:
    rows, treated = past(), many(0.25, 4, 100)
    rows += treated + [{**r, "user_id": r["user_id"].replace("u", "c")} for r in many(0.0, 5, 100)]
    for user in sorted({r["user_id"] for r in rows if r["ts"] > START}):
        arm = "treatment" if user.startswith("u") else "control"
        body = {"version": "1", "arms": [{"experiment": "tail", "arm": arm, "overridden": False}]}
        exposed = orjson.dumps(body).decode()
        rows.append(row("decision", user, 4, request_id=f"r{user}", surface="home", exposed=exposed))
    rows += [row("play_end", f"u{i}", 8, track_id="t1", ms_played=900_000) for i in range(100)]
    home = made(tmp_path, rows)
    write_experiment(home, "tail", "2026-05-11", "2026-05-18")
    (found,) = of_experiment(home, "tail", END)
    assert found.units == (100, 100)
    assert found.listeners["hours"].effect == pytest.approx(0.25)
    assert found.shares["tail"].low > 0
    assert found.shares["top"].value + found.shares["middle"].value == pytest.approx(
        -found.shares["tail"].value - found.shares[TIERS[3]].value
    )
    done = CliRunner().invoke(app, ["creators", "--experiment", "tail", "--json", "--home", str(home.root)])
    assert orjson.loads(done.stdout)[0]["shares"]["tail"]["value"] == pytest.approx(
        found.shares["tail"].value
    )


def test_policies_with_one_log_do_not_differ_and_one_alone_is_refused(tmp_path: Path) -> None:
    rows = [
        *past(),
        *many(0.0, 6, 30),
        row("decision", "u1", 0, request_id="d", surface="home", payload="{}"),
    ]
    for name in ("one", "two"):
        made(tmp_path / name / "home", rows)
    folders = {name: tmp_path / name for name in ("one", "two")}
    (found,) = of_loop(folders)
    assert all(effect.effect == 0 for effect in found.listeners.values())
    assert all(share.value == 0 for share in found.shares.values())
    with pytest.raises(NotReady, match="two policies"):
        of_loop({"one": folders["one"]})


def test_a_homes_report_counts_every_slot_and_draws(tiny_home: Home) -> None:
    found = creators(tiny_home)
    body = orjson.loads(orjson.dumps(found.to_dict(), default=str))
    assert sum(day["slots"] for day in body["days"]) == found.slots > 100
    assert sum(group["slots"]["value"] for group in body["tiers"]) == pytest.approx(1)
    assert body["days"][-1]["gini"] == pytest.approx(body["concentration"]["gini"]["value"])
    assert found.even.gini.low < found.even.gini.value < found.even.gini.high
    assert picture(found).startswith(b"\x89PNG")


def test_the_command_refuses_in_words(tiny_home: Home) -> None:
    def refused(*words: str) -> BaseException | None:
        return CliRunner().invoke(app, ["creators", *words, "--home", str(tiny_home.root)]).exception

    assert isinstance(refused("--since", "soon"), BadInput)
    assert isinstance(refused("--since", "2025-02-01", "--until", "2025-01-01"), BadInput)
    assert isinstance(refused("--since", "1999-01-01", "--until", "1999-01-02"), NotReady)
    assert isinstance(refused("--loop", "never-run"), BadInput)
