"""From the rows of a table to what is read: Markdown with the protocol, a dated JSON, and for ml1m the curve's PNG.

    report(TABLES["lastfm"])      # benchmarks/results/DATE-models-lastfm.{json,md}

Nothing is trained here. A model's value is the mean over its seeds; its interval resamples units (95%), and with three
seeds or more their standard error stands beside it. Tests pair every model of ours with every simple one, query by
query, Holm-adjusted over all tests of the table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bandits.uniformity import holm
from benchmarks.model_curve import LEVELS, curves, levels, plot
from benchmarks.model_rows import FOLDER, Run, hits_of, load
from benchmarks.model_tables import TableSpec
from benchmarks.paired import compare
from benchmarks.results import table as print_table
from benchmarks.results import write
from recsys.evaluation.bootstrap import Interval, Resampler
from recsys.files import write_whole

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One model in one cohort of queries, over its seeds."""

    model: str
    kind: str
    cohort: str
    seeds: int
    metrics: dict[str, float]  # means over seeds and queries
    interval: Interval | None  # of the table's metric, over units
    seed_error: float | None  # standard error over seeds; None below three
    cpu_s: float
    peak_mb: float
    commit: str


@dataclass(frozen=True)
class Test:
    """Ours minus a simple model, on the table's metric."""

    cohort: str
    ours: str
    other: str
    difference: Interval
    p: float  # Holm-adjusted over the table


def report(spec: TableSpec, folder: Path = FOLDER, results: Path = FOLDER.parent) -> list[Line]:
    """Prints and writes the table; returns its lines."""
    runs = load(spec.name, folder)
    units = _units(spec, folder)
    lines = [line for cohort in spec.cohorts for line in _lines(spec, runs, units, cohort, folder)]
    tests = _tests(spec, runs, units, folder)
    for cohort in spec.cohorts:
        here = [line for line in lines if line.cohort == cohort]
        head = [f"{spec.title} ({cohort})", *spec.shown, "CPU s", "MB", "seeds"]
        print_table(head, [[i.model, *_cells(spec, i), i.cpu_s, round(i.peak_mb), i.seeds] for i in here])
    tuning = {
        path.name.removesuffix(".tuning.json"): orjson.loads(path.read_bytes())
        for path in _tuning(spec, folder)
    }
    figures = {
        "protocol": spec.protocol,
        "unit": spec.unit,
        "metric": spec.metric,
        "lines": [asdict(line) for line in lines],
        "tests": [asdict(test) for test in tests],
        "tuning": tuning,
        "runs": [asdict(run) for run in runs],
    }
    written = write(f"models-{spec.name}", figures, results)
    picture = _picture(runs, written) if any(run.curve for run in runs) else ""
    text = markdown(spec, lines, tests, runs, tuning) + picture
    write_whole(written.with_suffix(".md"), text.encode())
    print(written)
    return lines


def _picture(runs: list[Run], written: Path) -> str:
    """Draws quality against CPU seconds; Markdown that shows it."""
    path = written.with_suffix(".png")
    path.write_bytes(plot(curves(runs)))
    return f"\n![NDCG@10 against CPU seconds of training]({path.name})\n"


def _units(spec: TableSpec, folder: Path) -> dict[str, NDArray[np.int64]]:
    path = folder / spec.name / "units.npz"
    if not path.exists():
        return {}
    with np.load(path) as kept:
        return {name: kept[name] for name in kept.files}


def _tuning(spec: TableSpec, folder: Path) -> list[Path]:
    return sorted((folder / spec.name).glob("*.tuning.json"))


def _by_model(runs: list[Run], cohort: str) -> dict[str, list[Run]]:
    out: dict[str, list[Run]] = {}
    for run in runs:
        if cohort in run.metrics:
            out.setdefault(run.model, []).append(run)
    return out


def _values(runs: list[Run], cohort: str, metric: str, folder: Path) -> F64:
    """(q,) the metric of each query, averaged over seeds."""
    return np.asarray(np.mean([hits_of(run, cohort, folder).values(metric) for run in runs], axis=0))


def _lines(
    spec: TableSpec, runs: list[Run], units: dict[str, NDArray[np.int64]], cohort: str, folder: Path
) -> list[Line]:
    lines = []
    draw = Resampler.of(units[cohort], 1000) if cohort in units else None
    for model, seeds in _by_model(runs, cohort).items():
        metrics = {
            m: float(np.mean([run.metrics[cohort][m] for run in seeds])) for m in seeds[0].metrics[cohort]
        }
        each = [run.metrics[cohort][spec.metric] for run in seeds]
        error = float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) >= 3 else None
        values = _values(seeds, cohort, spec.metric, folder)
        interval = draw.mean(values) if draw is not None and len(values) == len(units[cohort]) else None
        cpu, peak = (float(np.mean([getattr(run, name) for run in seeds])) for name in ("cpu_s", "peak_mb"))
        kind, commit = seeds[0].kind, seeds[-1].commit
        lines.append(Line(model, kind, cohort, len(seeds), metrics, interval, error, cpu, peak, commit))
    return sorted(lines, key=lambda line: -line.metrics[spec.metric])


def _tests(spec: TableSpec, runs: list[Run], units: dict[str, NDArray[np.int64]], folder: Path) -> list[Test]:
    """Every model of ours against every simple one, in every cohort."""
    found = []
    for cohort in spec.cohorts:
        models = _by_model(runs, cohort)
        values = {name: _values(seeds, cohort, spec.metric, folder) for name, seeds in models.items()}
        kinds = {
            kind: [name for name, seeds in models.items() if seeds[0].kind == kind]
            for kind in ("ours", "simple")
        }
        found += [
            (cohort, ours, other, compare(values[ours], values[other], units[cohort]))
            for ours, other in product(kinds["ours"], kinds["simple"])
        ]
    adjusted = holm(np.array([one.p for *_, one in found])) if found else np.zeros(0)
    return [
        Test(cohort, ours, other, one.difference, float(p))
        for (cohort, ours, other, one), p in zip(found, adjusted, strict=True)
    ]


def _cells(spec: TableSpec, line: Line) -> list[str]:
    """The shown metrics; the table's own with its interval."""
    cells = []
    for metric in spec.shown:
        text = f"{line.metrics[metric]:.4f}".replace("0.", ".", 1)
        if metric == spec.metric and line.interval is not None:
            text += f" [{line.interval.low:.4f}, {line.interval.high:.4f}]".replace("0.", ".")
        if metric == spec.metric and line.seed_error is not None:
            text += f" ± {line.seed_error:.4f}".replace("0.", ".", 1)
        cells.append(text)
    return cells


def markdown(
    spec: TableSpec, lines: list[Line], tests: list[Test], runs: list[Run], tuning: dict[str, Any]
) -> str:
    """The table as a page of its own."""
    parts = [f"# {spec.title}\n", spec.protocol + "\n"]
    parts.append(
        f"Intervals: 95%, {spec.unit}s resampled; ±: standard error over seeds. `python -m benchmarks.models "
        f"{spec.name}`.\n"
    )
    for cohort in spec.cohorts:
        here = [line for line in lines if line.cohort == cohort]
        parts.append(f"## Queries: {cohort}\n" if len(spec.cohorts) > 1 else "")
        head = ["model", *spec.shown, "CPU s", "MB", "seeds", "commit"]
        rows = [
            [i.model, *_cells(spec, i), f"{i.cpu_s:.0f}", f"{i.peak_mb:.0f}", str(i.seeds), i.commit]
            for i in here
        ]
        parts.append(_grid(head, rows))
    if tests:
        parts.append(f"## Paired differences of {spec.metric}, Holm-adjusted over {len(tests)} tests\n")
        parts.append(
            _grid(["queries", "ours", "against", "difference [95%]", "p"], [_tested(test) for test in tests])
        )
    if any(run.curve for run in runs):
        parts.append("## CPU seconds of training to a level of NDCG@10\n")
        head = ["model", *(f"{level:.2f}"[1:] for level in LEVELS), "last point"]
        parts.append(_grid(head, levels(curves(runs))))
    if tuning:
        parts.append("## Settings tried on validation\n")
        points = [
            [name, str(p["settings"]), f"{p[spec.metric]:.4f}"] for name, all_ in tuning.items() for p in all_
        ]
        parts.append(_grid(["model", "settings", spec.metric], points))
    return "\n".join(part for part in parts if part)


def _tested(test: Test) -> list[str]:
    d = test.difference
    told = "< .001" if test.p < 0.001 else f"{test.p:.3f}"
    return [test.cohort, test.ours, test.other, f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]", told]


def _grid(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
