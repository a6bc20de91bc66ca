"""Do sequential methods keep their promises? False positives, power, coverage and sample-ratio alarms, by simulation.

python -m benchmarks.sequential                       # about eight minutes of one core, 180 MB
python -m benchmarks.sequential --streams 2000        # a quick look

The setting: 10,000 units in two equal arms, sd 1 (estimated, as in life), 100 equal looks, effect 0 or .05 sd.
Normal streams are drawn through their sufficient statistics, which have the exact law of unit-level data; skewed
ones unit by unit (log-normal, skewness 6). Beside each simulated figure stands the integrated one where there is one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.results import table, write
from experiments.sequential.bounded import share_difference
from experiments.sequential.bounds import Bounds, Design, bounds
from experiments.sequential.brownian import exits
from experiments.sequential.mixture import mixing, radius, tuned
from experiments.sequential.sample_ratio import chi_square_p, concentration_for, exact_p, log_evidence
from experiments.sequential.spending import Spending
from experiments.sequential.stagewise import adjusted

F64 = NDArray[np.float64]
LOOKS, UNITS, EFFECT, ALPHA = 100, 10_000, 0.05, 0.05
BEST_AT, MIXING_SD = 5000, 0.1
FRACTIONS = np.arange(1, LOOKS + 1) / LOOKS
FOURTEEN = np.round(np.arange(1, 15) * LOOKS / 14).astype(int) - 1
FEW = np.arange(1, 6) * 20 - 1
EVERY = np.arange(LOOKS)
CHUNK = 500
Reach = Callable[[F64], F64]


@dataclass(frozen=True)
class Method:
    """Which looks a method takes and how large |z| must be there, given the standard errors (runs, looks taken)."""

    name: str
    looks: NDArray[np.int_]
    reach: Reach


def _spending(name: str, spending: Spending, looks: NDArray[np.int_]) -> Method:
    upper = bounds(Design(spending, ALPHA), FRACTIONS[looks]).upper
    return Method(name, looks, lambda _: upper)


def methods() -> list[Method]:
    """All that are compared; the first is the wrong one."""
    z = float(norm.isf(ALPHA / 2))
    units, arm = FRACTIONS * UNITS, FRACTIONS * UNITS / 2
    return [
        Method("z at every look", EVERY, lambda _: np.full(LOOKS, z)),
        Method("z once", EVERY[-1:], lambda _: np.full(1, z)),
        _spending("O'Brien-Fleming, 14 looks", Spending(), FOURTEEN),
        _spending("O'Brien-Fleming, 100 looks", Spending(), EVERY),
        _spending("Pocock, 14 looks", Spending("pocock"), FOURTEEN),
        _spending("power family, rho 2, 14 looks", Spending("power", 2.0), FOURTEEN),
        Method("asymptotic sequence", EVERY, lambda _: radius(tuned(units, BEST_AT, ALPHA), ALPHA)),
        Method("mSPRT", EVERY, lambda se: radius(mixing(se, MIXING_SD), ALPHA)),
        Method("t mixture", EVERY, lambda _: radius(tuned(units, BEST_AT, ALPHA), ALPHA, dof=2 * arm - 2)),
    ]


def normal_streams(runs: int, effect: float, seed: int) -> Iterator[tuple[F64, F64]]:
    """Chunks of effects and standard errors, (chunk, looks) each, of normal outcomes with sd 1."""
    rng, each = np.random.default_rng(seed), UNITS // LOOKS // 2
    for start in range(0, runs, CHUNK):
        size = (min(CHUNK, runs - start), LOOKS)
        arms = []
        for mean in (0.0, effect):
            means = mean + rng.normal(size=size) / np.sqrt(each)
            squares = rng.chisquare(each - 1, size) + each * means**2
            arms.append((np.cumsum(each * means, axis=1), np.cumsum(squares, axis=1)))
        yield _difference(arms)


def skewed_streams(runs: int, effect: float, seed: int) -> Iterator[tuple[F64, F64]]:
    """The same of log-normal outcomes, standardised; unit by unit."""
    rng, each = np.random.default_rng(seed), UNITS // LOOKS // 2
    centre, spread = np.exp(0.5), np.sqrt((np.e - 1) * np.e)
    for start in range(0, runs, CHUNK // 2):
        size = (min(CHUNK // 2, runs - start), LOOKS, each)
        arms = []
        for mean in (0.0, effect):
            x = mean + (np.exp(rng.normal(size=size)) - centre) / spread
            arms.append((np.cumsum(x.sum(axis=2), axis=1), np.cumsum((x**2).sum(axis=2), axis=1)))
        yield _difference(arms)


def _difference(arms: list[tuple[F64, F64]]) -> tuple[F64, F64]:
    n = FRACTIONS * UNITS / 2
    means = [total / n for total, _ in arms]
    variances = [(square - n * m * m) / (n - 1) for (_, square), m in zip(arms, means, strict=True)]
    return means[1] - means[0], np.sqrt((variances[0] + variances[1]) / n)


def first_crossings(
    streams: Iterator[tuple[F64, F64]], truth: float = 0.0, least: int = 0
) -> dict[str, NDArray[np.int_]]:
    """How often each method first leaves `truth` out of its interval at each look, (looks,), with the runs that
    never do in the last place; looks before `least` units are not taken."""
    counts = {method.name: np.zeros(LOOKS + 1, np.int_) for method in methods()}
    for effect, se in streams:
        for method in methods():
            taken = method.looks[FRACTIONS[method.looks] * UNITS >= least]
            where = np.isin(method.looks, taken)
            z = np.abs(effect[:, taken] - truth) / se[:, taken]
            over = (
                z > np.broadcast_to(method.reach(se[:, method.looks]), (len(se), len(method.looks)))[:, where]
            )
            first = np.where(over.any(axis=1), taken[over.argmax(axis=1)], LOOKS)
            counts[method.name] += np.bincount(first, minlength=LOOKS + 1)
    return counts


def rates(counts: dict[str, NDArray[np.int_]]) -> dict[str, float]:
    return {name: float(1 - c[-1] / c.sum()) for name, c in counts.items()}


def integrated(drift: float) -> dict[str, float]:
    """The same rates by recursive integration, known variance."""
    se = 2 / np.sqrt(FRACTIONS * UNITS)
    out = {}
    for method in methods():
        high = np.minimum(np.broadcast_to(method.reach(se[method.looks]), method.looks.shape), 9.0)
        out[method.name] = exits(FRACTIONS[method.looks], -high, high, drift).total
    return out


def stage_wise(runs: int, effect: float, spending: Spending, seed: int) -> dict[str, float]:
    """Coverage and bias after five planned looks, stopping at the bounds: adjusted beside naive."""
    found = bounds(Design(spending, ALPHA), FRACTIONS[FEW])
    good, naive, early, means, medians, lower = 0, 0, 0, 0.0, 0.0, 0
    for effects, errors in normal_streams(runs, effect, seed):
        z = effects[:, FEW] / errors[:, FEW]
        over = np.abs(z) >= found.upper
        stop = np.where(over.any(axis=1), over.argmax(axis=1), len(FEW) - 1)
        for row, k in enumerate(stop):
            value, se = effects[row, FEW[k]], errors[row, FEW[k]]
            after = adjusted(found.information[: k + 1], found.upper[: k + 1], value / se)
            good += bool(after.low * se <= effect <= after.high * se)
            naive += bool(abs(value - effect) <= norm.isf(ALPHA / 2) * se)
            early += bool(k < len(FEW) - 1)
            lower += bool(after.estimate * se < effect)
            means, medians = means + value, medians + after.estimate * se
    return {
        "adjusted": good / runs,
        "naive": naive / runs,
        "stopped early": early / runs,
        "naive bias": means / runs - effect,
        "adjusted bias": medians / runs - effect,
        "adjusted below the truth": lower / runs,
    }


def shares(runs: int, seed: int, control: float = 0.02, effect: float = 0.01) -> dict[str, float]:
    """Simultaneous coverage over all looks for a difference of rare shares: exact mixture beside the asymptotic one."""
    rng, n = np.random.default_rng(seed), FRACTIONS * UNITS / 2
    exact = gauss = late = 0
    for start in range(0, runs, CHUNK):
        size = (min(CHUNK, runs - start), LOOKS)
        a, b = (np.cumsum(rng.binomial(int(n[0]), p, size), axis=1) for p in (control, control + effect))
        low, high = share_difference((a, n), (b, n), ALPHA)
        exact += int(((low <= effect) & (effect <= high)).all(axis=1).sum())
        p, q = a / n, b / n
        half = radius(tuned(2 * n, BEST_AT, ALPHA), ALPHA) * np.sqrt((p * (1 - p) + q * (1 - q)) / (n - 1))
        inside = np.abs(q - p - effect) <= half
        gauss += int(inside.all(axis=1).sum())
        late += int(inside[:, n * 2 >= 1000].all(axis=1).sum())
    return {"exact": exact / runs, "asymptotic": gauss / runs, "asymptotic from 1,000 units": late / runs}


def sample_ratio(runs: int, weights: list[float], truth: list[float], seed: int) -> dict[str, float]:
    """How often each check raises the alarm at alpha = .001: once at the end, and at any of 100 looks."""
    rng, w, level = np.random.default_rng(seed), np.array(weights), np.log(1000)
    once = peeking = found = small = 0
    concentration = concentration_for(UNITS)
    exact: dict[tuple[int, ...], float] = {}
    for start in range(0, runs, 10 * CHUNK):
        size = (min(10 * CHUNK, runs - start), LOOKS)
        counts = np.cumsum(rng.multinomial(UNITS // LOOKS, truth, size), axis=1)
        p = chi_square_p(counts, w)
        once += int((p[:, -1] <= 0.001).sum())
        peeking += int((p <= 0.001).any(axis=1).sum())
        found += int((log_evidence(counts, w, concentration) >= level).any(axis=1).sum())
        for row in rng.multinomial(30, truth, size[0]):
            key = tuple(row)
            exact[key] = exact[key] if key in exact else exact_p(row, w)
            small += exact[key] <= 0.001
    return {
        "chi-square once": once / runs,
        "exact once, 30 units": small / runs,
        "chi-square at 100 looks": peeking / runs,
        "sequential at 100 looks": found / runs,
    }


def figures(streams: int, ratio_draws: int, stops: int, seed: int) -> dict[str, Any]:
    """Everything that is printed and drawn."""
    drift = EFFECT / 2 * np.sqrt(UNITS)
    null = first_crossings(normal_streams(streams, 0.0, seed))
    real = rates(first_crossings(normal_streams(streams, EFFECT, seed + 1)))
    skewed = list_rates(streams, seed + 2)
    covered = rates(first_crossings(normal_streams(streams, EFFECT, seed + 3), truth=EFFECT))
    always = ("asymptotic sequence", "mSPRT", "t mixture")
    found_null, found_real = integrated(0.0), integrated(drift)
    return {
        "setting": {"looks": LOOKS, "units": UNITS, "effect": EFFECT, "streams": streams, "seed": seed},
        "false positives": rates(null),
        "false positives, integrated": found_null,
        "false positives, skewed": skewed[0],
        "false positives, skewed, from 1,000 units": skewed[1],
        "power": real,
        "power, integrated": found_real,
        "simultaneous coverage": {name: 1 - covered[name] for name in always},
        "coverage of a difference of shares, .02 and .03": shares(streams // 2, seed + 4),
        "stage-wise": {
            f"{spending.kind}, effect {effect:g}": stage_wise(stops, effect, spending, seed + 5 + i)
            for i, (spending, effect) in enumerate(
                (s, e) for s in (Spending(), Spending("pocock")) for e in (0.0, 0.02, EFFECT)
            )
        },
        "sample ratio, alpha .001": {
            "right, 1:1": sample_ratio(ratio_draws, [0.5, 0.5], [0.5, 0.5], seed + 20),
            "right, 5:3:2": sample_ratio(ratio_draws, [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], seed + 21),
            "52:48 for 1:1": sample_ratio(ratio_draws // 20, [0.5, 0.5], [0.52, 0.48], seed + 22),
        },
        "false positives by look": {name: np.cumsum(c[:-1]) / c.sum() for name, c in null.items()},
    }


def list_rates(streams: int, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """False positives on skewed outcomes, looking from the first 100 units on and from 1,000."""
    return tuple(  # type: ignore[return-value]
        rates(first_crossings(skewed_streams(streams, 0.0, seed), least=least)) for least in (0, 1000)
    )


def show(found: dict[str, Any]) -> None:
    columns = {
        "A/A": "false positives",
        "exact": "false positives, integrated",
        "skewed": "false positives, skewed",
        "from 1,000": "false positives, skewed, from 1,000 units",
        "power": "power",
        "exact power": "power, integrated",
    }
    rows = [[m.name, *(f"{found[c][m.name]:.1%}" for c in columns.values())] for m in methods()]
    table(["method", *columns], rows)
    for part in ("stage-wise", "sample ratio, alpha .001"):
        cases = found[part]
        heads = list(next(iter(cases.values())))
        table([part, *heads], [[n, *(f"{r[h]:.4f}" for h in heads)] for n, r in cases.items()])
    for part in ("simultaneous coverage", "coverage of a difference of shares, .02 and .03"):
        table(list(found[part]), [[f"{v:.2%}" for v in found[part].values()]])


def boundaries() -> dict[str, Bounds]:
    """What is drawn: the bounds of each method by the fraction of units."""
    se = 2 / np.sqrt(FRACTIONS * UNITS)
    out = {}
    for method in methods():
        high = np.broadcast_to(method.reach(se[method.looks]), method.looks.shape)
        out[method.name] = Bounds(FRACTIONS[method.looks], high, -high, -np.inf * np.ones_like(high), high)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--ratio-draws", type=int, default=100_000)
    parser.add_argument("--stops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = figures(given.streams, given.ratio_draws, given.stops, given.seed)
    show(found)
    path = write("sequential" if given.streams >= 20_000 else f"sequential-{given.streams}", found)
    from benchmarks.sequential_plot import plot

    plot(
        found, {name: (b.information, b.upper) for name, b in boundaries().items()}, path.with_suffix(".png")
    )
    print(path)


if __name__ == "__main__":
    main()
