"""Looks at listener-days while each listener's days keep coming: do sequential methods still keep their promises?

python -m benchmarks.growing_windows                    # about ten minutes of one core
python -m benchmarks.growing_windows --tests 2000       # a quick look

28 days, two arms of 250 listeners, one look a day at most. The estimate at each look is cumulated: metric over
listener-days since first exposure, standard errors clustered by listener (delta method), plain and adjusted for the
14 days before. Beside it: the total a listener so far, whose estimand grows, and each listener's first seven days.
Effects are lifts of all values by a tenth; they follow from the same draws, as the treatment arm is scaled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from benchmarks.growing_worlds import DAYS, F32, PRE, WORLDS, World
from benchmarks.results import write
from experiments.sequential import joint
from experiments.sequential.bounds import Design, bounds
from experiments.sequential.group_rule import GroupSequential
from experiments.sequential.looks import Look
from experiments.sequential.mixture import mixing, radius, tuned
from experiments.sequential.spending import Kind, Spending
from experiments.sequential.stagewise import exceedance

F64 = NDArray[np.float64]
UNITS, ALPHA, LIFT, WINDOW, CHUNK = 250, 0.05, 0.1, 7, 40
TIME = np.arange(1, DAYS + 1) / DAYS
Z = float(norm.isf(ALPHA / 2))
FAR = 60.0
RATIO, CUPED, TOTAL, FIRST = "a listener-day", "a listener-day, CUPED", "total so far", "first 7 days"


@dataclass(frozen=True)
class Course:
    """One estimator in many tests: each arm's value and its variance, (tests, days, arms); not a number where there is
    none yet."""

    value: F64
    variance: F64

    def effects(self, lift: float = 0.0) -> tuple[F64, F64]:
        """Treatment minus control and standard error, (tests, days), if all that is treated were so much higher."""
        scale = np.array([1.0, 1 + lift])
        return (self.value * scale) @ [-1.0, 1.0], np.sqrt((self.variance * scale**2).sum(-1))

    def law(self) -> F64:
        """The correlation (days, days) of the estimates without an effect."""
        return np.asarray(np.corrcoef(self.effects()[0].T), np.float64)

    def truth(self, lift: float) -> F64:
        """The effect on each day (days,): the lift of what all tests together say."""
        return np.asarray(lift * self.value.mean(axis=(0, 2)), np.float64)


def courses(world: World, tests: int, seed: int, units: int = UNITS) -> dict[str, Course]:
    """All estimators over all days."""
    rng = np.random.default_rng(seed)
    parts = [_chunk(world, rng, (min(CHUNK, tests - start), 2, units)) for start in range(0, tests, CHUNK)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: Course(found[..., 0], found[..., 1]) for name, found in whole.items()}


def _chunk(world: World, rng: np.random.Generator, shape: tuple[int, int, int]) -> dict[str, F64]:
    before, total, days, first = (np.zeros(shape, np.float32) for _ in range(4))
    out: dict[str, list[F64]] = {name: [] for name in (RATIO, CUPED, TOTAL, FIRST)}
    for day, (value, here) in zip(range(-PRE, DAYS), world(rng, shape), strict=True):
        if day < 0:
            before += value / np.float32(PRE)
            continue
        total += value * here
        days += here
        first += value * here * (days <= WINDOW)
        out[RATIO].append(ratio(total, days))
        out[CUPED].append(ratio(total, days, before))
        out[TOTAL].append(ratio(total, (days > 0).astype(np.float32)))
        whole = (days >= WINDOW).astype(np.float32)
        out[FIRST].append(ratio(first * whole, whole))
    return {name: np.stack(found, axis=1) for name, found in out.items()}


def ratio(above: F32, below: F32, covariate: F32 | None = None) -> F64:
    """Sums over units of `above` over those of `below`, value and variance (tests, arms, 2), by the delta method;
    units whose `below` is 0 are not there yet. A covariate has its own slope in each arm."""
    there = (below > 0).astype(np.float32)
    units, bottom = there.sum(-1, dtype=np.float64), below.sum(-1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = above.sum(-1, dtype=np.float64) / bottom
        rest = above - value[..., None].astype(np.float32) * below
        squares = np.einsum("abn,abn->ab", rest, rest).astype(np.float64)
        scale, free = (units / bottom) ** 2 / units, units - 1
        if covariate is not None:
            centre = (there * covariate).sum(-1, dtype=np.float64) / units
            off = there * (covariate - centre[..., None].astype(np.float32))
            spread = np.einsum("abn,abn->ab", off, off).astype(np.float64)
            slope = np.einsum("abn,abn->ab", rest, off).astype(np.float64) / spread
            both = (centre * units).sum(-1, keepdims=True) / units.sum(-1, keepdims=True)
            value = value - slope * units / bottom * (centre - both)
            squares, free = squares - slope**2 * spread, free - 1
        return np.stack([value, squares / free * scale], axis=-1)


def reach_of(
    kind: Kind, looks: int, se: F64, information: F64 | None = None, correlation: F64 | None = None
) -> F64:
    """How large |z| must be on each day (days,), infinite where there is no look: the rule in calendar time, for tests
    whose standard errors are the average ones; by some `information` (days,) that is taken for granted; or by the
    `correlation` (days, days) of the estimates."""
    at = np.round(np.arange(1, looks + 1) * DAYS / looks).astype(int) - 1
    reach = np.full(DAYS, np.inf)
    if correlation is not None:
        reach[at] = joint.upper_bounds(Design(Spending(kind), ALPHA), correlation[np.ix_(at, at)], TIME[at])
        return reach
    if information is not None:
        reach[at] = bounds(Design(Spending(kind), ALPHA), information[at], TIME[at]).upper
        return reach
    at = at[np.isfinite(se[:, at]).all(axis=0)]
    mean = (se**-2.0).mean(axis=0) ** -0.5
    rule = GroupSequential(calendar=True, spending=kind, alpha=ALPHA)
    taken = rule.taken([Look(2.0 * UNITS, 0.0, float(mean[day]), time=float(TIME[day])) for day in at])
    found = bounds(rule.design, taken.information, taken.fractions, taken.final)
    reach[at[taken.numbers]] = found.upper
    return reach


Reach = Callable[[F64], F64]
KINDS: tuple[Kind, ...] = ("obrien_fleming", "pocock")
GROUPS: dict[str, tuple[Kind, int]] = {
    "O'Brien-Fleming, 4": ("obrien_fleming", 4),
    "O'Brien-Fleming, 14": ("obrien_fleming", 14),
    "Pocock, 4": ("pocock", 4),
    "Pocock, 14": ("pocock", 14),
}
OWN = ", own law"


def rules(se: F64, effect: float, information: F64 | None = None, law: F64 | None = None) -> dict[str, Reach]:
    """|z| that each rule needs on each day, from the standard errors (tests, days); with the estimates' correlation
    (days, days) also that of the group-sequential rules which know it. Mixtures are tuned by the average standard error
    at the end, and by the size of the effect."""

    def group(kind: Kind, looks: int, correlation: F64 | None = None) -> Reach:
        found = reach_of(kind, looks, se, information, correlation)
        return lambda _: found

    last = float(se[:, -1].mean())
    known = {} if law is None else {name + OWN: group(*how, law) for name, how in GROUPS.items()}
    return {
        "z every day": lambda _: np.full(DAYS, Z),
        **{name: group(*how) for name, how in GROUPS.items()},
        **known,
        "always-valid": lambda e: radius(tuned((last / e) ** 2, 1.0, ALPHA), ALPHA),
        "mSPRT": lambda e: radius(mixing(e, effect), ALPHA),
    }


def missed(course: Course, lift: float, truth: F64, found: dict[str, Reach]) -> dict[str, float]:
    """How often each rule leaves the truth (days,) out at one of its looks."""
    effect, se = course.effects(lift)
    z = np.abs(effect - truth) / se
    with np.errstate(invalid="ignore"):
        return {name: float((z > reach(se)).any(axis=1).mean()) for name, reach in found.items()}


def after_stop(course: Course, kind: Kind, own: bool = False) -> dict[str, float]:
    """Coverage of the effect at the stop, of 14 looks: stage-wise adjusted (with `own`, by the estimates' correlation),
    and of one look as if it were planned. What the adjusted intervals hold is found for the average standard errors."""
    effect, se = course.effects(LIFT)
    law, real = course.law(), course.truth(LIFT)
    high = reach_of(kind, 14, se, correlation=law if own else None)
    at = np.flatnonzero(np.isfinite(high))
    mean, over = (se[:, at] ** -2.0).mean(axis=0) ** -0.5, np.abs(effect / se)[:, at] >= high[at]
    stop = np.where(over.any(axis=1), over.argmax(axis=1), len(at) - 1)
    tests = np.arange(len(stop))
    value, error = effect[tests, at[stop]], se[tests, at[stop]]
    ends = np.array(
        [_held(law[np.ix_(at, at)] if own else None, mean, high[at], k, real[at[k]]) for k in range(len(at))]
    )
    inside = (value / error >= ends[stop, 0]) & (value / error <= ends[stop, 1])
    naive = np.abs(value - real[at[stop]]) <= Z * error
    return {
        "adjusted": float(inside.mean()),
        "naive": float(naive.mean()),
        "stopped early": float(over[:, :-1].any(axis=1).mean()),
    }


def _held(law: F64 | None, se: F64, high: F64, k: int, real: float) -> tuple[float, float]:
    """The z at look k between which the adjusted interval holds the real effect."""
    till, drift = slice(0, k + 1), real / se[k]

    def level(z: float) -> float:
        if law is not None:
            return joint.exceedance(law[till, till], se[till], high[till], z, drift)
        return exceedance((se[k] / se[till]) ** 2, high[till], z, drift)

    def crossing(share: float) -> float:
        if level(-FAR) <= share or level(FAR) >= share:
            return -FAR if level(-FAR) <= share else FAR
        return float(brentq(lambda z: level(z) - share, -FAR, FAR, xtol=1e-3))

    return crossing(1 - ALPHA / 2), crossing(ALPHA / 2)


def increments(course: Course) -> dict[str, float]:
    """How far from independent the increments are: Cov(estimate at s, estimate at t) / Var(estimate at t) for s < t,
    which is 1 where they are, at every second day; and the information at half-time, as a share of that at the end."""
    effect, _ = course.effects()
    covariance = np.cov(effect[:, 1::2].T)
    share = (covariance / np.diag(covariance))[np.triu_indices(len(covariance), 1)]
    at_half = covariance[-1, -1] / covariance[len(covariance) // 2 - 1, len(covariance) // 2 - 1]
    return {
        "least": float(share.min()),
        "most": float(share.max()),
        "information at half-time": float(at_half),
    }


def as_the_rule(course: Course, tests: int) -> float:
    """The share of tests in which the rule, which knows only its own standard errors, ends as average bounds say."""
    effect, se = course.effects()
    high = reach_of("pocock", 14, se)
    rule = GroupSequential(calendar=True, spending="pocock", alpha=ALPHA)
    at, same = np.arange(1, DAYS, 2), 0
    for e, s in zip(effect[:tests], se[:tests], strict=True):
        looks = [Look(2.0 * UNITS, float(e[d]), float(s[d]), time=float(TIME[d])) for d in at]
        same += (rule.look(looks).outcome in ("higher", "lower")) == bool((np.abs(e / s) > high).any())
    return same / tests


def figures(tests: int, seed: int) -> dict[str, Any]:
    """Everything that is printed."""
    out: dict[str, Any] = {
        "setting": {"tests": tests, "days": DAYS, "units an arm": UNITS, "lift": LIFT, "seed": seed}
    }
    for number, (name, world) in enumerate(WORLDS.items()):
        found = courses(world, tests, seed + number)
        out[name] = {which: _of(course, tests) for which, course in found.items() if which in (RATIO, CUPED)}
        out[name][TOTAL], out[name][FIRST] = _of_totals(found[TOTAL]), _of_window(found[FIRST])
        print(name, flush=True)
    return out


def larger(tests: int, seed: int) -> dict[str, Any]:
    """False positives with CUPED in the two skewed worlds, if each arm has four times the units."""
    out: dict[str, Any] = {}
    for number, name in enumerate(("permanent level, skewed", "all of it")):
        course = courses(WORLDS[name], tests, seed + number, 4 * UNITS)[CUPED]
        found = rules(course.effects()[1], LIFT, law=course.law())
        out[name] = missed(course, 0.0, np.zeros(DAYS), found)
    return out


def _of(course: Course, tests: int) -> dict[str, Any]:
    truth = course.truth(LIFT)
    law = course.law()
    found, lifted = (rules(course.effects(lift)[1], float(truth[-1]), law=law) for lift in (0.0, LIFT))
    covered = missed(course, LIFT, truth, lifted)
    return {
        "false positives": missed(course, 0.0, np.zeros(DAYS), found),
        "power": missed(course, LIFT, np.zeros(DAYS), lifted),
        "simultaneous coverage": {name: 1 - covered[name] for name in ("always-valid", "mSPRT")},
        "after a stop": {kind: after_stop(course, kind) for kind in KINDS}
        | {"pocock" + OWN: after_stop(course, "pocock", own=True)},
        "increments": increments(course),
        "the rule itself agrees": as_the_rule(course, min(50, tests)),
    }


def _of_totals(course: Course) -> dict[str, Any]:
    """Totals so far, with the information that equal steps in time would bring; to be covered is the last effect."""
    truth = course.truth(LIFT)
    found, lifted = (rules(course.effects(lift)[1], float(truth[-1]), TIME) for lift in (0.0, LIFT))
    covered = missed(course, LIFT, np.full(DAYS, truth[-1]), lifted)
    return {
        "false positives": missed(course, 0.0, np.zeros(DAYS), found),
        "simultaneous coverage of the effect at the end": {
            n: 1 - covered[n] for n in ("always-valid", "mSPRT")
        },
        "increments": increments(course),
    }


def _of_window(course: Course) -> dict[str, Any]:
    """Each unit's first seven days, counted when they are over."""
    rest = Course(course.value[:, WINDOW - 1 :], course.variance[:, WINDOW - 1 :])
    truth = float(rest.truth(LIFT)[-1])
    found, lifted = (rules(course.effects(lift)[1], truth) for lift in (0.0, LIFT))
    covered = missed(course, LIFT, np.full(DAYS, truth), lifted)
    return {
        "false positives": missed(course, 0.0, np.zeros(DAYS), found),
        "power": missed(course, LIFT, np.zeros(DAYS), lifted),
        "simultaneous coverage": {name: 1 - covered[name] for name in ("always-valid", "mSPRT")},
    }


def show(found: dict[str, Any]) -> None:
    """Prints every part as a table in Markdown, a row per world."""
    for which in (RATIO, CUPED, TOTAL, FIRST):
        parts = found[next(iter(WORLDS))][which]
        for part in (name for name, value in parts.items() if isinstance(value, dict)):
            rows = {world: _flat(found[world][which][part]) for world in WORLDS}
            names = list(next(iter(rows.values())))
            print(f"\n{which}: {part}\n\n| world | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
            for world, row in rows.items():
                print(f"| {world} | {' | '.join(row.values())} |")


def _flat(part: dict[str, Any]) -> dict[str, str]:
    if any(isinstance(value, dict) for value in part.values()):
        return {f"{a}, {b}": f"{v:.1%}" for a, inner in part.items() for b, v in inner.items()}
    shown = part.items()
    return {a: f"{v:.2f}" if "least" in part else f"{v:.1%}" for a, v in shown}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=70)
    parser.add_argument("--larger", action="store_true", help="only the skewed worlds, four times the units")
    given = parser.parse_args()
    if given.larger:
        found = larger(given.tests, given.seed)
        print(found, write("growing_windows-larger", found))
        return
    found = figures(given.tests, given.seed)
    show(found)
    print(write("growing_windows" if given.tests >= 20_000 else f"growing_windows-{given.tests}", found))


if __name__ == "__main__":
    main()
