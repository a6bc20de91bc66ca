"""Who ends up in which arm: shares, layers, holdouts, targeting, ramps, overrides; one by one as in bulk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.assign import arm_of, assign, assign_many, explain
from experiments.config import Config, Layer, load
from experiments.growthbook.context import Context
from experiments.growthbook.run import run
from experiments.hashing import Hash, Units, slot, slots
from experiments.plan import tables

USERS = [f"{i:022d}" for i in range(4_000)]
DAY = 86_400_000
BEGIN = 1_764_547_200_000
"""2025-12-01, in UTC ms."""


def config(**sections: Any) -> Config:
    return Config.model_validate(sections)


def experiment(name: str = "e", **fields: Any) -> dict[str, Any]:
    arms = [{"name": "a", "weight": 0.5}, {"name": "b", "weight": 0.5}]
    return {"name": name, "salt": f"{name}-salt", "arms": arms, **fields}


def share(found: Config, arm: str | None, name: str = "e", now: int = BEGIN) -> float:
    return sum(assign(found, user, now).arms.get(name) == arm for user in USERS) / len(USERS)


def mixed_ids(n: int, seed: int = 0) -> list[str]:
    """Ids of many kinds: public ids, numbers, empty, scripts outside ASCII, pairs of code units, control characters."""
    draw = random.Random(seed)
    kinds = [
        "0123456789abcdefghijXYZ",
        "0123456789",
        "åäöéß",
        "дослушал",
        "音楽",
        "🎵🎶💿",
        "a\0\x1f\ud83c\uffff",
    ]
    return ["".join(draw.choices(draw.choice(kinds), k=draw.randrange(0, 23))) for _ in range(n)]


EVERYTHING = config(
    layers=[{"name": "ranking"}, {"name": "page", "hash": "statsig"}],
    holdouts=[
        {"name": "global", "salt": "g", "share": 0.1},
        {"name": "p", "salt": "p", "share": 0.2, "layers": ["page"]},
    ],
    cohorts=[{"name": "testers", "units": [*USERS[:50], "åäö"]}],
    overrides=[{"unit": USERS[7], "experiment": "v2", "arm": "b"}, {"unit": "åäö", "experiment": "page", "arm": "a"}],
    experiments=[
        experiment("v1", hash="growthbook-1"),
        experiment("v2", layer={"name": "ranking", "start": 0.1, "end": 0.7}, coverage=0.9),
        experiment("rest", layer={"name": "ranking", "start": 0.7}, hash="optimizely"),
        experiment("page", layer={"name": "page", "start": 0.2}, hash="statsig", targeting={"tier": "premium"}),
        experiment("cohort", targeting={"$or": [{"cohort": {"$in": ["testers"]}}, {"country": {"$in": ["SE"]}}]}),
        experiment("ids", targeting={"id": {"$regex": "^0"}}, holdouts=False),
        experiment("ramp", ramp=[{"at": "2025-11-01", "share": 0.3}, {"at": "2025-12-24", "share": 1.0}]),
        experiment("later", start="2026-01-01"),
        experiment("over", stop="2025-11-01"),
        experiment("draft", active=False),
    ],
)  # fmt: skip


def same_in_bulk(ids: list[str], rows: list[dict[str, Any]]) -> None:
    many = assign_many(EVERYTHING, ids, BEGIN, pl.DataFrame(rows))
    for i, (unit, row) in enumerate(zip(ids, rows, strict=True)):
        one = assign(EVERYTHING, unit, BEGIN, row)
        bulk = {name: "ab"[arms[i]] for name, arms in many.items() if arms[i] >= 0}
        assert {k: v for k, v in one.arms.items() if k not in ("global", "p")} == bulk, repr(unit)


def attributes(n: int, seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {"tier": draw.choice(["free", "premium"]), "country": draw.choice(["SE", "NO", None])}
        for _ in range(n)
    ]


def test_one_by_one_and_in_bulk_everybody_gets_the_same_arms() -> None:
    ids = mixed_ids(3_000) + USERS[:1_000]
    same_in_bulk(ids, attributes(len(ids)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_units_get_the_same_arms_online_and_in_bulk() -> None:
    for part in range(10):
        ids = mixed_ids(100_000, part)
        same_in_bulk(ids, attributes(len(ids), part))


@pytest.mark.parametrize("kind", list(Hash))
def test_a_hash_gives_the_same_slot_one_by_one_and_in_bulk(kind: Hash) -> None:
    ids = mixed_ids(5_000, 2)
    for salt in ("salt", "sält-🎵", "\ud83c"):
        assert slots(kind, salt, Units.of(ids)).tolist() == [slot(kind, salt, unit) for unit in ids]


@given(st.lists(st.text(max_size=8), max_size=30), st.text(max_size=8), st.sampled_from(list(Hash)))
@settings(max_examples=60)
def test_any_texts_get_the_same_slot_one_by_one_and_in_bulk(ids: list[str], salt: str, kind: Hash) -> None:
    found = slots(kind, salt, Units.of(ids)).tolist()
    assert found == [slot(kind, salt, unit) for unit in ids]
    assert all(0 <= place < kind.steps for place in found)


def test_units_are_where_optimizely_s_open_sdk_puts_them() -> None:
    """The published test values of its bucketer."""
    long = "a very very very very very very very very very very very very very very very long ppd string"
    known = [("ppid1", "1886780721", 5254), ("ppid2", "1886780721", 4299), ("ppid2", "1886780722", 2434)]
    for unit, salt, place in [*known, ("ppid3", "1886780721", 5439), (long, "1886780721", 6128)]:
        assert slot(Hash.OPTIMIZELY, salt, unit) == place


def test_units_are_where_the_first_eight_bytes_of_sha256_put_them() -> None:
    """By hand: sha256("abc") begins with ba7816bf 8f01cfea (FIPS 180-4); the salt before the point is empty here."""
    assert slot(Hash.STATSIG, "", "x") != slot(Hash.STATSIG, "x", "")
    import hashlib

    first = hashlib.sha256(b"salt.unit").hexdigest()[:16]
    assert slot(Hash.STATSIG, "salt", "unit") == int(first, 16) % 10_000


def test_arms_follow_weights_and_coverage_and_route_the_release() -> None:
    treated_arm = {"name": "b", "weight": 0.2, "release": "r2", "parameters": {"home.epsilon": 0.1}}
    arms = [{"name": "a", "weight": 0.8}, treated_arm]
    found = config(experiments=[experiment(arms=arms, coverage=0.5)])
    assert share(found, "a") == pytest.approx(0.4, abs=0.03)
    assert share(found, "b") == pytest.approx(0.1, abs=0.02)
    for user in USERS[:500]:
        assignment = assign(found, user, BEGIN)
        treated = assignment.arms.get("e") == "b"
        assert assignment.release == ("r2" if treated else "champion")
        assert assignment.parameters == ({"home.epsilon": 0.1} if treated else {})
        assert assignment.version == found.version


@pytest.mark.parametrize("kind", [Hash.GROWTHBOOK_1, Hash.GROWTHBOOK_2])
def test_a_client_with_growthbook_s_sdk_finds_the_same_arm(kind: Hash) -> None:
    arms = [{"name": n, "weight": w} for n, w in (("a", 0.2), ("b", 0.3), ("c", 0.5))]
    found = config(experiments=[experiment(arms=arms, coverage=0.6, hash=kind)])
    theirs = {"key": "e", "seed": "e-salt", "variations": ["a", "b", "c"], "weights": [0.2, 0.3, 0.5]}
    theirs |= {"coverage": 0.6, "hashVersion": 1 if kind is Hash.GROWTHBOOK_1 else 2}
    for user in (unit for unit in mixed_ids(2_000, 4) if unit):
        outcome = run(Context(attributes={"id": user}), theirs)
        assert assign(found, user, BEGIN).arms.get("e") == (outcome.value if outcome.in_experiment else None)


def test_disjoint_slices_of_a_layer_never_share_a_listener_and_leave_nobody_out() -> None:
    halves = [
        experiment("x", layer={"name": "l", "end": 0.3333}),
        experiment("y", layer={"name": "l", "start": 0.3333}),
    ]
    found = config(layers=[{"name": "l"}], experiments=halves)
    given_arms = [set(assign(found, user, BEGIN).arms) for user in USERS]
    assert {frozenset(arms) for arms in given_arms} == {frozenset({"x"}), frozenset({"y"})}
    assert np.mean([arms == {"x"} for arms in given_arms]) == pytest.approx(0.3333, abs=0.03)


def test_who_is_held_back_is_in_no_experiment_but_in_switches_that_reach_all() -> None:
    found = config(
        holdouts=[{"name": "global", "salt": "g", "share": 0.2}],
        experiments=[experiment("x"), experiment("y"), experiment("kill", holdouts=False)],
    )
    for user in USERS[:1_000]:
        arms = assign(found, user, BEGIN).arms
        assert set(arms) == ({"global", "kill"} if arms["global"] == "held" else {"global", "kill", "x", "y"})
    assert share(found, "held", "global") == pytest.approx(0.2, abs=0.03)


def test_a_holdout_of_a_layer_holds_back_from_that_layer_alone() -> None:
    found = config(
        layers=[{"name": "l"}],
        holdouts=[{"name": "h", "salt": "h", "share": 0.5, "layers": ["l"]}],
        experiments=[experiment("in", layer={"name": "l"}), experiment("out")],
    )
    for user in USERS[:300]:
        arms = assign(found, user, BEGIN).arms
        assert ("in" in arms) == (arms["h"] == "open")
        assert "out" in arms


def test_targeting_reads_the_request_and_lacks_nothing_silently() -> None:
    found = config(
        experiments=[experiment(targeting={"country": {"$in": ["SE", "NO"]}, "cohort": {"$in": ["new"]}})]
    )
    user = USERS[0]
    assert assign(found, user, BEGIN, {"country": "NO", "cohort": ("new",)}).arms
    for other in (
        {},
        {"country": "NO"},
        {"country": "DE", "cohort": ("new",)},
        {"country": None, "cohort": ()},
    ):
        assert not assign(found, user, BEGIN, other).arms
        assert [v.why for v in explain(found, user, BEGIN, other)] == ["not targeted"]


def test_an_experiment_runs_from_its_start_until_before_its_stop() -> None:
    found = config(experiments=[experiment(start="2025-12-02", stop="2025-12-04T00:00:00Z")])
    seen = [bool(assign(found, USERS[0], BEGIN + hour * 3_600_000).arms) for hour in (0, 23, 24, 71, 72, 100)]
    assert seen == [False, False, True, True, False, False]
    assert explain(found, USERS[0], BEGIN)[0].why == "not started"
    assert explain(found, USERS[0], BEGIN + 4 * DAY)[0].why == "stopped"


def test_a_ramp_only_adds_listeners_and_nobody_changes_arms() -> None:
    steps = [{"at": f"2025-12-0{i + 1}", "share": s} for i, s in enumerate((0.01, 0.1, 0.5, 1.0))]
    found = config(experiments=[experiment(ramp=steps)])
    assert not any(assign(found, user, BEGIN - 1).arms for user in USERS)
    before: dict[str, str] = {}
    for day, wanted in enumerate((0.01, 0.1, 0.5, 1.0)):
        now = {u: a for u in USERS if (a := assign(found, u, BEGIN + day * DAY).arms.get("e"))}
        assert before.items() <= now.items()
        assert len(now) / len(USERS) == pytest.approx(wanted, abs=0.03)
        before = now


def test_an_override_wins_over_everything_but_the_end_and_is_marked() -> None:
    tester = USERS[3]
    found = config(
        holdouts=[{"name": "h", "salt": "h", "share": 0.99}],
        overrides=[{"unit": tester, "experiment": "e", "arm": "b", "until": "2025-12-20"}],
        experiments=[
            experiment(start="2025-12-10", stop="2025-12-30", targeting={"tier": "premium"}, coverage=0.0)
        ],
    )
    early = assign(found, tester, BEGIN)
    assert (early.arms["e"], early.overridden) == ("b", ("e",))
    assert not assign(found, tester, BEGIN + 25 * DAY).overridden, "it has an end of its own"
    assert assign(found, USERS[4], BEGIN + 10 * DAY).overridden == ()
    assert explain(found, tester, BEGIN)[0].why == "override"


def test_a_tester_sees_the_arm_that_was_asked_for_whatever_else_they_are_in() -> None:
    def half(name: str, start: float, epsilon: float) -> dict[str, Any]:
        arm = {"name": "a", "weight": 1.0, "release": name, "parameters": {"home.epsilon": epsilon}}
        return experiment(name, layer={"name": "l", "start": start, "end": start + 0.5}, arms=[arm])

    for forced in ("one", "two"):
        found = config(
            layers=[{"name": "l"}],
            experiments=[half("one", 0.0, 0.1), half("two", 0.5, 0.2)],
            overrides=[{"unit": user, "experiment": forced, "arm": "a"} for user in USERS[:20]],
        )
        for user in USERS[:20]:
            given = assign(found, user, BEGIN)
            assert (given.release, given.overridden) == (forced, (forced,))
            assert given.parameters == {"home.epsilon": {"one": 0.1, "two": 0.2}[forced]}


def test_units_other_than_listeners_are_placed_by_their_own_id() -> None:
    found = config(experiments=[experiment("s", unit="session"), experiment("t", unit="artist", salt="t2")])
    assert assign(found, USERS[0], BEGIN).arms == {}
    assert {str(assign(found, USERS[0], BEGIN, session=f"s{i}").arms.get("s")) for i in range(50)} == {
        "a",
        "b",
    }
    artists = [f"artist-{i}" for i in range(200)]
    bulk = assign_many(found, artists, BEGIN, unit="artist")
    assert set(bulk) == {"t"}
    assert ["ab"[i] for i in bulk["t"]] == [arm_of(found, "t", {"artist": a}, BEGIN).arm for a in artists]


@pytest.mark.parametrize("kind", list(Hash))
def test_places_are_uniform_over_a_thousand_salts(kind: Hash) -> None:
    """χ² of 20 equal bins under each salt: none is extreme, and p-values are uniform themselves (Kolmogorov–Smirnov).

    The latter asks for salts that are independent of each other, which those of GrowthBook's version 1 are not.
    """
    cheap = kind in (Hash.GROWTHBOOK_1, Hash.GROWTHBOOK_2)
    salts, units = 1_000 if cheap else 100, Units.of([f"listener-{i:x}" for i in range(4_000)])
    values = []
    for i in range(salts):
        counts = np.bincount(slots(kind, f"salt-{i}", units) * 20 // kind.steps, minlength=20)
        values.append(float(stats.chisquare(counts).pvalue))
    assert min(values) > 1e-3 / salts
    assert kind is Hash.GROWTHBOOK_1 or stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in Hash if kind is not Hash.GROWTHBOOK_1])
def test_places_of_many_numbered_units_are_uniform_over_a_thousand_salts(kind: Hash) -> None:
    values = uniformity(kind, [f"{i:022d}" for i in range(20_000)], 1_000)
    assert min(values) > 1e-3 / 1_000
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.slow
def test_the_older_hash_is_uniform_on_random_ids() -> None:
    draw = random.Random(5)
    values = uniformity(
        Hash.GROWTHBOOK_1, ["".join(draw.choices("aZ09bYx", k=22)) for _ in range(20_000)], 1_000
    )
    assert min(values) > 1e-3 / 1_000


def test_the_older_hash_is_not_uniform_on_numbered_ids() -> None:
    """A reason to leave version 1 to systems that need it: consecutive ids are spread unevenly under some salts."""
    numbered = [f"{i:022d}" for i in range(20_000)]
    assert min(uniformity(Hash.GROWTHBOOK_1, numbered, 20)) < 1e-6
    assert min(uniformity(Hash.GROWTHBOOK_2, numbered, 20)) > 1e-4


def uniformity(kind: Hash, ids: list[str], salts: int) -> list[float]:
    """p-values of the χ² test of 100 equal bins under each of some salts."""
    units = Units.of(ids)
    bins = [slots(kind, f"salt-{i}", units) * 100 // kind.steps for i in range(salts)]
    return [float(stats.chisquare(np.bincount(b, minlength=100)).pvalue) for b in bins]


def test_layers_divide_listeners_independently_of_each_other() -> None:
    """Every pair of twenty layers whose names differ by a digit: χ² of the 10 × 10 table, corrected for 190 tests."""
    units = Units.of([f"{i:022d}" for i in range(20_000)])
    kind = Layer(name="layer-1").hash
    places = [slots(kind, f"layer-{i}", units) // 1_000 for i in range(20)]
    values = [dependence(a, b) for i, a in enumerate(places) for b in places[:i]]
    assert min(values) > 0.001 / len(values)
    assert stats.kstest(values, "uniform").pvalue > 1e-4


def test_the_older_hash_would_not_divide_them_independently() -> None:
    """Why layers do not use GrowthBook's namespaces: names that differ in the last character give related places."""
    units = Units.of([f"{i:022d}" for i in range(20_000)])
    one, two = (slots(Hash.GROWTHBOOK_1, f"__layer-{i}", units) // 100 for i in (1, 2))
    assert dependence(one, two) < 1e-50


def dependence(a: Any, b: Any) -> float:
    return float(stats.chi2_contingency(np.histogram2d(a, b, 10)[0]).pvalue)


def test_arms_are_independent_of_the_layer_slice_and_of_other_experiments() -> None:
    units = Units.of([f"{i:022d}" for i in range(50_000)])
    layer = slots(Layer(name="ranking").hash, "ranking", units)
    inside = layer < 3_000
    arms = slots(Hash.GROWTHBOOK_2, "ranker-1", units)[inside]
    other = slots(Hash.GROWTHBOOK_2, "ranker-2", units)[inside]
    assert stats.chisquare(np.bincount(arms // 1_000, minlength=10)).pvalue > 1e-4
    assert dependence(arms // 1_000, other // 1_000) > 1e-4


def test_tables_hold_since_their_step(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        "experiments:\n"
        "  - name: e\n"
        "    salt: s\n"
        "    coverage: 0.5\n"
        "    weight_changes: [{at: 2025-12-02, weights: {a: 0.7, b: 0.3}}]\n"
        "    arms: [{name: a, weight: 0.5}, {name: b, weight: 0.5}]\n"
    )
    (first, before), (since, after) = tables(load(path).running[0])
    assert (first, since) == (0, BEGIN + DAY)
    assert [int((before == i).sum()) for i in (-1, 0, 1)] == [5_000, 2_500, 2_500]
    assert [int((after == i).sum()) for i in (-1, 0, 1)] == [5_000, 3_500, 1_500]
