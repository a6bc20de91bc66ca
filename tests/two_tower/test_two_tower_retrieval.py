"""The two-tower source through the planner: the proposals it made from masks, from bitmaps that are shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.two_tower import TwoTower, TwoTowerConfig
from models.two_tower.train import train
from recsys import index
from recsys.dataset import Dataset
from recsys.errors import BadInput
from recsys.items import MS_PER_DAY, Items
from recsys.retrieval.eligibility import Eligibility
from recsys.types import QueryBatch
from serving.parts.sources import TwoTowerSource, ragged, rights

N, B, COUNTRIES = 60, 120, 3


@pytest.fixture(scope="module")
def items(checkerboard: Dataset) -> Items:
    """Two countries and elsewhere: windows that open and end around the split, releases before and after it."""
    rng, now = np.random.default_rng(5), checkerboard.split.valid
    since = now + rng.integers(-5, 3, (N, COUNTRIES)) * 3_600_000
    until = since + rng.integers(0, 20, (N, COUNTRIES)) * 3_600_000
    return replace(
        checkerboard.items,
        countries=["SE", "DE"],
        available_from=since,
        available_until=until,
        explicit=rng.random(N) < 0.3,
        release_day=(now // MS_PER_DAY + rng.integers(-9, 2, N)).astype(np.int32),
    )


@pytest.fixture(scope="module")
def model(checkerboard: Dataset, items: Items) -> TwoTower:
    config = TwoTowerConfig(embedding_dim=16, hidden_dim=32, num_heads=2, batch_size=64, epochs=1)
    known = replace(checkerboard.items, countries=items.countries)
    return train(replace(checkerboard, items=known), checkerboard.split.valid, config)


@pytest.fixture(scope="module")
def batch(checkerboard: Dataset) -> QueryBatch:
    now = checkerboard.split.valid + np.arange(B) * 600_000
    zero = np.zeros(B, np.int8)
    country = (np.arange(B) % COUNTRIES).astype(np.int16)
    return QueryBatch(checkerboard.plays.before(checkerboard.split.valid), now, zero, country, zero)


@pytest.mark.parametrize("k", [5, 25, 500])
def test_proposals_are_those_of_the_mask(model: TwoTower, items: Items, batch: QueryBatch, k: int) -> None:
    built = index.build(model.item_vectors, model.encode(batch))
    planned = TwoTowerSource(model, built, items, k=k).propose(batch)
    masked = ragged(*model.candidates(batch, k, rights(items, batch), built))
    np.testing.assert_array_equal(planned.ids, masked.ids)
    np.testing.assert_array_equal(planned.offsets, masked.offsets)
    np.testing.assert_allclose(planned.score, masked.score, rtol=1e-5, atol=1e-5)
    assert rights(items, batch)[np.repeat(np.arange(B), np.diff(planned.offsets)), planned.ids].all()
    plans = batch.memo["two_tower/plans"]
    assert len(plans) == B
    assert all(plan.exact for plan in plans)


def test_bitmaps_without_an_index_are_refused(model: TwoTower, items: Items, batch: QueryBatch) -> None:
    layout = index.build(model.item_vectors, model.encode(batch)).layout
    assert layout is not None
    with pytest.raises(BadInput):
        model.candidates(batch, 5, Eligibility(items, layout).of(batch.country, batch.now))


def test_bitmaps_are_the_rights_masks_to_the_millisecond(model: TwoTower, items: Items) -> None:
    layout = index.build(model.item_vectors, model.item_vectors[:3]).layout
    assert layout is not None
    eligibility = Eligibility(items, layout)
    edges = [items.available_from, items.available_until, items.release_day.astype(np.int64) * MS_PER_DAY]
    for country in range(COUNTRIES):
        for now in np.unique(np.concatenate([edge.ravel() for edge in edges]))[::7]:
            for moment in (int(now) - 1, int(now), int(now) + 1):
                expected = layout.pack(items.available(country, moment) & items.released(moment))
                np.testing.assert_array_equal(eligibility.open(country, moment), expected)


def test_requirements_and_heard_tracks_narrow_a_row_of_its_own(model: TwoTower, items: Items) -> None:
    layout = index.build(model.item_vectors, model.item_vectors[:3]).layout
    assert layout is not None
    free = np.arange(N) % 2 == 0
    eligibility = Eligibility(items, layout, {"free": free})
    now = np.full(3, int(np.median(items.available_from[:, 0])) + 1, np.int64)
    mask = items.available(0, int(now[0])) & items.released(int(now[0]))
    heard = np.flatnonzero(mask)[:3].tolist()
    assert len(heard) == 3
    allowed = eligibility.of(np.zeros(3, int), now, [(), ("clean", "free"), ()], [[], [], heard])
    found = allowed.has(np.tile(np.arange(N), (3, 1)))
    np.testing.assert_array_equal(found[0], mask)
    np.testing.assert_array_equal(found[1], mask & ~items.explicit & free)
    np.testing.assert_array_equal(np.flatnonzero(found[2]), np.flatnonzero(mask)[3:])
    np.testing.assert_array_equal(eligibility.open(0, int(now[0])), layout.pack(mask))
