"""What slates are truly worth in the simulated world: 0 is a random slate, 1 the best one, both from eligible tracks.

rows = true_value_rows(home, dataset, models, {"served": slates}, probes=400)

One fixed sample of session starts in the evaluation window; the same eligible tracks, layout and k for all;
true_value(pi) = (V(pi) - V(random)) / (V(oracle) - V(random)), a ratio of means (recsys.simulation.truth).
Intervals resample listeners; differences are paired on the same session starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.errors import BadInput
from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import Interval, Resampler
from recsys.evaluation.evaluate import Row
from recsys.evaluation.protocol import Model
from recsys.evaluation.tasks import queries_at
from recsys.home import Home
from recsys.plays import I64
from recsys.types import DEVICES, QueryBatch

if TYPE_CHECKING:
    from recsys.simulation.truth import Probes, World

F64 = NDArray[np.float64]
SlateOf = Callable[[QueryBatch, int], NDArray[np.integer]]
"""(batch, k) -> (b, k) dense track numbers, best first, -1 for an empty slot."""

LONG_TERM = "long_term_taste"
"""The policy that knows each listener's true long-term taste but not today's mood and fatigue."""
_BLOCK = 64
_RANDOM, _ORACLE = "(random)", "(oracle)"


@dataclass(frozen=True)
class SlateValues:
    """Value of every policy's slate at each of p session starts, with the two ends of the scale."""

    k: int
    listener: NDArray[np.int64]  # (p,) cluster of the bootstrap
    new: NDArray[np.bool_]  # (p,) joined after the split
    policies: dict[str, F64]
    random: F64
    oracle: F64


def true_value_rows(
    home: Home,
    dataset: Dataset,
    models: Mapping[str, Model],
    producers: Mapping[str, SlateOf] | None = None,
    *,
    probes: int = 400,
    k: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Rows of metric `true_value` (task home) for models (their k best scores), slate producers and the
    long-term-taste policy; and `true_value_difference` of each producer, cohort `over_<other>`.

    Raises:
        NotReady: the home holds no simulated world.
        BadInput: the dataset is not of this world.
    """
    values = slate_values(home, dataset, models, producers or {}, probes, k, seed, progress)
    everyone = np.ones(len(values.listener), bool)
    rows = _rows(values, "all", everyone, seed)
    if values.new.sum() >= 10:
        rows += _rows(values, "new_listeners", values.new, seed)
    for name in producers or {}:
        rows += [
            _row(
                values.k,
                name,
                f"over_{other}",
                "true_value_difference",
                difference(values, name, other, seed),
            )
            for other in values.policies
            if other != name
        ]
    return rows


def difference(values: SlateValues, name: str, other: str, seed: int = 0) -> Interval:
    """True value of one policy minus that of another, paired on the same session starts."""
    gain = values.policies[name] - values.policies[other]
    return Resampler.of(values.listener, seed=seed).ratio(gain, values.oracle - values.random)


def slate_values(
    home: Home,
    dataset: Dataset,
    models: Mapping[str, Model],
    producers: Mapping[str, SlateOf],
    probes: int,
    k: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> SlateValues:
    """Values of all policies on one fixed sample of session starts, a block at a time."""
    from recsys.simulation.truth import World

    world = World.load(home)
    if world.track_ids != dataset.items.track_ids:
        raise BadInput("the catalog in the lake is not that of the simulated world: simulate this home again")
    sample = world.probes(probes, seed)
    batch = probe_queries(dataset, sample)
    parts = []
    for low in range(0, len(sample), _BLOCK):
        rows = np.arange(low, min(low + _BLOCK, len(sample)))
        parts.append(_block(world, sample, rows, batch.take(rows), models, producers, k))
        if progress:
            progress(int(rows[-1]) + 1, len(sample))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    cluster = np.unique(sample.user_id, return_inverse=True)[1].astype(np.int64)
    random, oracle = whole.pop(_RANDOM), whole.pop(_ORACLE)
    return SlateValues(k, cluster, sample.new, whole, random, oracle)


def _block(
    world: World,
    sample: Probes,
    rows: I64,
    batch: QueryBatch,
    models: Mapping[str, Model],
    producers: Mapping[str, SlateOf],
    k: int,
) -> dict[str, F64]:
    """Value of each policy's slates for some probes; also both ends of the scale."""
    from recsys.simulation import truth

    utility, eligible, artist = world.utilities(sample, rows), world.eligible(sample, rows), world.artist
    long_term = truth.oracle_slates(world.long_term_utilities(sample, rows), eligible, artist, k)
    slates: dict[str, NDArray[np.integer]] = {LONG_TERM: long_term}
    for name, model in models.items():
        scores = np.where(eligible, model.score(batch), np.float32(-np.inf))
        slates[name] = metrics.top_k(scores, k, rows)
    for name, produce in producers.items():
        slates[name] = _checked(produce(batch, k), eligible, name)
    slates[_ORACLE] = truth.oracle_slates(utility, eligible, artist, k)
    values = {n: truth.slate_values(utility, s.astype(np.int64), artist) for n, s in slates.items()}
    return values | {_RANDOM: truth.random_values(utility, eligible, artist, k)}


def _checked(slates: NDArray[np.integer], eligible: NDArray[np.bool_], name: str) -> NDArray[np.integer]:
    """Raises BadInput for a slate with a track twice or one that may not be shown."""
    shown = slates >= 0
    may = np.take_along_axis(eligible, np.where(shown, slates, 0), axis=1) | ~shown
    ordered = np.sort(np.where(shown, slates, -1 - np.arange(slates.shape[1])), axis=1)
    if not may.all() or (np.diff(ordered, axis=1) == 0).any():
        raise BadInput(f"{name}: a slate holds a track twice or one that may not be shown: fix its filters")
    return slates


def probe_queries(dataset: Dataset, sample: Probes) -> QueryBatch:
    """The probes as requests: the log as it stood at that time, no plays for listeners that may not be used."""
    numbers = {user: i for i, user in enumerate(dataset.user_ids)}
    listener = np.array([numbers.get(user, -1) for user in sample.user_id], np.int64)
    country = np.array([dataset.items.country_number(c) for c in sample.country], np.int16)
    device = np.array([DEVICES.index(d) for d in sample.device], np.int8)
    return queries_at(dataset, listener, sample.now, sample.hour.astype(np.int8), country, device)


def _rows(values: SlateValues, cohort: str, mask: NDArray[np.bool_], seed: int) -> list[Row]:
    draw = Resampler.of(values.listener[mask], seed=seed)
    room = (values.oracle - values.random)[mask]
    return [
        _row(values.k, name, cohort, "true_value", draw.ratio((value - values.random)[mask], room))
        for name, value in values.policies.items()
    ]


def _row(k: int, model: str, cohort: str, metric: str, interval: Interval) -> Row:
    return Row(model, "home", cohort, metric, k, interval.value, interval.low, interval.high)
