"""Settings of access, from the environment: RECSYS_ACCESS_OPEN_READS=false, RECSYS_ACCESS_KEY_RATE=500/second."""

from __future__ import annotations

from typing import Annotated, Literal

import limits
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.errors import BadInput
from serving.environment import read_settings


def parse_rate(text: str) -> limits.RateLimitItem:
    """A rate like `50/second` or `1000/5 minutes`.

    Raises:
        BadInput: it cannot be read as one.
    """
    try:
        return limits.parse(text)
    except ValueError:
        raise BadInput(f"{text!r} is not a rate; write it like 50/second or 1000/minute") from None


def _checked(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parse_rate(text)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return text


Rate = Annotated[
    str | None,
    AfterValidator(_checked),
    BeforeValidator(lambda v: None if v in ("", "none") else v),
]


class AccessSettings(BaseSettings):
    """Who may do what without a key, and how often; `none` switches a rate off."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_ACCESS_", extra="forbid", frozen=True)

    open_reads: bool = True  # false: recommendations and the catalog need a key with recommendations:read
    page: Literal["loopback", "never"] = "loopback"  # where the page may post events without a key
    page_hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    key_rate: Rate = "200/second"  # of each key that has no rate of its own
    address_rate: Rate = "50/second"  # of each client address without a key; loopback is never limited by it
    limit_loopback: bool = False  # whether a server on loopback limits its keys
    proxies: Annotated[int, Field(ge=0, le=5)] = 0  # in front of us, each adding one X-Forwarded-For entry


def from_environment() -> AccessSettings:
    """The settings that the environment names.

    Raises:
        BadInput: a value that cannot be used.
    """
    return read_settings(AccessSettings)
