"""The tables of models on real data, one command a table; every finished (model, seed) is kept, so a run resumes.

    python -m benchmarks.models ml1m thirtymusic-next thirtymusic-rest lastfm --data ../shared/data
    python -m benchmarks.models lastfm --only "EASE,sequence" --seeds 0
    python -m benchmarks.models ml1m --report        # the tables from what lies there, nothing is trained
    python -m benchmarks.models simulated --data var # the log of a home

A model with several settings is tuned first, on the validation queries alone; the points are kept beside its rows as
MODEL.tuning.json. Then it is trained and asked the test queries once per seed. CPU seconds are those of `fit` in this
process, on one thread. At the end a dated JSON, a Markdown table and (ml1m) a picture go to benchmarks/results/.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import orjson

from benchmarks.ml1m import DATA
from benchmarks.model_fits import FITS, Entry, Settings
from benchmarks.model_report import report
from benchmarks.model_rows import DEPTH, FOLDER, Hits, Run, fresh_peak, path_of, peak_mb, save, tuning_of
from benchmarks.model_tables import TABLES, Asked, TableSpec
from recsys.evaluation.evaluate import top_lists
from recsys.evaluation.protocol import Model
from recsys.files import write_whole


class Questions:
    """A table's test and validation queries, read when they are needed."""

    def __init__(self, spec: TableSpec, data: Path) -> None:
        self.spec, self.data = spec, data
        self.of = cache(lambda valid: spec.ask(data, valid))

    def __call__(self, valid: bool = False) -> Asked:
        return self.of(valid)


def hits_by_cohort(model: Model, asked: Asked) -> dict[str, Hits]:
    """The hits of a model's lists in every cohort of queries, "all" among them."""
    lists = top_lists({"model": model}, asked.task, DEPTH).lists["model"]
    return {name: Hits.of(lists[part.rows], part.targets) for name, part in asked.task.cohorts.items()}


def tuned(spec: TableSpec, name: str, entry: Entry, questions: Questions, folder: Path) -> Settings:
    """The best settings on validation, from what is kept or by trying them all."""
    tried = spec.grids.get(name, entry.grid)
    if len(tried) == 1:
        return tried[0]
    path = tuning_of(spec.name, name, folder)
    points: list[dict[str, Any]] = orjson.loads(path.read_bytes()) if path.exists() else []
    done = {orjson.dumps(point["settings"]) for point in points}
    for settings in tried:
        if orjson.dumps(settings) in done:
            continue
        asked = questions(valid=True)
        model = entry.fit(asked.data, asked.until_ms, settings)
        value = float(hits_by_cohort(model, asked)["all"].values(spec.metric).mean())
        points.append({"settings": settings, spec.metric: value})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, orjson.dumps(points, option=orjson.OPT_INDENT_2))
        print(f"{spec.name}: {name} {settings}: validation {spec.metric} {value:.4f}", flush=True)
    best: dict[str, Any] = max(points, key=lambda point: point[spec.metric])
    return dict(best["settings"])


def train_and_ask(
    spec: TableSpec, name: str, entry: Entry, seed: int, questions: Questions, folder: Path
) -> None:
    """Fills in one row, unless it is there."""
    if path_of(spec.name, name, seed, folder).exists():
        return
    settings = tuned(spec, name, entry, questions, folder)
    asked = questions()
    fresh_peak()
    began = process_time()
    seeded = settings | {"seed": seed} if entry.seeds else settings
    model = entry.fit(asked.data, asked.until_ms, seeded)
    cpu, peak = process_time() - began, peak_mb()
    found = hits_by_cohort(model, asked)
    run = Run(spec.name, name, entry.kind, seed, settings, round(cpu, 2), round(peak, 1))
    save(run, found.pop("all"), found, folder)
    units = {cohort: asked.units[part.rows] for cohort, part in asked.task.cohorts.items()}
    np.savez_compressed(folder / spec.name / "units.npz", **units)  # type: ignore[arg-type]
    print(f"{spec.name}: {name}, seed {seed}: {cpu:.1f} CPU s of training", flush=True)


def run_tables(
    tables: Mapping[str, TableSpec], fits: Mapping[str, Entry], text: str, default: Sequence[str] = ()
) -> None:
    """The command line over some tables and the models that they name."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*" if default else "+", metavar="TABLE", help=", ".join(tables))
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the data, or a home for `simulated`"
    )
    parser.add_argument("--only", help="models to fill in, by name, separated by semicolons")
    parser.add_argument("--seeds", help="numbers separated by commas, instead of a model's own")
    parser.add_argument("--work", type=Path, default=FOLDER, help="where the rows are kept")
    parser.add_argument("--report", action="store_true", help="only the tables from what lies there")
    given = parser.parse_args()
    for name in given.tables or default:
        if name not in tables:
            parser.error(f"no table {name!r}: {', '.join(tables)}")
        spec = tables[name]
        questions = Questions(spec, given.data)
        chosen = [word.strip() for word in given.only.split(";")] if given.only else spec.models
        for model in () if given.report else chosen:
            own = fits[model].seeds or (0,)
            for seed in map(int, given.seeds.split(",")) if given.seeds and fits[model].seeds else own:
                train_and_ask(spec, model, fits[model], seed, questions, given.work)
        report(spec, given.work)


if __name__ == "__main__":
    run_tables(TABLES, FITS, __doc__ or "")
