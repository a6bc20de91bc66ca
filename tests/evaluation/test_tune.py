"""The search covers enough points, ends inside its grid where it can, and warns where it cannot."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from recsys.evaluation import tune
from recsys.evaluation.baselines.als import AlsSettings


class Toy(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: float = 0.0
    b: float = 0.0


def test_an_axis_grows_until_its_best_value_is_inside():
    axis = [1.0, 2.0, 4.0]
    best = tune._along(Toy(), "a", axis, lambda s: -abs(s.a - 17))
    assert best.a == 16
    assert max(axis) > 16


def test_the_edge_is_reported():
    assert tune.on_edge(Toy(a=1, b=2), {"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}) == ["a"]


def test_a_growing_axis_stops_at_its_limit():
    assert tune.grown("embedding_dim", [256, 512, 1024], 2) is None
    assert tune.grown("embedding_dim", [32, 64, 128], 2) == 256
    assert tune.grown("alpha", [1.0, 4.0], 0) == pytest.approx(0.25)


@pytest.mark.filterwarnings("ignore:the best point")
def test_the_best_of_the_points_tried_is_returned(checkerboard):
    grid = {
        "embedding_dim": (2, 4, 8),
        "regularization": (0.1, 1.0),
        "alpha": (1.0, 4.0),
        "half_life_days": (5.0, 50.0),
    }
    found = tune.tune_als(checkerboard, grid, cap=20)
    assert len(found.points) >= 8
    assert isinstance(found.best, AlsSettings)
    top = max(p.recall_100 for p in found.points)
    assert next(p for p in found.points if p.settings == found.best.model_dump()).recall_100 == top
