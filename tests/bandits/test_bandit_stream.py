"""Rewards that come late, twice or never; state that survives a crash, and files that are refused."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from tests_events import event, play

from bandits.bandit import Bandit
from bandits.bootstrap import BootstrapModel, BootstrapSettings
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings
from bandits.neural_linear import NeuralLinear, NeuralLinearSettings
from bandits.rules import Thompson
from bandits.state import load, load_with, save, version
from bandits.stream import Inbox
from recsys.errors import BadInput
from recsys.schemas import EVENTS

HOUR = 3_600_000
T0 = 1_780_000_000_000
D = 3


def frame(*bodies: dict) -> pl.DataFrame:
    rows = [{**b, "ts": datetime.fromisoformat(b["ts"]), "schema_version": 1} for b in bodies]
    columns = {name: [row.get(name) for row in rows] for name in EVENTS}
    columns["ts"] = [row["ts"].astimezone(UTC) for row in rows]
    return pl.DataFrame(columns, schema=EVENTS)


def seen(request: str, track: str, at: int, position: int = 0) -> dict:
    return event("impression", "u", track, at, request_id=request, surface="home", position=position)


def finished(request: str, track: str, at: int) -> dict:
    return play("u", track, at + 200_000, 200_000, "trackdone", request_id=request)


def skipped(request: str, track: str, at: int) -> dict:
    return play("u", track, at + 5_000, 5_000, "fwdbtn", request_id=request)


def story(n: int = 12) -> tuple[list[tuple], list[dict]]:
    """n decisions an hour apart, and what listeners did: finish, skip, look only, or not even that."""
    rng = np.random.default_rng(3)
    decisions, events = [], []
    for i in range(n):
        at, request, tracks = T0 + i * HOUR, f"r{i}", [f"t{i}a", f"t{i}b", f"t{i}c"]
        decisions.append(("u", request, at, tracks, rng.normal(size=(3, D)), rng.integers(0, 2, 3)))
        if i % 4 == 3:
            continue
        events += [seen(request, t, at + 10, p) for p, t in enumerate(tracks[:2])]
        if i % 4 < 2:
            events.append((finished if i % 4 == 0 else skipped)(request, tracks[0], at + 1_000))
    return decisions, events


def inbox() -> Inbox:
    return Inbox(D, window_ms=2 * HOUR, patience_ms=HOUR)


def test_seen_slots_get_their_reward_or_zero_and_unseen_ones_say_nothing():
    decisions, events = story()
    box = inbox()
    for d in decisions:
        box.decided(*d)
    box.events(frame(*events))
    settled = box.settle(T0 + 100 * HOUR)
    assert settled.rewards.tolist() == [1.0, 0.0, -0.5, 0.0, 0.0, 0.0] * 3
    assert settled.position.tolist() == [0, 1] * 9
    assert settled.slate.tolist() == [s for i in range(12) if i % 4 != 3 for s in (i, i)]
    assert settled.unseen == 12 * 3 - 18
    np.testing.assert_allclose(settled.contexts[2:4], decisions[1][4][:2])
    assert settled.arms[2:4].tolist() == decisions[1][5][:2].tolist()
    assert settled.when[2] == T0 + HOUR
    assert len(set(settled.keys.tolist())) == 18
    assert len(box) == 0


def test_a_decision_waits_until_its_window_and_patience_are_over():
    box = inbox()
    box.decided("u", "r", T0, ["a"], np.ones((1, D)))
    box.events(frame(seen("r", "a", T0 + 5)))
    assert len(box.settle(T0 + 3 * HOUR - 1).rewards) == 0
    box.events(frame(finished("r", "a", T0 + HOUR)))  # late, but in time
    assert box.settle(T0 + 3 * HOUR).rewards.tolist() == [1.0]


@pytest.mark.parametrize("half_life", [0.0, 5.0 * HOUR])
def test_batches_in_any_order_and_again_teach_what_one_pass_teaches(half_life):
    decisions, events = story()
    rng = np.random.default_rng(0)
    config = LinearSettings(dim=D, arms=2, half_life=half_life)
    once, box = LinearModel(config), inbox()
    for d in decisions:
        box.decided(*d)
    box.events(frame(*events))
    once.partial_fit(**box.settle(T0 + 100 * HOUR).observations())
    pieces, box = LinearModel(config), inbox()
    for step in range(20):
        for d in (decisions[step - 1], decisions[step]) if 0 < step < 12 else decisions[step : step + 1]:
            box.decided(*d)
        arrived = [
            e for e in events if datetime.fromisoformat(e["ts"]).timestamp() * 1000 <= T0 + step * HOUR
        ]
        box.events(frame(*[arrived[i] for i in rng.permutation(len(arrived))]))  # everything so far, again
        pieces.partial_fit(**box.settle(T0 + step * HOUR).observations())
    probe = rng.normal(size=(5, D))
    np.testing.assert_allclose(pieces.mean(probe), once.mean(probe), atol=1e-12)
    assert pieces.clock.seen == once.clock.seen == 18


def test_a_crash_counts_nothing_twice_and_loses_nothing(tmp_path):
    decisions, events = story()
    config = LinearSettings(dim=D, arms=2)
    whole, box = LinearModel(config), inbox()
    file = tmp_path / "bandit.npz"
    for d in decisions:
        box.decided(*d)
    box.events(frame(*events))
    halfway = T0 + 8 * HOUR
    whole.partial_fit(**box.settle(halfway).observations())
    box.offset = 41
    save(file, whole, box.arrays())
    whole.partial_fit(**box.settle(T0 + 100 * HOUR).observations())  # never saved: the crash

    model, arrays = load_with(file)
    again = inbox()
    again.restore(arrays)
    assert again.offset == 41
    for d in decisions:  # the log is read again from its start
        again.decided(*d)
    again.events(frame(*events))
    assert again.late == 6
    model.partial_fit(**again.settle(T0 + 100 * HOUR).observations())
    probe = np.eye(D)
    np.testing.assert_allclose(model.mean(probe), whole.mean(probe), atol=1e-12)
    assert model.clock.seen == whole.clock.seen


def test_events_of_settled_decisions_are_let_go():
    decisions, events = story()
    box = inbox()
    for d in decisions:
        box.decided(*d)
    box.events(frame(*events))
    box.settle(T0 + 100 * HOUR)
    assert len(box.arrays()["contexts"]) == 0
    assert pl.read_ipc(box.arrays()["events"].tobytes()).is_empty()


def test_decisions_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="one of each"):
        inbox().decided("u", "r", T0, ["a", "b"], np.ones((1, D)))


def learned(kind: type, config: type):
    rng = np.random.default_rng(1)
    model = kind(config(dim=D, arms=2, half_life=30.0, basis="release 7"))
    return model.partial_fit(rng.normal(size=(50, D)), rng.integers(0, 2, 50), rng.integers(0, 2, 50))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (LinearModel, LinearSettings),
        (LogisticModel, LogisticSettings),
        (BootstrapModel, BootstrapSettings),
        (NeuralLinear, NeuralLinearSettings),
    ],
)
def test_a_state_comes_back_exactly_and_goes_on_learning(tmp_path, kind, config):
    model, file = learned(kind, config), tmp_path / "deep" / "state.npz"
    name = save(file, model)
    again = load(file, basis="release 7")
    assert type(again) is kind
    assert name == version(model) == version(again)
    rng = np.random.default_rng(2)
    x, arms, y = rng.normal(size=(9, D)), rng.integers(0, 2, 9), rng.integers(0, 2, 9)
    probe = Bandit(model, Thompson()).distribution(x, 5)
    np.testing.assert_array_equal(Bandit(again, Thompson()).distribution(x, 5), probe)
    model.partial_fit(x, arms, y)
    assert version(model) != name
    again.partial_fit(x, arms, y)
    assert version(again) == version(model)


def refusal(file) -> str:
    """Why a state is refused; empty where it is read."""
    try:
        load(file)
    except BadInput as reason:
        return str(reason)
    return ""


def test_damaged_foreign_and_stale_states_are_refused_in_words(tmp_path):
    file = tmp_path / "state.npz"
    name = save(file, learned(LinearModel, LinearSettings))
    good = file.read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:cut])
        with pytest.raises(BadInput, match="cannot be read"):
            load(file)
    refused = 0
    for at in range(0, len(good), 61):  # every kind of byte: of the container, a name, a header, a number
        file.write_bytes(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :])
        said = refusal(file)
        assert said or version(load(file)) == name  # a byte that says nothing, like a date in the container
        assert not said or "state.npz" in said
        refused += bool(said)
    assert refused > len(good) / 61 / 2
    file.write_bytes(good)
    with pytest.raises(BadInput, match="release 8"):
        load(file, basis="release 8")
    with pytest.raises(BadInput, match="there is no"):
        load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / "other.npz")


def test_numbers_altered_inside_a_well_formed_file_are_noticed(tmp_path):
    file = tmp_path / "state.npz"
    save(file, learned(LinearModel, LinearSettings))
    with np.load(file) as opened:
        arrays = dict(opened)
    arrays["model.moment"] = arrays["model.moment"] + 1e-9
    np.savez(file, **arrays)
    with pytest.raises(BadInput, match="altered"):
        load(file)
