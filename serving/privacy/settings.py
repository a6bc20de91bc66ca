"""Settings of erasure, from the environment: RECSYS_PRIVACY_EXPIRY_DAYS=14."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.marks import EXPIRY_DAYS
from serving.environment import read_settings


class PrivacySettings(BaseSettings):
    """How an erasure goes."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_PRIVACY_", extra="forbid", frozen=True)

    expiry_days: Annotated[float, Field(ge=0)] = (
        EXPIRY_DAYS  # until a release that learned from them is not loaded
    )


def from_environment() -> PrivacySettings:
    """The settings that the environment names. Raises BadInput."""
    return read_settings(PrivacySettings)
