"""What pictures of this project have in common: colours, a quiet figure, and PNG bytes.

drawn, (left, right) = figure(6.6, 3.2, columns=2); png(drawn)
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

INK, SOFT, LINE = "#1c2330", "#667085", "#e4e7ec"


def figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """(figure, its axes) in inches; matplotlib is imported here, not before."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = drawn.subplots(1, columns)
    for one in np.atleast_1d(axes):
        one.spines[["top", "right", "left"]].set_visible(False)
        one.spines["bottom"].set_color(LINE)
        one.tick_params(length=0, colors=INK, labelsize=9)
        one.set_axisbelow(True)
    return drawn, axes


def png(drawn: Any) -> bytes:
    """The figure as a file's bytes, the same for the same figure."""
    out = BytesIO()
    drawn.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()
