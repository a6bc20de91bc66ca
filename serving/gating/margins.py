"""Is a difference within its margin? Three answers: yes, no, and that the data cannot tell.

    ruled("offline.ndcg", "NDCG@10", base=.31, gap=-.002, low=-.008, high=.004, margin=.05)

Passed: the lower bound lies above -margin. Stopped: it is shown to be worse (the upper bound is below 0), or the
interval is narrow enough to have shown an equal release within the margin, and did not. Unclear: the interval is wider
than the margin, so that even an equal release would not have passed: no word about the release.
"""

from __future__ import annotations

from serving.gating.record import Check


def ruled(rule: str, what: str, base: float, gap: float, low: float, high: float, margin: float) -> Check:
    """The check of a difference `gap` to `base` with a lower and an upper bound; `margin` is relative to `base`."""
    most = margin * abs(base)
    numbers = {"champion": base, "difference": gap, "low": low, "high": high, "margin": -most}
    told = f"{what} {_share(gap, base)} [{_share(low, base)}, {_share(high, base)}]"
    if low > -most:
        return Check(rule, "passed", f"{told}: not worse by more than {margin:.1%}", numbers)
    if high < 0:
        return Check(rule, "stopped", f"{told}: shown to be worse", numbers)
    if gap - low <= most:
        return Check(rule, "stopped", f"{told}: may be worse by more than {margin:.1%}", numbers)
    said = f"{told}: the interval is wider than the margin of {margin:.1%}; nothing can be told"
    return Check(rule, "unclear", said, numbers)


def _share(value: float, base: float) -> str:
    return f"{value / abs(base):+.1%}" if base else f"{value:+.4g}"
