"""Rows of the model tables: one JSON (with one npz of hits) per table, model and seed, so that long runs resume.

    run = Run("ml1m", "sequence, length 50", "ours", seed=0, settings={...}, cpu_s=812.0, peak_mb=peak_mb(), curve=[...])
    save(run, Hits.of(top, single(target)))  # top (q, 20): listed items, best first, -1 padded; target (q,)
    for run in load("ml1m"): run.metrics["all"]["ndcg@10"], run.curve

Queries stand in the order of their table (ml1m: users ascending), so that hits of two models pair up query by query.
A row with kind "peer" comes from another library, "simple" from a baseline, "ours" from models/.
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.results import commit
from recsys.evaluation import metrics
from recsys.evaluation.ragged import Ragged
from recsys.files import write_whole
from recsys.plays import I32, I64

FOLDER = Path(__file__).parent / "results" / "models"
DEPTH = 20
"""Listed items kept a query: every metric at k up to DEPTH is computed from these."""
KS = (10, 20)
F64 = NDArray[np.float64]
Metrics = dict[str, float]  # "hr@10", "ndcg@10", "mrr@10", "recall@10", ... -> mean over queries


@dataclass(frozen=True)
class Point:
    """Test quality after `part` passes over the training data, which took `cpu_s` in all (evaluation not counted)."""

    part: float
    cpu_s: float
    metrics: Metrics  # at least "ndcg@10", "hr@10", "mrr@10"


@dataclass(frozen=True)
class Run:
    """One trained model."""

    table: str
    model: str  # as it is printed; one name for all seeds
    kind: str  # "simple", "ours" or "peer"
    seed: int
    settings: Mapping[str, Any]
    cpu_s: float  # user + system seconds of training, evaluation not counted
    peak_mb: float  # highest resident memory of the process that trained
    metrics: Mapping[str, Metrics] = field(default_factory=dict)  # by cohort of queries; "all" at least
    curve: list[Point] = field(default_factory=list)
    commit: str = ""
    at: str = ""


@dataclass(frozen=True)
class Hits:
    """Which of the first DEPTH listed items were targets, and how many targets there were."""

    hit: NDArray[np.bool_]  # (q, DEPTH)
    targets: I64  # (q,)

    @classmethod
    def of(cls, top: I32, targets: Ragged) -> Hits:
        """Of lists (q, at least DEPTH or all items), -1 padded."""
        hit = np.zeros((len(top), DEPTH), bool)
        found = metrics.hits(top[:, :DEPTH], targets)
        hit[:, : found.shape[1]] = found
        return cls(hit, targets.counts)

    def values(self, metric: str) -> F64:
        """(q,) values of "hr@10", "ndcg@10", "mrr@10", "recall@20", ...: one definition for every model."""
        name, _, k = metric.partition("@")
        ragged = Ragged(
            np.concatenate([[0], np.cumsum(self.targets)]).astype(np.int64), np.zeros(0, np.int32)
        )
        match name:
            case "hr":
                return self.hit[:, : int(k)].any(1).astype(np.float64)
            case "ndcg":
                return metrics.ndcg(self.hit, ragged, int(k))
            case "mrr":
                return metrics.mrr(self.hit, int(k))
            case "recall":
                return metrics.recall(self.hit, ragged, int(k))
        raise ValueError(f"no metric {metric!r}: hr, ndcg, mrr or recall, then @ and k up to {DEPTH}")

    def means(self) -> Metrics:
        names = [f"{name}@{k}" for k in KS for name in ("hr", "ndcg", "mrr", "recall")]
        return {name: float(self.values(name).mean()) for name in names}


def path_of(table: str, model: str, seed: int, folder: Path = FOLDER) -> Path:
    """Where the JSON of a run lies; its hits lie beside it as .npz."""
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    return folder / table / f"{slug}-seed-{seed}.json"


def save(run: Run, hits: Hits, cohorts: Mapping[str, Hits] | None = None, folder: Path = FOLDER) -> Path:
    """Writes a run with the metrics of its hits (and of cohorts of queries), commit and time; returns the JSON."""
    found = {"all": hits.means()} | {name: part.means() for name, part in (cohorts or {}).items()}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run = replace(run, metrics=found, commit=run.commit or commit(), at=now)
    path = path_of(run.table, run.model, run.seed, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {"all": hits} | dict(cohorts or {})
    arrays: dict[str, NDArray[Any]] = {}
    for name, part in packed.items():
        arrays[f"{name}.hit"] = np.packbits(part.hit, axis=1)
        arrays[f"{name}.targets"] = part.targets.astype(np.uint16)
    np.savez_compressed(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    write_whole(path, orjson.dumps(asdict(run), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    return path


def load(table: str, folder: Path = FOLDER) -> list[Run]:
    """Every finished run of a table, by model and seed."""
    runs = [_read(path) for path in sorted((folder / table).glob("*-seed-*.json"))]
    return sorted(runs, key=lambda run: (run.model, run.seed))


def _read(path: Path) -> Run:
    body = orjson.loads(path.read_bytes())
    return Run(**{**body, "curve": [Point(**point) for point in body["curve"]]})


def hits_of(run: Run, cohort: str = "all", folder: Path = FOLDER) -> Hits:
    """The hits that `save` kept."""
    with np.load(path_of(run.table, run.model, run.seed, folder).with_suffix(".npz")) as kept:
        hit = np.unpackbits(kept[f"{cohort}.hit"], axis=1, count=DEPTH).astype(bool)
        return Hits(hit, kept[f"{cohort}.targets"].astype(np.int64))


def single(targets: NDArray[np.integer]) -> Ragged:
    """One target a query, (q,)."""
    return Ragged(np.arange(len(targets) + 1, dtype=np.int64), np.asarray(targets, np.int32))


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024)
