"""The release gate: a challenger becomes champion only when every stage passes, in order; else it is rolled back.

    begin(home, "3", GateSettings(), now)        # a run with a folder of its own, home/gate/NAME
    state = step(home, "release-3", now)         # as far as the data of now allow; again later, until it has ended
    state.status, state.rule, state.sentence

Everything that a step decides follows from the state file, the home's lake and `now`, and is written before it is
done; a step that was killed is done again by the next one. docs/gate.md says what each stage checks, and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from pathlib import Path

from recsys.engines import open_store
from recsys.errors import BadInput, RecsysError, ReleaseRefused, UnknownId
from recsys.files import alone
from recsys.home import Home
from recsys.ingest import caught_up
from recsys.lake import Lake
from recsys.release import read_manifest
from serving import shadow
from serving.fleet import Loader
from serving.gating import canary, off_policy, offline, shadowed, smoke, trial
from serving.gating.record import STAGES, Check, Stage, State, Status, stage
from serving.gating.settings import GateSettings
from serving.gating.trial import Plan
from serving.gating.units import units_of
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.registry import CHALLENGER, CHAMPION, Registry
from serving.settings import ServiceSettings

Say = Callable[[str], None]
_NAME = re.compile(r"(?!shadow\.json$)[A-Za-z0-9][A-Za-z0-9_.-]{0,58}")


def folder(home: Home, name: str) -> Path:
    """Where a run keeps its state and its report."""
    return home.root / "gate" / name


def names(home: Home) -> list[str]:
    """The runs of a home, newest first."""
    found = (home.root / "gate").glob("*/state.json")
    return [path.parent.name for path in sorted(found, key=lambda p: -p.stat().st_mtime_ns)]


def read(home: Home, name: str) -> State:
    """The state of a run.

    Raises:
        UnknownId: there is no such run.
    """
    path = folder(home, name) / "state.json"
    if not path.exists():
        known = ", ".join(names(home)) or "there is none"
        raise UnknownId(f"no run of the gate is called {name}: {known}")
    return State.read(path)


def begin(home: Home, challenger: str, settings: GateSettings, now: int, name: str | None = None) -> State:
    """Starts a run for a registered release (version or alias); nothing is checked yet.

    Args:
        now: UTC ms.

    Raises:
        UnknownId: no such release, or no champion.
        BadInput: it is the champion itself; another run is under way; or the name is taken.
    """
    with _alone(home):
        return _begin(home, challenger, settings, now, name)


def _begin(home: Home, challenger: str, settings: GateSettings, now: int, name: str | None) -> State:
    registry = Registry(home)
    champion, release = registry.get(CHAMPION), registry.get(challenger)
    if champion.version == release.version:
        raise BadInput(f"release {release.version} is the champion already")
    name = name or f"release-{release.version}"
    if not _NAME.fullmatch(name):
        raise BadInput(f"a run's name is made of letters, digits, dots, dashes and underscores, not {name!r}")
    running = next((n for n in names(home) if read(home, n).ended is None), None)
    if running is not None:
        raise BadInput(
            f"the run {running} is under way: one challenger at a time, for both would share the listeners"
        )
    if (folder(home, name) / "state.json").exists():
        raise BadInput(f"a run is called {name} already: give this one another --name")
    digests = {r.version: _digest(r.folder) for r in (champion, release)}
    state = State(name, champion.version, release.version, digests, settings, now)
    state.stage = _stages(settings)[0]
    _write(home, state)
    return state


def step(
    home: Home, name: str, now: int, served: ServiceSettings | None = None, say: Say = lambda _: None
) -> State:
    """Runs every stage that can be decided with what the home holds by `now` (UTC ms).

    Args:
        served: settings of the service, where not the default ones.
    """
    with _alone(home):
        return _step(home, name, now, served, say)


def _step(home: Home, name: str, now: int, served: ServiceSettings | None, say: Say) -> State:
    state = read(home, name)
    if state.status != "running":
        _settle(home, state, now)
        return state
    moved = _moved(home, state)
    if moved is not None:
        return _end(home, state, "stopped", moved, now)
    caught_up(home)
    loaded = cache(LoadedRelease.load)  # each release once a step
    while state.status == "running":
        own = state.stage
        state.begun.setdefault(own, now)
        _write(home, state)
        found = _look(home, state, now, served, loaded)
        state.found(found)
        say(f"{own}: {found.outcome}")
        if found.outcome == "running":
            _write(home, state)
            break
        if found.stopped_by is not None:
            _end(home, state, "stopped", found.stopped_by, now)
        elif found.outcome == "unclear" and not _goes_on(state.settings, own):
            unclear = next(check for check in found.checks if check.outcome == "unclear")
            _end(home, state, "stopped", unclear, now)
        elif own == "wide":
            _end(home, state, "promoted", found.checks[-1], now)
        else:
            order = _stages(state.settings)
            state.stage = order[order.index(own) + 1]
            _write(home, state)
    return state


def stop(home: Home, name: str, now: int) -> State:
    """Ends a run by hand: the challenger is rolled back."""
    with _alone(home):
        state = read(home, name)
        if state.status == "running":
            _end(home, state, "stopped", Check("gate.by_hand", "stopped", "stopped by a person"), now)
        else:
            _settle(home, state, now)
        return state


def _alone(home: Home) -> AbstractContextManager[None]:
    """One process at a time changes runs: what a person ends stays ended, whoever is in the middle of a step."""
    return alone(home.root / "gate" / ".lock")


def _stages(settings: GateSettings) -> list[str]:
    """The stages that a run has, in order."""
    return [name for name in STAGES if name == "wide" or getattr(settings, name) is not None]


def _goes_on(settings: GateSettings, own: str) -> bool:
    return getattr(getattr(settings, own, None), "unclear", "stop") == "go_on"


def _look(home: Home, state: State, now: int, served: ServiceSettings | None, loaded: Loader) -> Stage:
    """What one stage finds."""
    if state.stage in ("smoke", "offline", "off_policy"):
        return stage(state.stage, now, _before_listeners(home, state, now, served, loaded))
    events = Lake(home.lake).scan("events")
    if state.stage == "shadow":
        settings = state.settings.shadow
        assert settings is not None
        Registry(home).promote(state.challenger, CHALLENGER)
        shadow.point(home, state.challenger, settings.share)
        return stage(
            "shadow", now, shadowed.checks(events, state.challenger, state.begun["shadow"], now, settings)
        )
    return _canary(home, state, now)


def _before_listeners(
    home: Home, state: State, now: int, served: ServiceSettings | None, loaded: Loader
) -> list[Check]:
    settings, registry = state.settings, Registry(home)
    try:
        ours, theirs = (loaded(registry.folder(v)) for v in (state.champion, state.challenger))
    except ReleaseRefused as error:
        return [Check("smoke.loads", "stopped", str(error))]
    if state.stage == "offline":
        assert settings.offline is not None
        return [offline.check(home, ours, theirs, settings.offline, settings.seed)]
    champion, challenger = (Recommender(release, served) for release in (ours, theirs))
    if state.stage == "off_policy":
        assert settings.off_policy is not None
        return [
            off_policy.stage_check(
                home, challenger, state.champion, ours.items, settings.off_policy, now, served
            )
        ]
    assert settings.smoke is not None
    store = open_store(home)
    try:
        asked = smoke.queries(store, settings.smoke.queries, now, settings.seed)
    finally:
        store.close()
    loads = Check("smoke.loads", "passed", f"{len(theirs.manifest.files)} files have their digests")
    return [loads, *smoke.checks(champion, challenger, asked, settings.smoke)]


def _canary(home: Home, state: State, now: int) -> Stage:
    """Both parts of the canary: the plan is written down, then put among the experiments, then judged."""
    settings = state.settings.canary
    if not state.plan:
        shadow.point(home, None)
        Registry(home).promote(state.challenger, CHALLENGER)
        before = state.of("off_policy")
        unsure = before is not None and before.outcome == "unclear"
        state.plan = vars(_plan(state, now, settings.share / 2 if unsure else settings.share))
        _write(home, state)
    plan = Plan(**state.plan)
    trial.write(home, plan, f"gate {state.name}: {state.stage}", now)
    frame, counts = units_of(Lake(home.lake).scan("events"), plan, now, settings)
    found = canary.judge(frame, counts, plan.day.date(), state.settings)
    series = {name: [vars(point) for point in points] for name, points in found.points.items()}
    checks = found.checks
    if found.verdict in ("stopped", "better", "not_shown"):
        # The goal alone promotes, even where it is shown before the canary has grown.
        told = [c for c in checks if c.outcome == "passed"] if found.verdict == "better" else checks
        return stage(state.stage, now, told, series)
    if state.stage == "canary" and found.safe and _days(plan, now) >= settings.days:
        state.plan = vars(replace(plan, wide=now))
        _write(home, state)
        trial.write(home, Plan(**state.plan), f"gate {state.name}: wider", now)
        return Stage("canary", "passed", now, checks, series)
    if _days(plan, now) > settings.most_days:
        said = f"{settings.most_days} days are over, and too few units came to judge by"
        return stage(state.stage, now, [*checks, Check("canary.too_little", "stopped", said)], series)
    return Stage(state.stage, "running", now, checks, series)


def _plan(state: State, now: int, share: float) -> Plan:
    own = state.settings.canary
    return Plan(
        state.name,
        state.challenger,
        state.champion,
        now,
        share,
        own.wide_share,
        own.most_days,
        own.looks,
        state.settings.alpha,
    )


def _days(plan: Plan, now: int) -> int:
    """Days (UTC) of the canary that are over."""
    return (now // 86_400_000) - (plan.start // 86_400_000)


def _moved(home: Home, state: State) -> Check | None:
    """Whether the releases are still those that the run compares."""
    try:
        champion = Registry(home).get(CHAMPION).version
        if champion != state.champion:
            said = f"release {champion} is champion by now, and {state.challenger} was compared with {state.champion}"
            return Check("gate.champion_moved", "stopped", said)
        for version, digest in state.digests.items():
            if _digest(Registry(home).folder(version)) != digest:
                return Check(
                    "gate.release_changed", "stopped", f"release {version} is not what it was at the start"
                )
    except RecsysError as error:
        return Check("gate.release_gone", "stopped", str(error))
    return None


def _digest(place: Path) -> str:
    return read_manifest(place).digest


def _end(home: Home, state: State, status: Status, check: Check, now: int) -> State:
    """Writes the verdict, then acts on it: a kill between the two is made good by the next step."""
    state.status, state.rule, state.sentence = status, check.rule, check.sentence
    _write(home, state)
    _settle(home, state, now)
    return state


def _settle(home: Home, state: State, now: int) -> None:
    """Everybody back to the champion, or the challenger made champion; done twice it changes nothing more."""
    if state.ended is not None:
        return
    shadow.point(home, None)
    registry = Registry(home)
    if state.status == "promoted" and registry.get(CHAMPION).version != state.challenger:
        registry.promote(state.challenger)
    if state.plan:
        plan = Plan(**state.plan)
        plan = plan if plan.stopped is not None else replace(plan, stopped=max(now, plan.start + 1))
        trial.write(home, plan, f"gate {state.name}: {state.status}", now)
        state.plan = vars(plan)
    state.ended = now
    _write(home, state)


def _write(home: Home, state: State) -> None:
    state.write(folder(home, state.name) / "state.json")
