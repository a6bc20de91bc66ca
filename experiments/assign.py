"""A listener's arms, and the release that follows: a hash of the id, the same on every machine, nothing stored.

assign(load(path), user_id).release
"""

from __future__ import annotations

from typing import Any

from experiments.config import CHAMPION, Config
from recsys.types import Assignment


def assign(config: Config, user_id: str) -> Assignment:
    """The listener's arm in every running experiment, and the release that answers."""
    arms = {e.name: arm for e in config.running if (arm := e.arm_of(user_id)) is not None}
    release = next((arm.release for arm in arms.values() if arm.release != CHAMPION), CHAMPION)
    return Assignment({name: arm.name for name, arm in arms.items()}, release)


def settings(config: Config, assignment: Assignment) -> dict[str, Any]:
    """What the arms of an assignment override; of two experiments, the later one in the file wins."""
    merged: dict[str, Any] = {}
    for experiment in config.running:
        chosen = assignment.arms.get(experiment.name)
        merged |= next((arm.settings for arm in experiment.arms if arm.name == chosen), {})
    return merged
