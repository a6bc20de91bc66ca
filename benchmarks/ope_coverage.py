"""Do off-policy intervals hold? `python -m benchmarks.ope_coverage [--runs 1000]`; about half an hour, resumes.

Every world of benchmarks.ope_worlds is drawn `runs` times and evaluated as a user would. Estimand: one-step value of
the target policy on the logging policy's contexts. Of each estimator: bias, coverage and mean width of its 95%
intervals, how often a figure is refused under the default limits (coverage is of the runs that are not; where most are
refused, of what would have been said), how often one is warned about, and the stated error over the spread of the
estimates (1 where errors are right). Sequences: share of runs whose limits hold at every look, the asymptotic ones from
an effective sample of 200 on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits.ope import diagnostics, intervals, sequences
from bandits.ope.catalogue import names
from bandits.ope.diagnostics import Limits
from bandits.ope.evaluate import evaluate
from bandits.ope.report import Estimate
from bandits.ope.terms import Terms
from benchmarks.ope_coverage_plot import draw
from benchmarks.ope_worlds import HOLDS, WORLDS, Draw
from benchmarks.results import FOLDER, table, write

METHODS = ("asymptotic", "bootstrap", "bernstein", "betting", "decisions")
"""`decisions` is the asymptotic interval that takes decisions as independent: what goes wrong without listeners."""
ALWAYS = ("sequence", "betting")
FIELDS = ["value", "error", "effective", "refused", "unsupported", "warned"]
FIELDS += [f"{m}_{end}" for m in METHODS for end in ("low", "high")] + [f"every_look_{m}" for m in ALWAYS]
FINITE = {"ips", "mips", "slate_ips"}
CHUNK = 50


def run(world: Any, whole_slates: bool, seed: int) -> NDArray[np.float64]:
    """(estimators, FIELDS) of one draw."""
    drawn: Draw = world.draw(np.random.default_rng(seed))
    bounds = {name: (0.0, most(world, name)) for name in names(whole_slates) if name in FINITE}
    report = evaluate(
        drawn.frame,
        drawn.target,
        bounds=bounds,
        limits=Limits(min_effective=0, min_listeners=0),
        **drawn.options,
    )
    who = drawn.frame.group_by("request_id", maintain_order=True).first()["listener"].to_numpy()
    listener = np.unique(who, return_inverse=True)[1].astype(np.int64)
    return np.array([figures(e, listener, drawn.truth, bounds.get(e.estimator)) for e in report.estimates])


def most(world: Any, estimator: str) -> float:
    """The greatest weight * reward that a world allows, which its policies say beforehand."""
    if estimator == "slate_ips":
        return 3 * float((world.tables["target"] / world.tables["logging"]).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        if estimator == "ips":
            return float(np.nanmax(np.where(world.logging > 0, world.target / world.logging, 0)))
        groups = np.eye(world.category.max() + 1)[world.category]
        ratio = (world.target @ groups) / (world.logging @ groups)
    return float(np.nanmax(np.where(np.isfinite(ratio), ratio, 0)))


def figures(
    e: Estimate, listener: NDArray[np.int64], truth: float, bounds: tuple[float, float] | None
) -> list[float]:
    """One row of FIELDS; NaN where an estimator says nothing."""
    row = dict.fromkeys(FIELDS, np.nan)
    row["unsupported"] = float(e.refused is not None)
    if e.terms is None or e.overlap is None:
        return list(row.values())
    row |= {"value": e.value, "error": e.error, "effective": e.overlap.effective}
    row["refused"] = float(diagnostics.refusal(e.overlap, Limits()) is not None)
    row["warned"] = float(bool(e.warnings))
    units = e.terms.by_listener(listener)
    found = dict(e.intervals) | {"decisions": intervals.asymptotic(alone(e.terms))}
    first = sequences.first_look(e.terms, listener)
    looks = {"sequence": sequences.asymptotic_sequence(units, first=first)}
    if bounds is not None:
        looks["betting"] = sequences.betting_sequence(units, *bounds)
        found["betting"] = looks["betting"][0][-1], looks["betting"][1][-1]
    for method, (low, high) in found.items():
        row[f"{method}_low"], row[f"{method}_high"] = low, high
    for method, (lows, highs) in looks.items():
        if np.isfinite(lows).any():
            row[f"every_look_{method}"] = float(not ((lows > truth) | (highs < truth)).any())
    return list(row.values())


def alone(terms: Terms) -> Any:
    """Every decision a unit of its own."""
    return terms.by_listener(np.arange(len(terms.top)))


def collect(name: str, runs: int, work: Path) -> NDArray[np.float64]:
    """(runs, estimators, FIELDS); what an earlier call measured is kept."""
    file = work / f"{name.replace(' ', '-').replace(',', '')}.npy"
    done = np.load(file) if file.exists() else None
    world, whole = WORLDS[name](), name.startswith("slates")
    while done is None or len(done) < runs:
        begin = 0 if done is None else len(done)
        part = np.array([run(world, whole, seed) for seed in range(begin, min(begin + CHUNK, runs))])
        done = part if done is None else np.concatenate([done, part])
        work.mkdir(parents=True, exist_ok=True)
        np.save(file, done)
        print(f"{name}: {len(done)} of {runs}", flush=True)
    return np.asarray(done[:runs])


def summary(found: NDArray[np.float64], name: str) -> dict[str, dict[str, Any]]:
    """By estimator: what its runs say together."""
    truth, out = WORLDS[name]().truth, {}
    for i, estimator in enumerate(names(name.startswith("slates"))):
        row = dict(zip(FIELDS, found[:, i].T, strict=True))
        known = np.isfinite(row["value"])
        given = known & (row["refused"] == 0)
        body: dict[str, Any] = {
            "holds": estimator in HOLDS[name],
            "truth": truth,
            "refused": 1 - float(given.mean()),
            "unsupported": float((row["unsupported"] == 1).mean()),
        }
        # Where most runs are refused, what would have been said is told: that is why.
        rows = given if given.mean() >= 0.5 else known
        if rows.any():
            body |= told(row, rows, truth) | {"told_of": "given" if rows is given else "refused"}
        out[estimator] = body
    return out


def told(row: dict[str, NDArray[np.float64]], rows: NDArray[np.bool_], truth: float) -> dict[str, Any]:
    """Bias, errors and coverage over some runs."""
    value = row["value"][rows]
    body: dict[str, Any] = {
        "runs": int(rows.sum()),
        "effective": float(row["effective"][rows].mean()),
        "warned": float(row["warned"][rows].mean()),
        "bias": float(value.mean() - truth),
        "bias_error": float(value.std() / np.sqrt(len(value))),
        "spread": float(value.std()),
        "error_over_spread": float(row["error"][rows].mean() / value.std()),
    }
    for method in METHODS:
        low, high = row[f"{method}_low"][rows], row[f"{method}_high"][rows]
        if np.isfinite(low).all():
            covered = float(((low <= truth) & (truth <= high)).mean())
            body[method] = {"covered": covered, "width": float((high - low).mean())}
    for method in ALWAYS:
        held = row[f"every_look_{method}"][rows]
        if np.isfinite(held).mean() > 0.5:
            body[f"every_look_{method}"] = float(np.nanmean(held))
    return body


def verdicts(figures: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Where assumptions hold and figures are given: asymptotic coverage within 93-97%, finite-sample at least 95%."""
    least = {
        "asymptotic": (0.93, 0.97),
        "bootstrap": (0.93, 0.97),
        "bernstein": (0.95, 1.0),
        "betting": (0.95, 1.0),
    }
    return [
        f"{world}, {estimator}, {method}: {body[method]['covered']:.3f}"
        for world, by_estimator in figures.items()
        for estimator, body in by_estimator.items()
        if body["holds"] and body.get("told_of") == "given"
        for method, (low, high) in least.items()
        if method in body and not low <= body[method]["covered"] <= high
    ]


def show(figures: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Two tables a world, each of which fits a terminal of 100 characters."""
    for world, by_estimator in figures.items():
        print(f"\n{world}; truth {next(iter(by_estimator.values()))['truth']:.4f}")
        table(
            ["estimator", "holds", "effective", "refused", "warned", "bias", "error/spread"],
            [[name, *estimated(body)] for name, body in by_estimator.items()],
        )
        table(
            ["covered (width)", *METHODS, "every look"],
            [[name, *covered(body)] for name, body in by_estimator.items()],
        )


def estimated(body: dict[str, Any]) -> list[str]:
    mark = "yes" if body["holds"] else "no"
    if "told_of" not in body:
        return [mark, "-", "no support" if body["unsupported"] == 1 else "1.00", *["-"] * 3]
    figures = [f"{body['effective']:.0f}", f"{body['refused']:.2f}", f"{body['warned']:.2f}"]
    return [mark, *figures, f"{body['bias']:+.4f}", f"{body['error_over_spread']:.2f}"]


def covered(body: dict[str, Any]) -> list[str]:
    by_method = [f"{body[m]['covered']:.3f} ({body[m]['width']:.3f})" if m in body else "-" for m in METHODS]
    looks = [f"{body[f'every_look_{m}']:.3f}" for m in ALWAYS if f"every_look_{m}" in body]
    return [*by_method, "/".join(looks) or "-"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument(
        "--work", type=Path, default=Path("var/ope_coverage"), help="where unfinished runs are kept"
    )
    parser.add_argument("--world", action="append", choices=list(WORLDS), help="some worlds alone")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    worlds = given.world or list(WORLDS)
    found = {name: summary(collect(name, given.runs, given.work), name) for name in worlds}
    show(found)
    for line in verdicts(found):
        print(f"outside: {line}")
    path = write("ope-coverage", {"runs": given.runs, "worlds": found, "outside": verdicts(found)}, given.out)
    path.with_suffix(".png").write_bytes(draw(found))
    print(path)


if __name__ == "__main__":
    main()
