"""How many replicas, and how Ray Serve is told: one place for `recsys serve` and for deploy/.

options(2)                  # two replicas
options(Autoscale(1, 4))    # one to four, by how many requests are under way in each
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from recsys.errors import BadInput
from serving.settings import SheddingSettings

SHUTDOWN_SECONDS = 5.0
"""How long a replica that is stopped may finish the requests it has."""
TARGET_ONGOING = 3.0
"""Requests under way in one replica that autoscaling aims at: just below where they begin to wait for each other
(SheddingSettings.concurrency), so that replicas are added before anything is shed."""


class Autoscale(NamedTuple):
    """As many replicas as the load needs, within bounds."""

    least: int
    most: int


Replicas: TypeAlias = int | Autoscale


def parse(text: str) -> Autoscale:
    """`MIN:MAX` as bounds.

    Raises:
        BadInput: not of that form.
    """
    least, _, most_ = text.partition(":")
    if not (least.isdigit() and most_.isdigit() and 1 <= int(least) <= int(most_)):
        raise BadInput("--autoscale must look like 1:4: the fewest and the most replicas")
    return Autoscale(int(least), int(most_))


def most(replicas: Replicas) -> int:
    """The most replicas that may run."""
    return replicas.most if isinstance(replicas, Autoscale) else replicas


def options(replicas: Replicas, shedding: SheddingSettings | None = None) -> dict[str, Any]:
    """Options of the one deployment, for `serve.deployment(...)`.

    Serve must not refuse what a replica would still answer from a lower rung, so its own limit lies above the
    replica's queue: what to shed is decided there.
    """
    shedding = shedding or SheddingSettings()
    inside = shedding.concurrency + shedding.queue
    given: dict[str, Any] = {
        "name": "recsys",
        "max_ongoing_requests": inside + 64,  # events, status and pages beside the recommendations
        "graceful_shutdown_timeout_s": SHUTDOWN_SECONDS,
        "health_check_period_s": 2.0,
        "health_check_timeout_s": 10.0,
    }
    if not isinstance(replicas, Autoscale):
        return given | {"num_replicas": replicas}
    return given | {
        "autoscaling_config": {
            "min_replicas": replicas.least,
            "max_replicas": replicas.most,
            "target_ongoing_requests": TARGET_ONGOING,
            "upscale_delay_s": 5.0,  # a start takes seconds of its own: not for every burst
            "downscale_delay_s": 120.0,
        }
    }
