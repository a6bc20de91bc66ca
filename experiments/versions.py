"""Version strings that sort: GrowthBook's padded form, which orders like Semantic Versioning 2.0.0 for usual ones.

padded("1.9.0") < padded("1.10.0")
"""

from __future__ import annotations

import re
from typing import Any


def padded(version: Any) -> str:
    """A version so that plain comparison of texts orders it: numbers padded, `v` and `+build` dropped.

    A release sorts after its own pre-releases: `~` follows every letter, and stands where none is named.
    """
    if isinstance(version, int | float) and not isinstance(version, bool):
        version = str(version)
    text = version if isinstance(version, str) and version else "0"
    parts = re.split(r"[-.]", re.sub(r"(^v|\+.*$)", "", text))
    if len(parts) == 3:
        parts.append("~")
    return "-".join(part.rjust(5) if re.fullmatch(r"[0-9]+", part) else part for part in parts)
