"""Who counts: each unit with the arm that it met first, the day, and what was known of it then.

found = exposed(events, "ranker")
found.units            # unit, arm, exposed_at, exposed_day, country, tier, platform, cohort
found.left_out         # {"overridden": 2, "in two arms": 0, "without consent to analytics": 11}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from experiments.exposure import exposures

COHORTS = ("country", "tier", "platform", "cohort")
"""What is known of a unit at its first exposure; effects are looked at by level."""
MOST_LEVELS = 8
OTHER = "(other)"


@dataclass(frozen=True)
class Exposed:
    """Units that met an experiment.

    Attributes:
        units: one row each: unit, arm, exposed_at (ms, UTC), exposed_day, and the columns of `COHORTS`.
        all: unit, arm, exposed_at of everybody but the overridden, for the sample ratio: those in two arms by the
            first, those without consent too.
        left_out: units that are in `all` or were overridden, and not in `units`, by reason.
        versions: of the config, under which they met it, in order.
    """

    units: pl.DataFrame
    all: pl.DataFrame
    left_out: dict[str, int]
    versions: tuple[str, ...]


def exposed(
    events: pl.LazyFrame, experiment: str, unit_kind: str, start: datetime, until: datetime
) -> Exposed:
    """The units that met an experiment within [start, until), from the lake's events.

    Left out are units that a person ever put into an arm, units that were in two arms (their weights changed), and
    units that said in any event of the time that analytics may not use them.
    """
    met = exposures(events).filter(
        pl.col("experiment") == experiment,
        pl.col("unit_kind") == unit_kind,
        pl.col("at").is_between(start, until, closed="left"),
    )
    first = (
        met.group_by("unit")
        .agg(
            pl.col("arm", "version", *COHORTS).sort_by("at", "request_id").first(),
            exposed_at=pl.col("at").min(),
            overridden=pl.col("overridden").any(),
            mixed=pl.col("arm").n_unique() > 1,
        )
        .with_columns(
            pl.col("cohort").list.first(),
            exposed_day=pl.col("exposed_at").dt.date(),
        )
        .collect(engine="streaming")
        .sort("unit")
    )
    refused = _refused(events, unit_kind, start, until)
    first = first.with_columns(refused=pl.col("unit").is_in(refused.implode()))
    everybody = first.filter(~pl.col("overridden"))
    counted = everybody.filter(~pl.col("mixed") & ~pl.col("refused"))
    left_out = {
        "put into an arm by a person": int(first["overridden"].sum()),
        "in two arms": int(everybody["mixed"].sum()),
        "without consent to analytics": int(everybody.filter(~pl.col("mixed"))["refused"].sum()),
    }
    versions = first.sort("exposed_at")["version"].unique(maintain_order=True).to_list()
    return Exposed(
        counted.select("unit", "arm", "exposed_at", "exposed_day", *_grouped(counted)),
        everybody.select("unit", "arm", "exposed_at", "exposed_day", *COHORTS),
        {why: n for why, n in left_out.items() if n},
        tuple(version for version in versions if version),
    )


def _refused(events: pl.LazyFrame, unit_kind: str, start: datetime, until: datetime) -> pl.Series:
    """Units that declined analytics in some event; incognito is no answer to that question."""
    unit = "session_id" if unit_kind == "session" else "user_id"
    said = events.filter(
        pl.col("ts").is_between(start, until, closed="left"),
        ~pl.col("consent_analytics").fill_null(True),
        ~pl.col("incognito_mode").fill_null(False),
    )
    return said.select(pl.col(unit).unique()).collect(engine="streaming").to_series()


def _grouped(units: pl.DataFrame) -> list[pl.Expr]:
    """The cohorts, rare levels together."""
    out = []
    for name in COHORTS:
        common = units[name].drop_nulls().value_counts(sort=True)[name].head(MOST_LEVELS)
        value = pl.col(name)
        kept = value.is_in(common.implode()) | value.is_null()
        out.append(pl.when(kept).then(value).otherwise(pl.lit(OTHER)).alias(name))
    return out
