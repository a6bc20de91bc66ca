"""A release with semantic ids: one source more on the home feed, replayable, and at one with a moving catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.semantic_ids import SemanticConfig
from models.semantic_ids.train import train
from recsys.dataset import Dataset, load
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import Surface
from recsys.types import Query, QueryBatch, UserState
from serving.cli.train import make_recipe
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, request_seed
from serving.surfaces import home

SMALL = SemanticConfig(
    levels=(16, 16, 16),
    factors=16,
    embedding_dim=16,
    num_layers=1,
    max_length=16,
    hidden_dim=16,
    epochs=1,
    batch_size=256,
    predictions=4,
    beam=128,
)


@pytest.fixture(scope="module")
def data(tiny_home: Home) -> Dataset:
    return load(Lake(tiny_home.lake))


@pytest.fixture(scope="module")
def release(tiny_root: Path, data: Dataset) -> LoadedRelease:
    plain = LoadedRelease.load(tiny_root / "releases" / "v1")
    return replace(plain, semantic=train(data, data.split.valid, SMALL))


def asked(data: Dataset, listeners: int, limit: int = 10) -> list[Query]:
    """Requests on the home feed by listeners with their newest plays."""
    queries, plays, now = [], data.plays.last(60), data.split.test
    for j in range(listeners):
        rows = slice(int(plays.offsets[j]), int(plays.offsets[j + 1]))
        past = plays.start[rows] < now
        columns = ("start", "ms_played", "outcome", "hour", "device", "surface")
        known = {name: tuple(getattr(plays, name)[rows][past].tolist()) for name in columns}
        tracks = tuple(data.items.track_ids[t] for t in plays.track[rows][past])
        user = UserState(data.user_ids[j], track_id=tracks, **known)
        name = f"semantic-{j}"
        queries.append(Query(name, Surface.HOME, now, request_seed(name), limit, user))
    return queries


def test_the_source_proposes_tracks_that_may_be_heard_and_were_not(
    data: Dataset, release: LoadedRelease
) -> None:
    (source,) = [s for s in home.sources(release) if s.name == "semantic"]
    queries = asked(data, 12)
    batch = QueryBatch.of(queries, release.items)
    found = source.propose(batch)
    for j, query in enumerate(queries):
        ids = found.ids[found.offsets[j] : found.offsets[j + 1]]
        assert len(set(ids.tolist())) == 100
        assert release.items.available(int(batch.country[j]), query.now)[ids].all()
        assert not {release.items.track_ids[i] for i in ids} & set(query.user.track_id)
    alone = [source.propose(QueryBatch.of([query], release.items)) for query in queries[:4]]
    for j, one in enumerate(alone):
        mine = slice(int(found.offsets[j]), int(found.offsets[j + 1]))
        assert np.allclose(np.sort(one.score), np.sort(found.score[mine]), atol=1e-4)


def test_an_answer_with_it_replays_and_a_release_without_it_has_no_such_source(
    data: Dataset, release: LoadedRelease
) -> None:
    assert "semantic" not in {s.name for s in home.sources(replace(release, semantic=None))}
    recommender = Recommender(release)
    for query in asked(data, 6):
        decision = recommender.answer(query)
        assert decision.sources["semantic"]["count"] == 100
        again = recommender.replay(decision)
        assert [item.track for item in again.slates[0].items] == [
            data.items.number(slot["track_id"]) for slot in decision.slots
        ]
        assert "source:semantic" in decision.scores


def test_a_track_published_later_can_be_generated(data: Dataset, release: LoadedRelease) -> None:
    assert release.semantic is not None
    model, n = release.semantic, len(release.items)
    grown = release.items.take(np.append(np.arange(n), [3, 5]))
    frame = grown.frame.with_row_index().with_columns(
        track_id=grown.frame["track_id"].scatter([n, n + 1], ["Z" * 21 + "1", "Z" * 21 + "2"])
    )
    live = model.revised(replace(grown, frame=frame.drop("index")), np.array([n, n + 1]))
    assert (live.codes[:n] == model.codes).all()
    batch = QueryBatch.of(asked(data, 20), release.items)
    only = np.arange(n + 2) >= n
    ids, scores = live.candidates(batch, 2, only)
    assert set(ids.ravel().tolist()) == {n, n + 1}
    assert np.isfinite(scores).all()


def test_the_recipe_trains_it_only_when_asked(tiny_root: Path, tmp_path: Path) -> None:
    """`semantic` in a settings file turns the part on; without it a release is as it was."""
    from serving.recipe import RecipeConfig

    assert RecipeConfig.of("demo").semantic is None
    settings = tmp_path / "more.yaml"
    settings.write_text("semantic: {epochs: 1}\n")
    recipe = make_recipe(Home.of(tiny_root), "tiny", settings)
    assert recipe.config.semantic == SemanticConfig(epochs=1)
