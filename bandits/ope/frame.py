"""Logged decisions as a polars frame, one row a slot, and what is checked before anything is estimated from it.

Columns: request_id, listener, item, propensity (of the logged item, given what was placed before it), reward.
Optional: slot (0, 1, ...; absent: one slot a request), ts (integer), rung, logged, eligible and logging (lists: the
items that might have been placed, and the logging policy's distribution over them), likelihood (list: p(logged
embedding | x, a) for each eligible item), marginal (probability that the item is at this slot, whatever is before it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bandits.ope.lists import Lists
from bandits.ope.terms import F64, I64
from recsys.errors import BadInput

REQUIRED = ("request_id", "listener", "item", "propensity", "reward")
Column = pl.Series | NDArray[Any] | Sequence[Any]


@dataclass(frozen=True)
class Target:
    """A target policy on the rows of a frame.

    Attributes:
        probability: (rows,) of the logged item at its slot, given the logged items before it.
        distribution: (rows,) lists over `eligible`; the direct method, DR and MIPS need it.
        marginal: (rows,) probability that the item is at the slot, whatever is before it (independent IPS).
        additive: (rows,) the pseudo-inverse weight of the row's slate, the same on all of its rows.
    """

    name: str
    probability: Column
    distribution: Column | None = None
    marginal: Column | None = None
    additive: Column | None = None


@dataclass(frozen=True)
class Logged:
    """Checked rows, ordered by request (in order of appearance) and slot.

    Attributes:
        first: (n+1,) request i has rows first[i]:first[i + 1].
        violations: rows where the target may place what the logging policy never does; None where it is not known.
        dropped: requests left out, by reason.
    """

    first: I64
    listener: I64  # (rows,) dense
    item: NDArray[Any]  # (rows,)
    propensity: F64  # (rows,)
    reward: F64  # (rows,)
    target: F64  # (rows,)
    ts: I64 | None
    marginal: tuple[F64, F64] | None  # of target and logging policy
    additive: F64 | None
    eligible: Lists | None
    logging: Lists | None
    distribution: Lists | None  # of the target
    likelihood: Lists | None
    violations: int | None
    dropped: dict[str, int]

    @property
    def ratio(self) -> F64:
        return self.target / self.propensity

    @property
    def slots(self) -> int:
        return int(np.diff(self.first).max(initial=0))


def prepare(frame: pl.DataFrame, target: Target) -> Logged:
    """Drops what is no off-policy data, checks the rest.

    Raises:
        BadInput: columns are missing or contradict each other; the message says which and where.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise BadInput(f"logged decisions need the columns {', '.join(missing)}")
    rows, dropped = usable(_with_target(frame, target))
    if rows.is_empty():
        raise BadInput(
            f"no decision is left to evaluate from; left out: {dropped or 'none, the frame is empty'}"
        )
    _check_rows(rows)
    rows = rows.sort("_request", "slot", maintain_order=True)
    first = np.flatnonzero(np.diff(rows["_request"].to_numpy(), prepend=-1))
    _check_slots(rows)
    return _logged(rows, np.append(first, len(rows)).astype(np.int64), dropped)


def usable(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Without answers below the full rung (another policy gave them) and those that could not be logged; counts."""
    reasons = {
        "below the full rung": pl.col("rung") != "full" if "rung" in frame.columns else pl.lit(False),
        "not logged": ~pl.col("logged") if "logged" in frame.columns else pl.lit(False),
    }
    dropped = {}
    for reason, mask in reasons.items():
        count = frame.filter(mask)["request_id"].n_unique()
        if count:
            dropped[reason] = count
            frame = frame.filter(~mask)
    return frame, dropped


def _with_target(frame: pl.DataFrame, target: Target) -> pl.DataFrame:
    """The target's columns beside the frame's, so that they are dropped and sorted together."""
    given = {
        "_target": target.probability,
        "_distribution": target.distribution,
        "_marginal": target.marginal,
        "_additive": target.additive,
    }
    columns = [pl.Series(name, values) for name, values in given.items() if values is not None]
    wrong = [c.name[1:] for c in columns if len(c) != len(frame)]
    if wrong:
        raise BadInput(f"the target's {', '.join(wrong)} must have one entry a row of the frame")
    if "slot" not in frame.columns:
        columns.append(pl.Series("slot", np.zeros(len(frame), np.int64)))
    rows = frame.with_columns(*columns).with_columns(_row=np.arange(len(frame)))
    return rows.with_columns(_request=pl.col("_row").min().over("request_id"))


def _check_rows(rows: pl.DataFrame) -> None:
    def bad(mask: pl.Expr) -> int:
        return int(rows.select(mask.fill_null(True).sum()).item())

    checks = {
        "no listener": pl.col("listener").is_null(),
        "no item": pl.col("item").is_null(),
        "a propensity that is not within (0, 1]": ~pl.col("propensity").is_between(
            0, 1 + 1e-9, closed="right"
        ),
        "no finite reward (a decision without any play has reward 0)": ~pl.col("reward").is_finite(),
        "a target probability outside [0, 1]": ~pl.col("_target").is_between(0, 1 + 1e-9),
    }
    for what, mask in checks.items():
        if count := bad(mask):
            raise BadInput(f"{count} of {len(rows)} rows have {what}")
    if rows.select(pl.struct("_request", "slot").is_duplicated().any()).item():
        raise BadInput("a slot of a request comes twice: request_id and slot must name one row")
    if rows.group_by("_request").agg(pl.col("listener").n_unique())["listener"].max() != 1:
        raise BadInput("a request belongs to two listeners")


def _check_slots(rows: pl.DataFrame) -> None:
    want = pl.int_range(pl.len()).over("_request")
    if not rows.select((pl.col("slot") == want).all()).item():
        raise BadInput(
            "slots of a request must be numbered 0, 1, ... without gaps: a slate is weighted as a whole"
        )


def _logged(rows: pl.DataFrame, first: I64, dropped: dict[str, int]) -> Logged:
    def numbers(name: str) -> F64 | None:
        return rows[name].cast(pl.Float64).to_numpy() if name in rows.columns else None

    def lists(name: str) -> Lists | None:
        return Lists.of(rows[name]) if name in rows.columns else None

    eligible, logging, distribution = lists("eligible"), lists("logging"), lists("_distribution")
    item, propensity, target = (rows[name].to_numpy() for name in ("item", "propensity", "_target"))
    if eligible is not None:
        place = eligible.find(item)
        if (place < 0).any():
            raise BadInput(f"{int((place < 0).sum())} logged items are not among the eligible ones")
        _check_distribution("logging", logging, eligible, place, propensity)
        _check_distribution("target", distribution, eligible, place, target)
    own, other = numbers("_marginal"), numbers("marginal")
    return Logged(
        first=first,
        listener=np.unique(rows["listener"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        item=item,
        propensity=propensity.astype(np.float64),
        reward=rows["reward"].cast(pl.Float64).to_numpy(),
        target=target.astype(np.float64),
        ts=rows["ts"].cast(pl.Int64).to_numpy() if "ts" in rows.columns else None,
        marginal=None if own is None or other is None else (own, other),
        additive=numbers("_additive"),
        eligible=eligible,
        logging=None if eligible is None else logging,
        distribution=None if eligible is None else distribution,
        likelihood=lists("likelihood"),
        violations=_violations(logging, distribution) if eligible is not None else None,
        dropped=dropped,
    )


def _check_distribution(whose: str, given: Lists | None, eligible: Lists, place: I64, stated: F64) -> None:
    """A distribution over the eligible set sums to 1 and says of the logged item what its own column says."""
    if given is None:
        return
    if not np.array_equal(given.offsets, eligible.offsets):
        raise BadInput(f"the {whose} distribution must have one probability for each eligible item")
    if np.abs(given.sums() - 1).max() > 1e-6 or given.values.min(initial=0) < 0:
        raise BadInput(f"a {whose} distribution does not sum to 1 over its eligible set")
    gap = float(np.abs(given.values[place] - stated).max())
    if gap > 1e-6:
        raise BadInput(
            f"the {whose} distribution and the probability of the logged item differ by up to {gap:.2g}"
        )


def _violations(logging: Lists | None, distribution: Lists | None) -> int | None:
    if logging is None or distribution is None:
        return None
    wrong = (distribution.values > 1e-12) & (logging.values <= 0)
    return len(np.unique(distribution.owner[wrong]))
