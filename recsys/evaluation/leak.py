"""Leakage guard: an answer must not change when the part of the log that was not yet written is changed.

check_training(fit, dataset, split.test, batch)        # what was learned comes from before the split
check_queries(model_of, dataset, listeners, times)     # what is read at query time comes from before `now`
Both raise recsys.errors.Leak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recsys.dataset import Dataset
from recsys.errors import Leak
from recsys.evaluation.protocol import Fit, Model, Scores
from recsys.evaluation.tasks import queries_at
from recsys.plays import I64, Plays
from recsys.types import QueryBatch


def scrambled(dataset: Dataset, since_ms: int, seed: int = 0) -> Dataset:
    """The same log with every play from `since_ms` on replaced: other tracks, other outcomes, same times."""
    plays, rng = dataset.plays, np.random.default_rng(seed)
    later = plays.start >= since_ms
    track, outcome = plays.track.copy(), plays.outcome.copy()
    track[later] = rng.integers(0, len(dataset.items), later.sum())
    outcome[later] = rng.integers(0, 3, later.sum())
    return replace(dataset, plays=replace(plays, track=track, outcome=outcome))


def shortened(dataset: Dataset, until_ms: int) -> Dataset:
    """The same log without the plays from `until_ms` on (listeners stay, possibly without plays)."""
    return replace(dataset, plays=dataset.plays.before(until_ms))


def check_training(
    fit: Fit, dataset: Dataset, until_ms: int, batch: QueryBatch, tolerance: float = 1e-5
) -> None:
    """Fits on the log as it is, with its future scrambled, and without it: the scores of `batch` must be
    equal.

    Raises:
        Leak: training read plays from `until_ms` on.
    """
    model = fit(dataset, until_ms)
    scores = model.score(batch)
    for what, other in (
        ("changed", scrambled(dataset, until_ms)),
        ("removed", shortened(dataset, until_ms)),
    ):
        _same(scores, fit(other, until_ms).score(batch), tolerance, f"{model.name}: training, future {what}")


def check_queries(
    model_of: Callable[[Dataset], Model],
    dataset: Dataset,
    listeners: I64,
    times: I64,
    tolerance: float = 1e-5,
) -> None:
    """Asks each query on the log as it is and on logs whose plays from `now` on are changed or removed.

    `model_of` binds a fitted model to a log that it may read while answering.

    Raises:
        Leak: an answer depends on the log from its own `now` on.
    """
    for listener, now in zip(listeners, times, strict=True):
        scores = _answer(model_of, dataset, int(listener), int(now))
        for what, other in (
            ("changed", scrambled(dataset, int(now))),
            ("removed", shortened(dataset, int(now))),
        ):
            changed = _answer(model_of, other, int(listener), int(now))
            name = f"{model_of(dataset).name}: listener {listener} at {now}, log after it {what}"
            _same(scores, changed, tolerance, name)


def check_before(plays: Plays, until_ms: int) -> None:
    """Raises Leak if training data hold a play from `until_ms` on."""
    late = int((plays.start >= until_ms).sum())
    if late:
        raise Leak(
            f"{late} plays in the training data started at or after the split: cut with plays.before()"
        )


def _answer(model_of: Callable[[Dataset], Model], dataset: Dataset, listener: int, now: int) -> Scores:
    zero = np.zeros(1, np.int8)
    country = dataset.country[[listener]]
    batch = queries_at(dataset, np.array([listener]), np.array([now]), zero, country, zero)
    return model_of(dataset).score(batch)


def _same(a: Scores, b: Scores, tolerance: float, where: str) -> None:
    finite = np.isfinite(a) & np.isfinite(b)
    scale = float(np.abs(a[finite]).max(initial=0))
    if (np.isfinite(a) != np.isfinite(b)).any() or np.abs(a - b, where=finite, out=np.zeros_like(a)).max() > (
        tolerance * scale
    ):
        raise Leak(f"{where}: the answer changed; it read what was not known at the time")
