"""Separation, seams and shares as list effects: laws over random small lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.separation import STEPS, TIERS, Gaps, Names, Separation
from recsys.shares import Shares
from recsys.slate import Problem, Rules, Shelf, fill, propensities
from recsys.titles import title_key
from recsys.transitions import NEUTRAL, Smooth, Sound

GAPS = Gaps(artist=3, album=5, title=8)


def names(draw: st.DrawFn, n: int, artists: int) -> Names:
    number = st.integers(-1, artists - 1)
    columns = [draw(st.lists(number, min_size=n, max_size=n)) for _ in range(3)]
    return Names(*(np.array(c, np.int64) for c in columns))


@st.composite
def lists(draw: st.DrawFn) -> tuple[Separation, Problem]:
    n, before = draw(st.integers(1, 30)), draw(st.integers(0, 10))
    own, earlier = names(draw, n, 12), names(draw, before, 12)
    tier = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), np.int64)
    effect = Separation(own, earlier, tier, GAPS)
    utility = np.array(draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n)))
    shelf = Shelf("radio", draw(st.integers(1, 12)), np.ones(n, bool))
    rules = Rules(artist_cap_shelf=0, artist_cap_slate=0)
    return effect, Problem(np.arange(n), utility, own.artist, (shelf,), rules, effects=(effect,))


def broken(effect: Separation, rows: list[int], row: int) -> set[str]:
    """The steps that placing `row` after `rows` needs, found by brute force."""
    out = {TIERS[effect.tier[row]]} - {""}
    for name in ("artist", "album", "title"):
        own = getattr(effect.own, name)
        line = [*getattr(effect.before, name).tolist(), *own[rows].tolist()]
        if own[row] >= 0 and own[row] in line[max(len(line) - getattr(GAPS, name), 0) :]:
            out.add(f"{name}_gap")
    return out


@given(lists(), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_a_rule_is_given_up_only_where_no_candidate_keeps_the_rules_before_it(
    made: tuple[Separation, Problem], seed: int
) -> None:
    effect, problem = made
    slots = fill(problem, EpsilonGreedy(0.3), seed)
    assert len(slots) == min(problem.shelves[0].size, len(problem.ids))
    rows, used = [], set()
    for slot in slots:
        left = [r for r in range(len(problem.ids)) if r not in rows]
        worst = {r: max((STEPS.index(s) for s in broken(effect, rows, r)), default=-1) for r in left}
        assert worst[slot.row] == min(worst.values())
        used |= broken(effect, rows, slot.row)
        rows.append(slot.row)
    assert set(effect.relaxed(slots)) == used


@given(lists(), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_propensities_stay_exact_under_separation(made: tuple[Separation, Problem], seed: int) -> None:
    policy = EpsilonGreedy(0.3)
    slots = fill(made[1], policy, seed)
    along = propensities(made[1], policy, seed, [slot.row for slot in slots])
    assert [float(p[s.row]) for p, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
    assert all(abs(p.sum() - 1) < 1e-9 for p in along)


def test_half_and_double_tempo_and_the_relative_minor_are_near() -> None:
    sound = Sound(
        tempo=np.log2(np.array([70, 140, 100, np.nan], np.float32)),
        key=np.array([0, 0, 6, np.nan], np.float32),
        mode=np.array([1, 0, 1, np.nan], np.float32),
        energy=np.array([0, 0.2, 2.5, np.nan], np.float32),
    )
    tempo, key, energy = sound.take(np.array([1, 2, 3])).parts(sound.take(np.array([0])))
    assert tempo[0] < 1e-6 < 0.9 < tempo[1]
    assert key[0] == np.float32(1 / 6)
    assert key[1] == 1
    assert energy[0] == np.float32(0.1)
    assert [tempo[2], key[2], energy[2]] == [NEUTRAL] * 3


def test_the_nearest_sounding_of_equals_comes_next() -> None:
    sound = Sound(*(np.array([0, 3, 1, 0.1], np.float32) / 4 for _ in range(4)))
    effect = Smooth(sound.take(np.arange(1, 4)), before=sound.take(np.array([0])), weight=1.0)
    shelf = Shelf("radio", 3, np.ones(3, bool))
    rules = Rules(artist_cap_shelf=0, artist_cap_slate=0)
    problem = Problem(np.arange(1, 4), np.zeros(3), np.arange(3), (shelf,), rules, effects=(effect,))
    assert [slot.row for slot in fill(problem, EpsilonGreedy(0), 1)] == [2, 1, 0]


@given(st.lists(st.integers(0, 3), min_size=20, max_size=60), st.floats(0, 1), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_a_group_keeps_its_share_while_others_are_left(groups: list[int], cap: float, size: int) -> None:
    group = np.array(groups)
    utility = np.where(group == 0, 1.0, 0.0)
    rules = Rules(artist_cap_shelf=0, artist_cap_slate=0)
    shelf = Shelf("radio", size, np.ones(len(group), bool))
    effects = (Shares(group, {0: cap}),)
    problem = Problem(np.arange(len(group)), utility, group, (shelf,), rules, effects=effects)
    placed = [int(group[slot.row]) for slot in fill(problem, EpsilonGreedy(0), 1)]
    for end in range(1, len(placed) + 1):
        others_left = (group != 0).sum() > (np.array(placed[:end]) != 0).sum()
        if others_left and placed[end - 1] == 0:
            assert placed[:end].count(0) <= cap * end + 0.5


def test_versions_of_a_song_have_one_key_and_songs_have_their_own() -> None:
    same = [
        "Alright",
        "Alright (Live at the Roxy)",
        "Alright - 2011 Remaster",
        "ALRIGHT [Acoustic Version]",
        "Alright (feat. Ada Vento) - Radio Edit",
        "Alright ft. Kite & Anchor",
        "Álright \u2013 Remastered 2009",
    ]
    assert {title_key(title) for title in same} == {"alright"}
    own = [
        "Alright, Pt. 2",
        "Live",
        "Live Forever",
        "Ночной поезд",
        "夜のバス",
        "夜のハス",
        "!!!",
        "Mixed Emotions",
    ]
    keys = {title_key(title) for title in own}
    assert len(keys) == len(own)
    assert "" not in keys
    assert title_key(None) == title_key("") == ""


@given(st.text(st.characters(categories=("L", "Nd")), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_title_has_a_key_and_shares_it_with_its_live_version(title: str) -> None:
    assert title_key(title)
    assert title_key(title + " (Live)") == title_key(title + " - Remastered 2009") == title_key(title)
