"""Times as logs write them (unix seconds to nanoseconds, ISO 8601, "31 Oct 2026 10:11"), as UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

_UTC = pl.Datetime("us", "UTC")
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M%:z", "%d %b %Y %H:%M%:z", "%d %b %Y %H:%M:%S%:z")


def parse_times(values: pl.Series) -> pl.Series:
    """UTC times of a column of numbers, dates, times or texts; null where unreadable. No zone means UTC."""
    if values.dtype == pl.Date:
        values = values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime):
        aware = values.dt.replace_time_zone("UTC") if values.dtype.time_zone is None else values
        return aware.dt.convert_time_zone("UTC").cast(_UTC)
    if values.dtype == pl.String:
        numbers = from_unix(values.str.strip_chars().cast(pl.Float64, strict=False))
        return pl.select(pl.coalesce(numbers, _from_text(values))).to_series()
    return from_unix(values.cast(pl.Float64, strict=False))


def iso_time(value: Any) -> datetime | None:
    """An ISO 8601 text as a time (UTC where it names no zone); None where it is none."""
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
        if parsed is None:
            return None
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_unix(values: pl.Series) -> pl.Series:
    """Unix times whose unit (s, ms, µs, ns) shows in their size: all lie between 2000 and 2099."""
    frame = pl.DataFrame({"v": values}).with_columns(pl.when(pl.col("v").is_finite()).then(pl.col("v")))
    size = pl.col("v").abs()
    scale = (
        pl.when(size < 1e11).then(1e6).when(size < 1e14).then(1e3).when(size < 1e17).then(1.0).otherwise(1e-3)
    )
    micros = (pl.col("v") * scale).round().cast(pl.Int64, strict=False)
    return frame.select(pl.from_epoch(micros, "us").dt.replace_time_zone("UTC")).to_series()


def _from_text(values: pl.Series) -> pl.Series:
    text = (
        values.str.strip_chars()
        .str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ")
        .str.replace(r"\s*(Z|UTC)$", "+00:00")
    )
    text = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1} 00:00").str.replace(",", "")
    zoned = (
        pl.when(pl.col("t").str.contains(r"[+-]\d\d:?\d\d$"))
        .then(pl.col("t"))
        .otherwise(pl.col("t") + "+00:00")
    )
    parsed = [pl.col("z").str.to_datetime(fmt, time_unit="us", strict=False) for fmt in _FORMATS]
    frame = pl.DataFrame({"t": text}, schema={"t": pl.String}).select(z=zoned)
    return frame.select(pl.coalesce(parsed).dt.convert_time_zone("UTC").cast(_UTC)).to_series()
