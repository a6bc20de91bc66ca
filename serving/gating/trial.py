"""The canary as an experiment: what stands in the home's `experiments/gate-NAME.yaml`, written, widened and ended.

    plan = Plan("ranker", "3", start, share=.05, most_days=14, wide=None, wide_share=.5)
    write(home, plan, "canary begins", now)          # running servers follow the file
    Config.model_validate(document(plan))

Both arms get equal shares of all listeners at all times, so a canary that grows stays one comparison: the share in
the experiment grows, nobody changes arms, and who was in stays in. It only grows when the gate has passed the first
part: no step of the file widens it by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from experiments.config import Config
from experiments.edit import written
from experiments.running import checked
from experiments.source import Source, Sources
from experiments.store import Store
from recsys.files import write_whole
from recsys.home import Home
from serving.gating.canary import CHALLENGER, CHAMPION, METRICS, PRIMARY
from serving.trials import folder, space

METRIC = "gate_{}"
"""The gate's metrics under names of their own, so that `recsys experiment report` shows them beside."""
_LOGGED = ("reward", "skips", "hours")


@dataclass(frozen=True)
class Plan:
    """What the experiment of a gate run is; times are UTC ms."""

    name: str
    version: str  # of the challenger
    champion: str  # version
    start: int
    share: float  # of all listeners, in each arm
    wide_share: float
    most_days: int
    looks: int
    alpha: float
    wide: int | None = None  # since when the wide share holds
    stopped: int | None = None

    @property
    def experiment(self) -> str:
        return f"gate-{self.name}"

    @property
    def day(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.start / 1000, UTC)


def document(plan: Plan) -> dict[str, Any]:
    """The file's content."""
    ramp = [{"at": written(plan.start), "share": min(2 * plan.share, 1.0)}]
    if plan.wide is not None:
        ramp.append({"at": written(plan.wide), "share": min(2 * plan.wide_share, 1.0)})
    # A day more than is judged, so that the last whole day is one; the gate itself ends it before.
    stop = plan.day + timedelta(days=plan.most_days + 1)
    one: dict[str, Any] = {
        "name": plan.experiment,
        "description": f"release {plan.version} against {plan.champion}, run by `recsys release gate`",
        "salt": f"{plan.experiment}-{plan.start}",
        "arms": [
            {"name": CHAMPION, "weight": 0.5, "release": plan.champion},
            {"name": CHALLENGER, "weight": 0.5, "release": plan.version},
        ],
        "ramp": ramp,
        "start": written(plan.start),
        "stop": written(int(stop.timestamp() * 1000)),
        "question": {
            "primary": METRIC.format(PRIMARY),
            "secondary": [METRIC.format(name) for name in _LOGGED if name != PRIMARY],
            "mde": 0.05,
            "alpha": min(2 * plan.alpha, 0.4),  # two-sided there
            "pre_days": 0,
            "min_days": 0,
            "stopping": {"rule": "always_valid"},
        },
    }
    if plan.stopped is not None:
        one["stopped"] = written(plan.stopped)
    return {"metrics": [_metric(name) for name in _LOGGED], "experiments": [one]}


def _metric(name: str) -> dict[str, Any]:
    own = METRICS[name]
    body = {"name": METRIC.format(name), "direction": own.direction, "description": f"The gate's {name}."}
    if own.denominator == "days":
        return {**body, "kind": "mean", "column": own.numerator}
    return {**body, "kind": "ratio", "numerator": own.numerator, "denominator": own.denominator}


def write(home: Home, plan: Plan, why: str, now: int) -> Config:
    """Puts the plan's file among the home's experiments, after every check; the same plan twice changes nothing.

    Raises:
        BadInput: an experiment that runs already chooses releases too, or the files are wrong as they stand.
    """
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{plan.experiment}.yaml"
    head = "# Written by `recsys release gate`, which alone changes it.\n"
    text = head + yaml.safe_dump(document(plan), sort_keys=False)
    store = Store(place)
    with store.locked():
        others = [Source.parse(p.read_text(), p) for p in sorted(place.glob("*.yaml")) if p != path]
        sources = Sources(tuple(sorted([*others, Source.parse(text, path)], key=lambda one: one.path)))
        config = checked(sources, space(), store.newest_config(), now)
        if not path.exists() or path.read_text() != text:
            write_whole(path, text.encode())
        store.keep(config, {one.path.name: one.text for one in sources.files}, why, now)
    return config


def experiment_file(home: Home, plan: Plan) -> Path:
    """Where `write` puts it."""
    return folder(home) / f"{plan.experiment}.yaml"
