"""Several policies of one loop side by side: a picture, a table of the last days, and paired differences in true value.

found = compare(reports, folder)     # writes loop.json and loop.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from recsys.evaluation.bootstrap import Interval, Resampler
from recsys.evaluation.drawing import INK, LINE, SOFT

LAST_DAYS = 3
"""The days at the end that are counted."""
PANELS = (
    ("true_value", "true value of the page"),
    ("hours", "hours listened"),
    ("satisfaction", "satisfaction of members"),
    ("returned_1", "back on the next day"),
    ("returned_7", "back within 7 days"),
    ("gini", "Gini of artists' exposure so far"),
    ("top_share", "exposure of the top 1% of tracks so far"),
    ("coverage", "share of the catalog shown so far"),
    ("new_artists", "slots by artists new to the listener"),
    ("new_releases", "slots of releases of 30 days"),
    ("exploration_loss", "exploration loss"),
    ("skipped", "home plays skipped before 30 s"),
)
_RELATIVE = ("hours",)
_COLORS = ("#4338ca", "#ea580c", "#0891b2", "#65a30d", "#db2777", "#b45309", "#7c3aed", "#475467")
_DASHES = ("-", "--", "-.", ":")


def compare(folders: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Reads the runs' `report.json` and `values.parquet`; writes `loop.json` and `loop.png` under `folder`."""
    reports = {name: orjson.loads((at / "report.json").read_bytes()) for name, at in folders.items()}
    body = {
        "days": {name: report["days"] for name, report in reports.items()},
        "promoted": {name: report["promoted"] for name, report in reports.items()},
        "last": {name: last(report["days"]) for name, report in reports.items()},
        "differences": differences(folders),
    }
    (folder / "loop.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    (folder / "loop.png").write_bytes(picture({name: report["days"] for name, report in reports.items()}))
    return body


def last(days: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means over the last days; of retention, over the last days that can be followed so long."""
    out = {}
    for name, _ in PANELS:
        values = [day[name] for day in days if day[name] is not None]
        kept = values[-LAST_DAYS:]
        out[name] = float(np.mean(kept)) if kept else None
    return out


def differences(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """True value of each policy less that of every other on the pages that both served on the last days.

    Intervals (95%) resample listeners; pages are paired by session, so both met the same luck.
    """
    values = {n: pl.read_parquet(at / "values.parquet") for n, at in folders.items() if _measured(at)}
    names, rows = list(values), []
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            found = paired(values[name], values[other])
            if found is not None:
                rows.append({"policy": name, "over": other, **vars(found[0]), "pages": found[1]})
    return rows


def paired(a: pl.DataFrame, b: pl.DataFrame) -> tuple[Interval, int] | None:
    """Difference in true value on common pages of the last days, and how many those are; None without any.

    The listener's state differs where the policies' pasts do, so each page has the mean of both scales.
    """
    from_day = max(int(a["day"].max() or 0) - LAST_DAYS + 1, 0)  # type: ignore[arg-type]
    both = a.filter(pl.col("day") >= from_day).join(b, on="key", suffix="_b").sort("key")
    if both.is_empty():
        return None
    gain = (both["served"] - both["random"]) - (both["served_b"] - both["random_b"])
    room = 0.5 * (both["oracle"] - both["random"] + both["oracle_b"] - both["random_b"])
    draw = Resampler.of(np.unique(both["listener"].to_numpy(), return_inverse=True)[1])
    return draw.ratio(gain.to_numpy(), room.to_numpy()), len(both)


def _measured(folder: Path) -> bool:
    return (folder / "values.parquet").exists()


def picture(days: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """One small plot a figure, one line a policy."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13.2, 9.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, 4)
    longest = max(map(len, days.values()))
    for axes, (name, label) in zip(grid.ravel(), PANELS, strict=True):
        for i, (policy, rows) in enumerate(days.items()):
            y = np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)
            if name in _RELATIVE:  # weekdays move all policies alike
                y = y - np.mean(
                    [[row[name] or 0.0 for row in each[: len(y)]] for each in days.values()], axis=0
                )
            style = {"color": _COLORS[i % len(_COLORS)], "ls": _DASHES[i // len(_COLORS) % len(_DASHES)]}
            axes.plot(np.arange(1, len(y) + 1), y, lw=1.7, marker="o", ms=2.6, label=policy, **style)
        more = ", over the policies' mean" if name in _RELATIVE else ""
        axes.set_title(label + more, fontsize=9.5, color=INK, loc="left")
        axes.set_xlim(0.6, longest + 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=LINE)
        axes.tick_params(labelsize=8, colors=SOFT)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("day", fontsize=8.5, color=SOFT)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=min(len(labels), 8), frameon=False, fontsize=9
    )
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
