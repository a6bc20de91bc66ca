"""Settings that stand in the environment, read with a one-line error that names the variable."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from recsys.errors import BadInput

S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S]) -> S:
    """The settings of a kind as the environment has them, under its prefix.

    Raises:
        BadInput: a value that cannot be used.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = kind.model_config["env_prefix"] + ".".join(map(str, first["loc"])).upper()
        raise BadInput(f"{name}: {first['msg']}") from None
