"""The sequence model on MovieLens-1M: ablation on validation, then the chosen settings on test with a curve.

    python -m benchmarks.ml1m_sequence --ablate all                  # one JSON an option, validation figures only
    python -m benchmarks.ml1m_sequence --final best --seeds 0,1,2    # one JSON a seed (model_rows), test figures
    python -m benchmarks.ml1m_sequence --final length50 --seeds 0,1,2
    python -m benchmarks.ml1m_sequence --table                       # what is there

Protocol of benchmarks/ml1m.py: last item test, second-last validation, all 3,416 items ranked, seen ones masked. A
run goes on where it was stopped (its state lies under --work) and is skipped where its JSON is there. Mixture weights
of direct evidence are fitted on validation items; nothing is chosen by test figures, which are those of the last pass.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import orjson

from benchmarks import ml1m
from benchmarks.ml1m_options import FINAL, OPTIONS, Final
from benchmarks.model_rows import Hits, Metrics, Point, Run, path_of, peak_mb, save, single
from benchmarks.results import FOLDER, commit, table
from recsys.files import write_whole

if TYPE_CHECKING:
    from models.sequence.evidence import EvidenceModel
    from models.sequence.idmodel import IdModel
    from models.sequence.idtrain import Epoch
    from recsys.evaluation.ragged import Ragged

ABLATION = FOLDER / "models" / "ml1m-ablation"
FITTED_ON = 1_000
"""Validation listeners, the first of a seeded order, on whose items mixture weights are fitted."""


class Ranker:
    """Measures models on one part of the split."""

    def __init__(self, split: ml1m.Split, valid: bool) -> None:
        self.histories: Ragged = split.histories(valid)
        self.targets = split.valid if valid else split.test

    def hits(self, model: Any, rows: Any = None) -> Hits:
        """Of users `rows`, all if not given."""
        rows = np.arange(len(self.histories)) if rows is None else rows
        top = [
            ml1m.top_lists(model.score(self.histories.take(part)), self.histories, part)
            for part in np.array_split(rows, -(-len(rows) // 512))
        ]
        return Hits.of(np.concatenate(top), single(self.targets[rows]))


def ablate(names: list[str], data: Path) -> None:
    """Trains the named options on the training part and measures them on validation."""
    split = ml1m.load(data)
    ABLATION.mkdir(parents=True, exist_ok=True)
    ranker, training = Ranker(split, valid=True), split.histories(valid=True)
    for name in names:
        path = ABLATION / f"{name}.json"
        if not path.exists():
            write_whole(path, orjson.dumps(_option(name, training, ranker), option=orjson.OPT_INDENT_2))


def _option(name: str, training: Ragged, ranker: Ranker) -> dict[str, Any]:
    from models.sequence.idnetwork import IdConfig
    from models.sequence.idtrain import train_ids

    config, curve = IdConfig(**OPTIONS[name]), []

    def after(epoch: Epoch, model: IdModel) -> None:
        if epoch.number in (config.epochs // 2, config.epochs):
            found = ranker.hits(model).means()
            curve.append({"epoch": epoch.number, "cpu_s": epoch.cpu_s, "loss": epoch.loss, **found})
            print(f"{name}: {epoch.number} of {config.epochs}, NDCG@10 {found['ndcg@10']:.4f}", flush=True)

    model = train_ids(training, ml1m.ITEMS, config, after)
    mixed = _mixed(model, _counted(training), ranker)[0]
    return {
        "option": name,
        "settings": config.model_dump(),
        "valid": curve,
        "valid_with_evidence": _held_out(ranker, mixed),
        "weights": mixed.weights.tolist(),
        "commit": commit(),
    }


def _counted(training: Ragged) -> EvidenceModel:
    from models.sequence.idevidence import id_evidence

    return id_evidence(training, ml1m.ITEMS)


def _order(users: int) -> Any:
    return np.random.default_rng(0).permutation(users)


def _mixed(model: Any, evidence: EvidenceModel, ranker: Ranker) -> tuple[Any, float]:
    """The mixture fitted on some validation items, and the CPU seconds of fitting."""
    from models.sequence.idevidence import fit_mixture

    began = process_time()
    rows = np.sort(_order(len(ranker.histories))[:FITTED_ON])
    mixed = fit_mixture(model, evidence, ranker.histories.take(rows), ranker.targets[rows])
    return mixed, process_time() - began


def _held_out(ranker: Ranker, mixed: Any) -> Metrics:
    """On the validation items that its weights were not fitted on."""
    rows = np.sort(_order(len(ranker.histories))[FITTED_ON:])
    return ranker.hits(mixed, rows).means()


def final(name: str, seeds: list[int], data: Path, work: Path) -> None:
    """Trains chosen settings and measures them on test along training, network alone and with evidence."""
    chosen = FINAL[name]
    for seed in seeds:
        if path_of("ml1m", f"{chosen.label} with evidence", seed).exists():
            continue
        _Final(name, chosen, seed, data, work / f"{name}-{seed}").run()


class _Final:
    """One seed of the final figures; its curve so far lies beside its checkpoint."""

    def __init__(self, name: str, chosen: Final, seed: int, data: Path, folder: Path) -> None:
        from models.sequence.idnetwork import IdConfig

        self.name, self.chosen, self.seed, self.folder = name, chosen, seed, folder
        self.config = IdConfig(**{**chosen.settings, "seed": seed})
        split = ml1m.load(data)
        self.training = split.histories(valid=True)
        self.valid, self.test = Ranker(split, True), Ranker(split, False)
        began = process_time()
        self.evidence = _counted(self.training)
        self.counting_s = process_time() - began
        folder.mkdir(parents=True, exist_ok=True)
        self.curve_file = folder / "curve.json"
        self.curve: list[dict[str, Any]] = []
        if self.curve_file.exists():
            self.curve = orjson.loads(self.curve_file.read_bytes())

    def run(self) -> None:
        from models.sequence.idtrain import train_ids

        model = train_ids(self.training, ml1m.ITEMS, self.config, self.after, self.folder)
        mixed = _mixed(model, self.evidence, self.valid)[0]
        for kind, scorer in (("", model), (" with evidence", mixed)):
            key = "mixed" if kind else "network"
            points = [Point(p["epoch"], p[f"{key}_cpu_s"], p[key]) for p in self.curve]
            run = Run(
                table="ml1m",
                model=self.chosen.label + kind,
                kind="ours",
                seed=self.seed,
                settings=self.config.model_dump(),
                cpu_s=points[-1].cpu_s,
                peak_mb=peak_mb(),
                curve=points,
            )
            print(save(run, self.test.hits(scorer)))

    def after(self, epoch: Epoch, model: IdModel) -> None:
        """Adds a point to the curve."""
        if epoch.number % self.chosen.every and epoch.number != self.config.epochs:
            return
        mixed, fitting_s = _mixed(model, self.evidence, self.valid)
        point = {
            "epoch": epoch.number,
            "loss": epoch.loss,
            "network_cpu_s": epoch.cpu_s,
            "mixed_cpu_s": epoch.cpu_s + self.counting_s + fitting_s,
            "network": self.test.hits(model).means(),
            "mixed": self.test.hits(mixed).means(),
            "network_valid": self.valid.hits(model).means(),
            "weights": mixed.weights.tolist(),
        }
        self.curve = [p for p in self.curve if p["epoch"] < epoch.number] + [point]
        write_whole(self.curve_file, orjson.dumps(self.curve))
        print(
            f"{self.name} seed {self.seed}: pass {epoch.number} of {self.config.epochs}, {epoch.cpu_s:.0f} CPU s,"
            f" validation NDCG@10 {point['network_valid']['ndcg@10']:.4f}",
            flush=True,
        )


def show() -> None:
    """Prints the ablation's and the final runs' figures."""
    from benchmarks import model_rows

    found = [orjson.loads(path.read_bytes()) for path in sorted(ABLATION.glob("*.json"))]
    rows = [
        [
            r["option"],
            *(f"{r['valid'][-1][m]:.4f}" for m in ("hr@10", "ndcg@10")),
            f"{r['valid_with_evidence']['ndcg@10']:.4f}",
            f"{r['valid'][-1]['cpu_s']:.0f}",
        ]
        for r in found
    ]
    table(["option (validation)", "HR@10", "NDCG@10", "with evidence", "CPU s"], rows)
    runs = model_rows.load("ml1m")
    for label in sorted({run.model for run in runs}, key=lambda name: [r.model for r in runs].index(name)):
        own = [run for run in runs if run.model == label]
        print(f"{label} ({own[0].kind}), {len(own)} seeds: {_means(own)}")


def _means(runs: list[Run]) -> str:
    """Means over seeds with their standard errors, where there are several."""
    parts = []
    for metric in ("hr@10", "ndcg@10", "mrr@10"):
        values = np.array([run.metrics["all"][metric] for run in runs])
        error = f" +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}" if len(values) > 1 else ""
        parts.append(f"{metric} {values.mean():.4f}{error}")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ml1m.DATA)
    parser.add_argument("--work", type=Path, default=Path("var/ml1m"), help="checkpoints of unfinished runs")
    parser.add_argument("--ablate", help="names of options, separated by commas, or all")
    parser.add_argument("--final", choices=sorted(FINAL))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.ablate:
        ablate(list(OPTIONS) if given.ablate == "all" else given.ablate.split(","), given.data)
    if given.final:
        final(given.final, [int(seed) for seed in given.seeds.split(",")], given.data, given.work)
    if given.table:
        show()


if __name__ == "__main__":
    main()
