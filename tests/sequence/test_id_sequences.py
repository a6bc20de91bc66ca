"""Plain id sequences: what the model learns, that runs repeat and resume, windows, and the mixture with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequence.idbatches import id_batch, id_windows, row_plans
from models.sequence.idevidence import fit_mixture, id_evidence
from models.sequence.idmodel import FILE, IdModel
from models.sequence.idnetwork import IdConfig
from models.sequence.idtrain import train_ids
from recsys.errors import BadInput, NotReady, ReleaseRefused
from recsys.evaluation.ragged import Ragged

ITEMS = 20
TINY = IdConfig(
    embedding_dim=16,
    num_layers=1,
    num_heads=1,
    max_length=6,
    expansion=1,
    dropout=0.1,
    batch_tokens=60,
    learning_rate=1e-2,
    epochs=8,
    positions="relative",
    windows="all",
)


def ragged(rows: list[Any]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Ragged(offsets, np.concatenate([*rows, []]).astype(np.int32))


@pytest.fixture(scope="module")
def walks() -> Ragged:
    """Everybody walks i -> i + 1 from a random start, for a random while."""
    rng = np.random.default_rng(0)
    return ragged([(rng.integers(0, ITEMS) + np.arange(rng.integers(2, 25))) % ITEMS for _ in range(60)])


@pytest.fixture(scope="module")
def model(walks: Ragged) -> IdModel:
    return train_ids(walks, ITEMS, TINY)


def test_a_walk_is_learned(model: IdModel) -> None:
    histories = ragged([(np.arange(4) + j) % ITEMS for j in range(ITEMS)])
    assert (model.score(histories).argmax(1) == (np.arange(ITEMS) + 4) % ITEMS).mean() >= 0.9


@pytest.mark.parametrize(
    "change",
    [
        {
            "block": "gated",
            "feed_forward": "swiglu",
            "tied": False,
            "item_bias": True,
            "label_smoothing": 0.1,
        },
        {"block": "pointwise", "feed_forward": "none", "precision": "float32"},
        {"positions": "learned", "average": 0.9},
        {"positions": "rotary", "rows": "packed", "num_negatives": 8},
        {"num_negatives": 12, "loss": "gbce", "uniform_share": 1.0, "tied": False, "learning_rate": 3e-2},
    ],
    ids=str,
)
def test_every_option_learns_the_walk(walks: Ragged, change: dict[str, Any]) -> None:
    found = train_ids(walks, ITEMS, IdConfig(**{**TINY.model_dump(), "epochs": 12, **change}))
    histories = ragged([(np.arange(3) + j) % ITEMS for j in range(ITEMS)])
    assert (found.score(histories).argmax(1) == (np.arange(ITEMS) + 3) % ITEMS).mean() >= 0.6


def test_a_score_depends_on_its_own_history_only(model: IdModel) -> None:
    rng = np.random.default_rng(1)
    histories = ragged([rng.integers(0, ITEMS, size) for size in (0, 1, 3, 6, 9)])
    together = model.score(histories)
    assert np.isfinite(together).all()
    for j in range(5):
        assert np.abs(model.score(histories.take(np.array([j])))[0] - together[j]).max() < 1e-5


def test_only_the_newest_ids_count(model: IdModel) -> None:
    long, short = np.arange(9), np.arange(3, 9)
    both = model.score(ragged([long, short]))
    assert np.abs(both[0] - both[1]).max() < 1e-6


def test_the_same_seed_gives_the_same_model(walks: Ragged, model: IdModel) -> None:
    again = train_ids(walks, ITEMS, TINY)
    assert np.array_equal(again.score(walks), model.score(walks))


@pytest.mark.parametrize("change", [{"average": 0.9}, {"parts": 3, "num_negatives": 8}])
def test_a_resumed_run_equals_an_uninterrupted_one(walks: Ragged, tmp_path: Path, change: Any) -> None:
    config = TINY.model_copy(update={"epochs": 4, **change})
    whole = train_ids(walks, ITEMS, config)

    class Stop(Exception):
        pass

    def stop(epoch: Any, _model: IdModel) -> None:
        if epoch.number == 3:
            raise Stop

    with pytest.raises(Stop):
        train_ids(walks, ITEMS, config, stop, tmp_path)
    seen: list[int] = []
    resumed = train_ids(walks, ITEMS, config, lambda epoch, _: seen.append(epoch.number), tmp_path)
    assert seen == [3, 4]
    assert np.array_equal(resumed.score(walks), whole.score(walks))
    with pytest.raises(BadInput, match="other settings"):
        train_ids(walks, ITEMS, config.model_copy(update={"seed": 7}), folder=tmp_path)


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(NotReady, match="nothing to predict"):
        train_ids(ragged([[1], [], [2]]), ITEMS, TINY)


def test_a_saved_model_scores_the_same_and_a_broken_one_is_refused(
    model: IdModel, walks: Ragged, tmp_path: Path
) -> None:
    model.save(tmp_path)
    assert np.array_equal(IdModel.load(tmp_path).score(walks), model.score(walks))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseRefused, match="train again"):
        IdModel.load(tmp_path)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.sampled_from(["bucketed", "packed"]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_one_pass_predicts_every_item_but_the_first_once(sizes: list[int], rows: str, seed: int) -> None:
    sequences = ragged([np.arange(s) for s in sizes])
    config = TINY.model_copy(update={"rows": rows})
    rng = np.random.default_rng(seed)
    predicted = []
    for plan in row_plans(sequences.offsets, config, rng):
        batch = id_batch(sequences, 99, plan, config)
        ids = batch.ids.flatten()[batch.place]
        assert torch.equal(ids + 1, batch.target)
        assert len(torch.unique(batch.place)) == len(batch.place)
        assert (batch.ids == 99).sum() == batch.ids.numel() - len(batch.place)
        predicted += batch.target.tolist()
    assert sorted(predicted) == sorted(i for s in sizes for i in range(1, s))


def test_the_newest_windows_end_where_the_sequences_do() -> None:
    found = id_windows(
        np.array([0, 3, 3, 4, 14]), TINY.model_copy(update={"windows": "last"}), np.random.default_rng(0)
    )
    assert found.start.tolist() == [0, 7]
    assert found.size.tolist() == [2, 6]


def test_a_mixture_finds_evidence_that_the_network_lacks(walks: Ragged) -> None:
    class Blank:
        def score(self, histories: Ragged) -> Any:
            return np.zeros((len(histories), ITEMS), np.float32)

    histories = ragged([(np.arange(4) + j) % ITEMS for j in range(ITEMS)])
    targets = ((np.arange(ITEMS) + 4) % ITEMS).astype(np.int32)
    mixed = fit_mixture(Blank(), id_evidence(walks, ITEMS), histories, targets)
    assert (mixed.score(histories).argmax(1) == targets).mean() >= 0.9


def test_a_mixture_leaves_alone_a_network_that_knows_all(walks: Ragged) -> None:
    histories = ragged([(np.arange(4) + j) % ITEMS for j in range(ITEMS)])
    targets = np.random.default_rng(0).integers(0, ITEMS, ITEMS).astype(np.int32)

    class Knowing:
        def score(self, histories: Ragged) -> Any:
            return 9 * np.eye(ITEMS, dtype=np.float32)[targets[: len(histories)]]

    mixed = fit_mixture(Knowing(), id_evidence(walks, ITEMS), histories, targets, seen_masked=False)
    assert (mixed.score(histories).argmax(1) == targets).all()
