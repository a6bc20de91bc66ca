"""Kinds of values that the config's models share, and refusals that know their place.

raise refuse("weights must sum to 1", "arms", 1, "weight")     # in a validator: relative to the validated model
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Salt = Annotated[str, Field(min_length=1, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d))?")


class Strict(BaseModel):
    """A part of the config; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse(message: str, *at: str | int) -> PydanticCustomError:
    """An error of a validator at a place inside the validated model."""
    return PydanticCustomError("refused", "{message}", {"message": message, "at": list(at)})


def _time(value: Any) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise refuse("a time is written 2026-12-01T08:00:00Z, or a date 2026-12-01 (its UTC midnight)")
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refuse(f"no such time: {error}") from error


Time = Annotated[
    datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "pattern": f"^{_TIME.pattern}$"})
]


def millis(time: datetime | None, otherwise: int) -> int:
    """UTC ms of a time; `otherwise` where there is none."""
    return otherwise if time is None else int(time.timestamp() * 1000)
