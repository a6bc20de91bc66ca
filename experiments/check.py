"""What must hold between the parts of a config: names, layers, salts, settings, metrics, overrides.

first_conflict(config)    # None, or (place, message)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from experiments.columns import COLUMNS, DAYS
from experiments.targeting import COHORTS, KNOWN, mistakes

if TYPE_CHECKING:
    from experiments.config import Config
    from experiments.experiment import Experiment

Conflict = tuple[tuple[str | int, ...], str]


def first_conflict(config: Config) -> Conflict | None:
    """The first thing that does not fit; its place in the config, and what is wrong."""
    for check in CHECKS:
        for found in check(config):
            return found
    return None


def _names(config: Config) -> Iterator[Conflict]:
    """Names are unique; experiments and holdouts share theirs, for both stand among the arms of a decision."""
    tested: list[tuple[str, Sequence[Any]]] = [
        (part, getattr(config, part)) for part in ("metrics", "layers")
    ]
    tested += [("cohorts", config.cohorts), ("attributes", config.attributes)]
    for part, items in tested:
        yield from _repeated([(part, i, one.name) for i, one in enumerate(items)])
    shared = [("experiments", i, e.name) for i, e in enumerate(config.experiments)]
    yield from _repeated(shared + [("holdouts", i, h.name) for i, h in enumerate(config.holdouts)])
    for i, cohort in enumerate(config.cohorts):
        if cohort.name in COHORTS:
            yield ("cohorts", i, "name"), f"{cohort.name} is a cohort that listeners are in by their history"
    for i, attribute in enumerate(config.attributes):
        if attribute.name in KNOWN:
            yield ("attributes", i, "name"), f"{attribute.name} is known already"


def _repeated(named: Sequence[tuple[str, int, str]]) -> Iterator[Conflict]:
    seen: set[str] = set()
    for part, i, name in named:
        if name in seen:
            yield (part, i, "name"), f"the name {name} is taken"
        seen.add(name)


def _pairs(config: Config) -> Iterator[tuple[Experiment, int, Experiment]]:
    """Experiments that run at the same time: (a, number of b, b)."""
    for (_, a), (j, b) in combinations(enumerate(config.experiments), 2):
        if a.overlaps(b):
            yield a, j, b


def _layers(config: Config) -> Iterator[Conflict]:
    layers = {layer.name: layer for layer in config.layers}
    for i, e in enumerate(config.experiments):
        if e.layer is None:
            continue
        place = ("experiments", i, "layer", "name")
        if e.layer.name not in layers:
            yield place, f"no layer is called {e.layer.name}: declare it under layers"
        elif layers[e.layer.name].unit != e.unit:
            yield place, f"layer {e.layer.name} divides {layers[e.layer.name].unit}s, not {e.unit}s"
    for a, j, b in _pairs(config):
        if a.layer and b.layer and a.layer.name == b.layer.name and not a.excludes(b):
            yield (
                ("experiments", j, "layer"),
                f"overlaps with {a.name}: give them disjoint slices of {a.layer.name}",
            )


def _salts(config: Config) -> Iterator[Conflict]:
    """The same salt puts the same units together: two experiments would measure each other."""
    for a, j, b in _pairs(config):
        if a.salt == b.salt and a.unit == b.unit and not a.excludes(b):
            yield ("experiments", j, "salt"), f"{a.name} has the same salt: their arms would coincide"
    gates = {layer.salt or layer.name: f"layer {layer.name}" for layer in config.layers}
    for i, layer in enumerate(config.layers):
        salt = layer.salt or layer.name
        if gates[salt] != f"layer {layer.name}":
            yield ("layers", i), f"{gates[salt]} has the same salt: they would not be independent"
    for i, holdout in enumerate(config.holdouts):
        if holdout.salt in gates:
            yield ("holdouts", i, "salt"), f"{gates[holdout.salt]} has the same salt: they would coincide"
        gates[holdout.salt] = f"holdout {holdout.name}"
    for i, e in enumerate(config.experiments):
        if e.salt in gates:
            yield (
                ("experiments", i, "salt"),
                f"{gates[e.salt]} has the same salt: arms would not be random in it",
            )


def _settings(config: Config) -> Iterator[Conflict]:
    """One request cannot be answered by two releases, nor with two values of one setting; it has units of all kinds."""
    for a, j, b in _pairs(config):
        if a.excludes(b) or (a.unit != b.unit and "artist" in (a.unit, b.unit)):  # no request has an artist
            continue
        for one in sorted(a.sets()):
            clash = next((o for o in sorted(b.sets()) if _same_or_inside(one, o)), None)
            if clash is not None:
                what = "releases" if clash == "release" else clash
                way_out = (
                    "give them disjoint slices of one layer"
                    if a.unit == b.unit
                    else "run one after the other"
                )
                yield ("experiments", j, "arms"), f"{a.name} and {b.name} both choose {what}: {way_out}"


def _same_or_inside(a: str, b: str) -> bool:
    return a == b or a.startswith(f"{b}.") or b.startswith(f"{a}.")


def _metrics(config: Config) -> Iterator[Conflict]:
    for i, e in enumerate(config.experiments):
        if e.question is None:
            continue
        asked: list[tuple[tuple[str | int, ...], str]] = [(("primary",), e.question.primary)]
        asked += [(("secondary", n), name) for n, name in enumerate(e.question.secondary)]
        asked += [(("guardrails", n, "metric"), g.metric) for n, g in enumerate(e.question.guardrails)]
        for place, name in asked:
            if config.metric(name) is None:
                yield (
                    ("experiments", i, "question", *place),
                    f"no metric is called {name}: declare it under metrics",
                )


def _columns(config: Config) -> Iterator[Conflict]:
    """Metrics are of columns that exist; what answers say is kept by row, for quantiles."""
    known = {*COLUMNS, DAYS}
    for i, metric in enumerate(config.metrics):
        keys = ("numerator", "denominator") if metric.kind == "ratio" else ("column",)
        for key, column in zip(keys, metric.columns, strict=True):
            if column not in known:
                yield ("metrics", i, key), f"no column is called {column}: {', '.join(sorted(known))}"
            elif metric.kind != "quantile" and column in COLUMNS and COLUMNS[column].source == "answers":
                yield ("metrics", i, "kind"), f"{column} is known by answer: ask for a quantile of it"


def _sequential(config: Config) -> Iterator[Conflict]:
    """Whether a unit has ever done something keeps changing as days pass; looks need it over the same days."""
    for i, e in enumerate(config.experiments):
        if e.question is None or e.question.stopping.rule == "fixed":
            continue
        for name in (e.question.primary, *(g.metric for g in e.question.guardrails)):
            metric = config.metric(name)
            if metric is not None and metric.kind == "proportion" and metric.window is None:
                place = ("experiments", i, "question", "stopping")
                yield place, f"{name} is a proportion: give it a window, or look once (rule: fixed)"


def _targeting(config: Config) -> Iterator[Conflict]:
    attributes = KNOWN | {a.name: a.values for a in config.attributes}
    groups = [cohort.name for cohort in config.cohorts]
    for i, e in enumerate(config.experiments):
        for place, message in mistakes(e.targeting, attributes, groups):
            yield ("experiments", i, "targeting", *place), message


def _overrides(config: Config) -> Iterator[Conflict]:
    seen: set[tuple[str, str]] = set()
    for i, override in enumerate(config.overrides):
        experiment = config.experiment(override.experiment)
        if experiment is None:
            yield ("overrides", i, "experiment"), f"no experiment is called {override.experiment}"
        elif override.arm not in [arm.name for arm in experiment.arms]:
            yield ("overrides", i, "arm"), f"{override.experiment} has no arm {override.arm}"
        if (override.unit, override.experiment) in seen:
            yield ("overrides", i), f"{override.unit} has an override in {override.experiment} already"
        seen.add((override.unit, override.experiment))


def _holdouts(config: Config) -> Iterator[Conflict]:
    names = {layer.name for layer in config.layers}
    for i, holdout in enumerate(config.holdouts):
        for j, name in enumerate(holdout.layers or ()):
            if name not in names:
                yield ("holdouts", i, "layers", j), f"no layer is called {name}"
        if holdout.start and holdout.stop and holdout.stop <= holdout.start:
            yield ("holdouts", i, "stop"), "stop must be after start"


CHECKS = (
    _names,
    _layers,
    _salts,
    _settings,
    _metrics,
    _columns,
    _sequential,
    _targeting,
    _overrides,
    _holdouts,
)
