"""The report of a gate run: what each rule saw and which one ended it, as text, JSON and one page with a picture.

write(state, folder)        # report.json, report.html
text(state)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import orjson

from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png
from recsys.files import write_whole
from serving.gating.canary import METRICS
from serving.gating.record import Stage, State

_SIGN = {"passed": "+", "stopped": "x", "unclear": "?", "running": "."}


def verdict(state: State) -> str:
    """The run in one sentence."""
    what = f"Release {state.challenger} against champion {state.champion}"
    if state.status != "running" and state.ended is None:
        return f"{what}: {state.status} by {state.rule}, and not yet carried out: run `recsys release gate step`."
    if state.status == "running":
        return f"{what}: in the stage {state.stage}."
    if state.status == "promoted":
        return f"{what}: promoted. {state.rule}: {state.sentence}."
    return f"{what}: not promoted, everybody is back on {state.champion}. Stopped by {state.rule}: {state.sentence}."


def text(state: State) -> str:
    """For a terminal: a line a check."""
    lines = [verdict(state), ""]
    for stage in state.stages:
        lines.append(f"{stage.name} ({stage.outcome}, {_time(stage.at)})")
        lines += [f"  {_SIGN[c.outcome]} {c.rule}: {c.sentence}" for c in stage.checks]
    if state.plan:
        plan = state.plan
        wide = f", {plan['wide_share']:.1%} since {_time(plan['wide'])}" if plan.get("wide") else ""
        lines += ["", f"canary: {plan['share']:.1%} of listeners since {_time(plan['start'])}{wide}"]
    return "\n".join(lines)


def write(state: State, folder: Path) -> Path:
    """Writes `report.json` and `report.html`; returns the page."""
    body = orjson.loads((folder / "state.json").read_bytes()) | {"verdict": verdict(state)}
    write_whole(folder / "report.json", orjson.dumps(body, option=orjson.OPT_INDENT_2))
    page = folder / "report.html"
    write_whole(page, html(state).encode())
    return page


def html(state: State) -> str:
    """One page without anything from elsewhere."""
    rows = "".join(_row(stage, i) for stage in state.stages for i in range(len(stage.checks)))
    drawn = [s for s in state.stages if s.series]
    image = ""
    if drawn:
        data = base64.b64encode(picture(drawn[-1].series)).decode()
        image = f'<img alt="effects by day" src="data:image/png;base64,{data}">'
    style = (
        "body{font:15px/1.5 system-ui;margin:2rem auto;max-width:70rem;color:#1c2330}"
        "td,th{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #e4e7ec;vertical-align:top}"
        "img{max-width:100%}.stopped{color:#b42318}.passed{color:#067647}.unclear,.running{color:#b54708}"
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>Gate {escape(state.name)}</title><style>{style}</style>"
        f"<h1>Gate {escape(state.name)}</h1><p>{escape(verdict(state))}</p>"
        f"<table><tr><th>stage<th>rule<th>outcome<th>what it saw</tr>{rows}</table>{image}"
        f"<h2>Settings</h2><pre>{escape(_settings(state))}</pre>"
    )


def _row(stage: Stage, i: int) -> str:
    check = stage.checks[i]
    head = escape(stage.name) if i == 0 else ""
    return (
        f"<tr><td>{head}<td>{escape(check.rule)}<td class={check.outcome}>{check.outcome}"
        f"<td>{escape(check.sentence)}</tr>"
    )


def _settings(state: State) -> str:
    return orjson.dumps(state.settings.model_dump(mode="json"), option=orjson.OPT_INDENT_2).decode()


def picture(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Each guarded metric's difference by day, with the bounds that hold on all days together."""
    shown = {name: points for name, points in series.items() if points}
    drawn, axes = figure(3.4 * max(len(shown), 1), 3.0, columns=max(len(shown), 1))
    for one, (name, points) in zip([axes] if len(shown) <= 1 else axes, shown.items(), strict=False):
        days = range(1, len(points) + 1)
        one.axhline(0, color=SOFT, lw=0.8)
        one.fill_between(
            days, [p["naive_low"] for p in points], [p["naive_high"] for p in points], color=LINE
        )
        one.plot(days, [p["effect"] for p in points], color=INK, marker="o", ms=3)
        up = METRICS[name].direction == "increase"
        worst = [p["high" if up else "low"] for p in points]
        known = [(d, w) for d, w in zip(days, worst, strict=True) if w is not None]
        if known:
            one.plot(*zip(*known, strict=True), color="#b42318", lw=1, ls="--")
        one.set_title(f"{name} ({'higher' if up else 'lower'} is better)", fontsize=9, color=INK, loc="left")
        one.set_xlabel("day", fontsize=8, color=SOFT)
    return png(drawn)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
