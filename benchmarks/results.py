"""Where figures go: one dated JSON per benchmark, with the machine and the commit that gave them."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parent / "results"


def write(name: str, figures: Any, folder: Path = FOLDER) -> Path:
    """Writes `figures` with their circumstances; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    body = {
        "benchmark": name,
        "at": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "figures": figures,
    }
    path = folder / f"{now:%Y-%m-%d}-{name}.json"
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str))
    return path


def commit() -> str:
    """The short commit of the working tree, with a star where files differ from it."""
    run = ["git", "describe", "--always", "--dirty=*"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def table(head: list[str], rows: list[list[Any]]) -> None:
    """Prints rows under a head."""
    from rich.console import Console
    from rich.table import Table

    out = Table(*head)
    for row in rows:
        out.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(out)


def exact_interval(k: int, n: int) -> tuple[float, float]:
    """95% interval of a share, k of n (Clopper & Pearson 1934); nothing is known of none."""
    from scipy.stats import binomtest

    if not n:
        return 0.0, 1.0
    found = binomtest(k, n).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)
