"""The evaluation table as one HTML file that needs nothing else: plots embedded, no script.

write_html(rows, home.reports / "evaluation.html", title="Demo world", curves=curves)
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.evaluation import metrics, plots
from recsys.evaluation.evaluate import Row, TopLists

Curve = list[float]
Curves = Mapping[str, Mapping[str, Curve]]  # task -> model -> metrics.lorenz

_ABOUT = {
    "next_track": "Which track is played next in a running session; repeats count.",
    "next_track_new": "Which track is played next, among those that the listener has never played.",
    "home": "What is played in the session that starts now, asked before its first play.",
}
_COLUMNS = ("recall", "ndcg", "mrr", "true_value", "coverage", "gini", "novelty", "diversity")


@dataclass(frozen=True)
class Cell:
    value: str
    interval: str = ""


def write_html(
    rows: Sequence[Row],
    path: Path,
    *,
    title: str = "Evaluation",
    facts: Mapping[str, str] | None = None,
    curves: Curves | None = None,
) -> None:
    """`facts`: name -> value lines at the top (data version, world seed); `curves`: Lorenz curves of
    exposure."""
    from jinja2 import Environment, FileSystemLoader

    k = 10 if any(r.k == 10 for r in rows) else min(r.k for r in rows)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        facts=facts or {},
        k=k,
        tasks=[
            _task(name, rows, k, (curves or {}).get(name)) for name in dict.fromkeys(r.task for r in rows)
        ],
        cohorts=_cohorts(rows, k),
        true_value=_true_value(rows),
        differences=[r for r in rows if r.metric == "true_value_difference"],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)


def add_curves(top: TopLists, into: dict[str, dict[str, Curve]], k: int = 10) -> None:
    """Adds a task's Lorenz curves of exposure, rounded as they are written: for `evaluate(..., keep=...)`."""
    for model, lists in top.lists.items():
        curve = metrics.lorenz(lists, top.eligible, k)
        into.setdefault(top.task.name, {})[model] = [round(float(v), 6) for v in curve]


def _task(name: str, rows: Sequence[Row], k: int, curves: Mapping[str, Curve] | None) -> dict[str, Any]:
    here = [r for r in rows if r.task == name and r.cohort == "all"]
    main = [r for r in here if r.metric == "ndcg" and r.k == k]
    heads = sorted({(r.metric, r.k) for r in here if r.metric == "recall" or r.k == k}, key=_order)
    cells = {(r.model, r.metric, r.k): r for r in here}
    first = {r.model: r.value for r in main}
    models = sorted({r.model for r in here}, key=lambda m: -first.get(m, -math.inf))
    return {
        "name": name,
        "about": _ABOUT.get(name, ""),
        "bars": _embed(plots.bars(main, f"NDCG@{k}, 95% interval")),
        "curve": _embed(plots.concentration(curves)) if curves else "",
        "heads": [f"{metric}@{k}" for metric, k in heads],
        "rows": [(m, [_cell(cells.get((m, *head))) for head in heads]) for m in models],
    }


def _order(head: tuple[str, int]) -> tuple[int, int]:
    return (_COLUMNS.index(head[0]) if head[0] in _COLUMNS else len(_COLUMNS), head[1])


def _cell(row: Row | None) -> Cell:
    if row is None or not math.isfinite(row.value):
        return Cell("–")
    interval = f"{row.low:.3f}–{row.high:.3f}" if row.metric in ("ndcg", "true_value") else ""
    return Cell(f"{row.value:.2f}" if row.metric == "novelty" else f"{row.value:.4f}", interval)


def _cohorts(rows: Sequence[Row], k: int) -> str:
    main = [r for r in rows if r.metric == "ndcg" and r.k == k and math.isfinite(r.value)]
    return _embed(plots.by_cohort(main, f"NDCG@{k}")) if len({r.cohort for r in main}) > 1 else ""


def _true_value(rows: Sequence[Row]) -> str:
    mine = [r for r in rows if r.metric == "true_value" and r.cohort == "all"]
    return _embed(plots.bars(mine, "true value, 95% interval")) if mine else ""


def _embed(png: bytes) -> str:
    return base64.b64encode(png).decode()
