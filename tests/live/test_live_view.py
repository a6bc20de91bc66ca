"""A view follows the catalog as a rebuild would: same eligible tracks, same vectors, same exact search."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from live_world import LONG_AGO, again, like, track_id

from music.catalog import Catalog
from recsys.catalog_delta import Delta
from recsys.index import Index
from recsys.index_live import LiveIndex, merged
from recsys.items import MS_PER_DAY, Items
from recsys.retrieval.bitmaps import Bitmaps
from recsys.retrieval.eligibility import Eligibility
from recsys.retrieval.engine import Engine
from recsys.retrieval.plans import Plan
from serving.live.view import View, same
from serving.loaded import LoadedRelease

SOON = 2_000_000_000_000
"""A time (UTC ms) up to which every withdrawal of these tests is in force."""
SOME = st.integers(0, 30)
NEW = st.sampled_from([f"new {i}" for i in range(6)])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("withdraw"), SOME),
        st.tuples(st.just("restore"), SOME),
        st.tuples(st.just("explicit"), SOME),
        st.tuples(st.just("premium"), SOME),
        st.tuples(st.just("genre"), SOME),
        st.tuples(st.just("back"), SOME),
        st.tuples(st.just("windows"), SOME),
        st.tuples(st.just("rename"), SOME),
        st.tuples(st.just("publish"), NEW),
        st.tuples(st.just("publish"), NEW),
    ),
    min_size=1,
    max_size=8,
)


def act(catalog: Catalog, items: Items, what: str, which: int | str) -> None:
    """One change of the catalog."""
    if isinstance(which, str):
        catalog.write(like(items, len(which) % 3, which))
        return
    known = items.track_ids[which]
    change = {"explicit": {"explicit": True}, "premium": {"premium": True}, "genre": {"genre": "new/kind"}}
    if what == "withdraw":
        catalog.withdraw(known, LONG_AGO)
    elif what == "restore":
        catalog.restore(known)
    elif what == "windows":
        rows = {"track_id": [known], "country": ["JP"], "available_from": [LONG_AGO]}
        catalog.write({"availability": pl.DataFrame(rows)})
    elif what == "rename":
        artist = items.frame["artist_id"][which]
        catalog.write({"artists": pl.DataFrame({"artist_id": [artist], "name": [f"name {which}"]})})
    else:
        catalog.write(again(items, which, **change.get(what, {})))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
    phases=[Phase.generate],  # an example takes half a second: shrinking would take minutes
)
@given(OPERATIONS, st.integers(0, 3))
def test_any_sequence_of_changes_gives_what_a_rebuild_gives(
    release: LoadedRelease,
    tiny_root: Path,
    tmp_path: Path,
    operations: list[tuple[str, int | str]],
    batches: int,
) -> None:
    shutil.copy(tiny_root / "catalog.sqlite", tmp_path / "catalog.sqlite")
    catalog = Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")
    view = View.of(release, catalog.snapshot(), SOON)
    now = release.manifest.until
    eligible(view.release, now)  # bitmaps are kept from here on, and looked at again
    for i, (what, which) in enumerate(operations):
        act(catalog, release.items, what, which)
        if i % (batches + 1) == 0:
            view = view.moved(catalog.changes(view.known.revision), SOON)
    view = view.moved(catalog.changes(view.known.revision), SOON)
    at_once = View.of(release, catalog.snapshot(), SOON)
    tables = catalog.tables()
    catalog.close()
    assert same(view.delta, at_once.delta)
    for one, other in ((view, at_once), (view.with_index(*fresh_index(view)), at_once)):
        assert_same_release(one.release, other.release)
    rebuilt = Items.of(tables["tracks"], tables["artists"], tables["availability"])
    for country in (*release.items.countries[:3], None):
        for mask, words in zip(
            masks(rebuilt, country, now), eligible(view.release, now, country), strict=True
        ):
            assert names(rebuilt, mask) == names(view.release.items, words)
    assert_exact_search(view.release, rebuilt, now)


def fresh_index(view: View) -> tuple[Index, np.ndarray]:
    return merged(view.release.index, view.release.two_tower.item_vectors), view.delta.row


def assert_same_release(a: LoadedRelease, b: LoadedRelease) -> None:
    """Bit by bit, but for the index."""
    assert a.items.frame.equals(b.items.frame)
    for name in (
        "artist",
        "genre",
        "parent",
        "release_day",
        "explicit",
        "audio",
        "available_from",
        "available_until",
    ):
        np.testing.assert_array_equal(getattr(a.items, name), getattr(b.items, name))
    np.testing.assert_array_equal(a.two_tower.item_vectors, b.two_tower.item_vectors)
    np.testing.assert_array_equal(a.two_tower.unit_vectors, b.two_tower.unit_vectors)
    np.testing.assert_array_equal(a.sequence.item_vectors, b.sequence.item_vectors)
    np.testing.assert_array_equal(a.stats.territory, b.stats.territory)
    assert a.items.track_ids == b.items.track_ids
    queries = a.two_tower.item_vectors[:4]
    for x, y in zip(search(a, queries), search(b, queries), strict=True):
        np.testing.assert_array_equal(x, y)


def search(release: LoadedRelease, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    layout = release.index.layout
    assert layout is not None
    rows = tuple(eligible(release, release.manifest.until)[0:1] * len(queries))
    return release.index.search(queries, 50, Bitmaps(layout, tuple(layout.pack(row) for row in rows)))


def assert_exact_search(release: LoadedRelease, rebuilt: Items, now: int) -> None:
    """The live index finds what an index over the rebuilt catalog finds."""
    row = release.items.numbers(rebuilt.track_ids)
    engine = Engine.build(release.two_tower.item_vectors[row], lists=False)
    (mask, *_) = masks(rebuilt, "SE", now)
    words = engine.layout.pack(mask)
    queries = release.two_tower.item_vectors[[3, 500]]
    live = eligible(release, now, "SE")[0]
    scores, ids = release.index.search(queries, 40, live)
    layout = release.index.layout
    assert layout is not None
    scores, ids = release.index.search(queries, 40, Bitmaps(layout, (layout.pack(live),) * 2))
    for query, found, value in zip(queries, ids, scores, strict=True):
        want, where, _ = engine.run(Plan(kind="gather"), query, 40, words)
        assert value.tolist() == want.tolist()
        assert ranked(release.items, found, value) == ranked(rebuilt, where, want)


def ranked(items: Items, ids: np.ndarray, scores: np.ndarray) -> list[tuple[float, str]]:
    """Names by score; ties, which dense numbers order, by name."""
    return sorted((-float(s), items.track_ids[i]) for i, s in zip(ids, scores, strict=True))[:39]


def masks(items: Items, country: str | None, now: int) -> list[np.ndarray]:
    open_ = items.available(items.country_number(country), now) & items.released(now)
    return [open_, open_ & ~items.explicit, open_ & ~items.explicit & ~items.premium]


def eligible(release: LoadedRelease, now: int, country: str | None = "SE") -> list[np.ndarray]:
    """The same from the bitmaps that requests use."""
    layout = release.index.layout
    assert layout is not None
    kept, number = Eligibility.shared(release.items, layout), release.items.country_number(country)
    every = np.arange(len(layout))
    return [layout.has(kept.open(number, now, r), every) for r in ((), ("clean",), ("clean", "free"))]


def names(items: Items, mask: np.ndarray) -> set[str]:
    return {items.track_ids[i] for i in np.flatnonzero(mask)}


def test_the_tiny_catalog_differs_in_nothing_from_its_release(
    release: LoadedRelease, tiny_root: Path
) -> None:
    catalog = Catalog.open(f"sqlite:///{tiny_root}/catalog.sqlite")
    view = View.of(release, catalog.snapshot(), SOON)
    catalog.close()
    assert len(view.delta) == 0
    assert view.release.index is release.index


def test_a_running_request_keeps_its_arrays(release: LoadedRelease, tmp_path: Path, tiny_root: Path) -> None:
    shutil.copy(tiny_root / "catalog.sqlite", tmp_path / "catalog.sqlite")
    catalog = Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")
    before = View.of(release, catalog.snapshot(), SOON)
    copies = {n: getattr(before.release.items, n).copy() for n in ("genre", "explicit", "available_until")}
    vectors = before.release.two_tower.item_vectors.copy()
    for operation in ("explicit", "genre", "withdraw"):
        act(catalog, release.items, operation, 5)
    after = before.moved(catalog.changes(before.known.revision), SOON)
    catalog.close()
    for name, copy in copies.items():
        np.testing.assert_array_equal(getattr(before.release.items, name), copy)
    np.testing.assert_array_equal(before.release.two_tower.item_vectors, vectors)
    assert (after.release.two_tower.item_vectors[5] != vectors[5]).any()


def test_a_withdrawal_is_in_force_at_any_time_asked_for_unless_it_lies_ahead(release: LoadedRelease) -> None:
    items = release.items
    row = again(items, 7)["tracks"].with_columns(artist_name=pl.lit("x"), added=pl.lit(0, pl.Int64))
    windows = pl.DataFrame(schema={"track_id": pl.String(), "country": pl.String()}).with_columns(
        available_from=pl.lit(None, pl.Datetime("us", "UTC")),
        available_until=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    at = int(now.timestamp() * 1_000_000)
    gone = Delta.of(items, row.with_columns(withdrawn_at=pl.lit(at, pl.Int64)), windows, at // 1000)
    assert (gone.since >= gone.until).all()
    ahead = Delta.of(
        items, row.with_columns(withdrawn_at=pl.lit(at, pl.Int64)), windows, at // 1000 - MS_PER_DAY
    )
    assert (ahead.since < ahead.until).all()


@pytest.mark.parametrize("planned", [True, False])
def test_a_live_index_is_brute_force_with_and_without_a_cost_table(
    release: LoadedRelease, planned: bool
) -> None:
    rng = np.random.default_rng(3)
    index = release.index
    if not planned:
        index = Index(index._handle, index._vectors, index.report)
    vectors = np.concatenate(
        [index._vectors, rng.normal(size=(70, index._vectors.shape[1])).astype(np.float32)]
    )
    moved = np.array([4, 900, 17])
    vectors[moved] += 1
    live = LiveIndex.of(index, vectors, moved)
    mask = rng.random(len(vectors)) < 0.5
    layout = live.layout
    assert (layout is not None) == planned
    allowed = mask if layout is None else Bitmaps(layout, (layout.pack(mask),) * 3)
    queries = rng.normal(size=(3, vectors.shape[1])).astype(np.float32)
    _, ids = live.search(queries, 60, allowed)
    for query, found in zip(queries, ids, strict=True):
        scores = np.einsum("md,d->m", vectors, query)
        best = np.flatnonzero(mask)[np.argsort(-scores[mask], kind="stable")][:60]
        assert len(np.intersect1d(found, best)) >= 59  # sums of another order may swap the last
        assert mask[found].all()
    assert (live.search(queries, len(vectors))[1] >= 0).all()


def test_new_tracks_are_numbered_in_the_order_of_their_coming(
    release: LoadedRelease, tiny_root: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny_root / "catalog.sqlite", tmp_path / "catalog.sqlite")
    catalog = Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")
    for name in ("b", "a", "c"):
        catalog.write(like(release.items, 1, name))
    view = View.of(release, catalog.snapshot(), SOON)
    catalog.close()
    assert view.release.items.track_ids[len(release.items) :] == [track_id(n) for n in ("b", "a", "c")]
