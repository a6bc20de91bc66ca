"""Evaluation rows as JSON and as text tables for a terminal.

write_json(rows, path); print(render(rows))
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from recsys.evaluation.evaluate import Row

Key = tuple[str, int]


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One dict a row, figures to 6 decimals (so that equal runs give equal files), NaN as null."""
    return [{k: _figure(v) for k, v in row.to_dict().items()} for row in rows]


def _figure(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def write_json(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in to_json(rows))
    path.write_text(f"[\n{lines}\n]\n")


def read_json(path: Path) -> list[Row]:
    return [_row(line) for line in json.loads(path.read_text())]


def _row(line: dict[str, Any]) -> Row:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in line.items()}
    return Row(**known)


def render(rows: Sequence[Row], cohort: str = "all", width: int = 170) -> str:
    """One table a task, models by falling NDCG with its interval; only recall is shown at every k."""
    from rich.console import Console

    out = Console(file=StringIO(), width=width, force_terminal=False)
    for task in dict.fromkeys(row.task for row in rows):
        here = [row for row in rows if row.task == task and row.cohort == cohort]
        if here:
            out.print(_table(task, cohort, here))
    if cohort == "all":
        for line in differences(rows):
            out.print(line, highlight=False, markup=False)
    text = out.file
    assert isinstance(text, StringIO)
    return text.getvalue()


def differences(rows: Sequence[Row]) -> list[str]:
    """One line for each paired difference of true value, with its 95% interval."""
    return [
        f"true value of {r.model} {r.cohort.replace('_', ' ', 1)}: {r.value:+.3f} [{r.low:+.3f}, {r.high:+.3f}]"
        for r in rows
        if r.metric == "true_value_difference"
    ]


def _table(task: str, cohort: str, rows: Sequence[Row]) -> Any:
    from rich.table import Table

    smallest = min(r.k for r in rows)
    keys = sorted({(r.metric, r.k) for r in rows if r.metric == "recall" or r.k == smallest}, key=_order)
    cells = {(r.model, (r.metric, r.k)): r for r in rows}
    table = Table(title=f"{task} ({cohort})", title_justify="left", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for metric, k in keys:
        table.add_column(f"{metric}@{k}", justify="right", no_wrap=True)
    for model in sorted({r.model for r in rows}, key=lambda m: -_value(cells, m, keys)):
        table.add_row(model, *(_cell(cells.get((model, key)), key) for key in keys))
    return table


_METRICS = (
    "ndcg", "recall", "mrr", "true_value", "coverage", "gini", "novelty", "diversity", "calibration_error",
)  # fmt: skip


def _order(key: Key) -> tuple[int, int]:
    return (_METRICS.index(key[0]) if key[0] in _METRICS else len(_METRICS), key[1])


def _value(cells: dict[tuple[str, Key], Row], model: str, keys: Sequence[Key]) -> float:
    row = cells.get((model, keys[0])) or cells.get((model, keys[-1]))
    return row.value if row and math.isfinite(row.value) else -math.inf


def _cell(row: Row | None, key: Key) -> str:
    if row is None or not math.isfinite(row.value):
        return "-"
    text = f"{row.value:.2f}" if key[0] == "novelty" else f"{row.value:.4f}"
    with_interval = key[0] == "true_value" or key[0] == "ndcg"
    return f"{text} [{row.low:.3f}, {row.high:.3f}]" if with_interval else text
