"""The page of a report, and the dashboard of all: one HTML file each that needs nothing else, no script, no network.

page(orjson.loads(report.to_json()))           # from the stored JSON alone
dashboard(cards(config, shelf, now))
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from experiments.report import views, wording
from experiments.report.cards import Card
from experiments.report.cohorts import cohorts_of
from experiments.report.numbers import FILTERS, missing
from experiments.report.plots.effect import effect_plot
from experiments.report.plots.forest import axis_of, bar, scale
from experiments.report.plots.novelty import novelty_plot
from experiments.report.plots.ratio import alarm_plot, share_plot
from recsys.errors import NotReady

TEMPLATES = Path(__file__).parent / "templates"


def page(report: Mapping[str, Any], board: str = "") -> str:
    """The page of one report.

    Args:
        report: `Report.to_json()`, read; the same one gives the same page, byte for byte.
        board: where the dashboard is, for a link to it.

    Raises:
        NotReady: it was written by another version of the code, and lacks parts that are shown.
    """
    try:
        rows = [views.row_of(raw) for raw in report["metrics"]]
        return (
            environment()
            .get_template("report.html.j2")
            .render(
                r=report,
                board=board,
                rows=rows,
                primary=[row for row in rows if row.raw["role"] == "primary"],
                guardrails=[row for row in rows if row.raw["role"] == "guardrail"],
                axis=views.rows_axis(rows),
                cohorts=cohorts_of(report),
                lights=views.lights(report),
                verdict=views.decision_of(report["verdict"]["decision"]),
            )
        )
    except (UndefinedError, KeyError, TypeError) as error:
        again = f"recsys experiment report {report.get('name', '')}"
        raise NotReady(
            f"this report was written by another version ({error}); make it anew: {again}"
        ) from error


def dashboard(rows: Sequence[Card], facts: Mapping[str, str] | None = None, admin: str = "") -> str:
    """The page of all experiments: running ones first, flags and holdouts in a list of their own.

    Args:
        facts: name to value, at the foot (version of the config, time).
        admin: where the page of the live state is, for a link to it.
    """
    asked = [card for card in rows if card.kind == "experiment"]
    lifts = [v for card in asked for v in (card.lift, card.low, card.high)]
    return (
        environment()
        .get_template("dashboard.html.j2")
        .render(
            running=[card for card in asked if card.state == "running"],
            others=[card for card in asked if card.state != "running"],
            switches=[card for card in rows if card.kind != "experiment"],
            axis=axis_of(lifts),
            facts=facts or {},
            admin=admin,
        )
    )


def policy() -> str:
    """The Content-Security-Policy under which both pages work: their own style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'none'; base-uri 'none'"


@cache
def environment() -> Environment:
    """The templates; a misspelt name raises, and everything is escaped."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= FILTERS | {"pretty": _pretty}
    env.globals |= {
        "style": Markup(_style()),
        "policy": policy(),
        "standings": views.STANDINGS,
        "missing": missing,
        "effect_plot": effect_plot,
        "novelty_plot": novelty_plot,
        "share_plot": share_plot,
        "alarm_plot": alarm_plot,
        "bar": bar,
        "scale": scale,
        "change": wording.change,
        "between": wording.between,
        "spread": wording.spread,
    }
    return env


def _style() -> str:
    return (TEMPLATES / "style.css").read_text()


def _pretty(value: Any) -> str:
    """JSON in one line, keys in order."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
