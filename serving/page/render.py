"""Templates to HTML, with escaping always on: titles come from strangers."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(template: str, **values: Any) -> str:
    """One template of templates/ as HTML; `user_id` is the listener whose page it is."""
    return environment().get_template(template).render(**{"user_id": None} | values)


@cache
def environment() -> Environment:
    """The one template environment; a misspelt variable raises."""
    env = Environment(
        loader=PackageLoader("serving.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"hue": hue, "utc": utc, "words": words, "leaf": leaf, "code": code}
    return env


def hue(text: str | None, turn: int = 0) -> int:
    """A colour, 0..359, that is the same for the same text on every machine."""
    return (zlib.crc32((text or "").encode()) + turn) % 360


def utc(ms: int) -> str:
    """A UTC time in ms as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %b %Y, %H:%M:%S UTC")


def words(name: str) -> str:
    """`made_for_you` as `made for you`."""
    return name.replace("_", " ")


def leaf(genre: str) -> str:
    """`electronic/house` as `house`."""
    return genre.rsplit("/", 1)[-1]


def code(text: str) -> Markup:
    """Text with its `quoted` parts as code, all of it escaped first."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
