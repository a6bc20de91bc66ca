"""Training: what a position may see, the sampled loss, windows, and going on after an interruption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequence.config import SequenceConfig
from models.sequence.loss import Proposal, sampled_softmax
from models.sequence.mixing import Material, gather
from models.sequence.network import Network, TokenTensors
from models.sequence.precision import has_bfloat16
from models.sequence.tokens import request_tokens
from models.sequence.train import _evidence, train
from models.sequence.windows import newest, tiles
from recsys.errors import BadInput

TRACKS = 40


@pytest.fixture(scope="module")
def data(toy: Any) -> Any:
    return toy.dataset(toy.plays(toy.cycles(60, 30, TRACKS)), toy.items(TRACKS))


def test_future_plays_do_not_change_past_states(toy: Any, data: Any) -> None:
    torch.manual_seed(0)
    network = Network(data.items, np.zeros(TRACKS, np.float32), toy.config).eval()
    with torch.no_grad():
        network.items.track.weight.normal_()
    one = np.arange(8)
    other = np.concatenate([one[:5], [30, 31, 32]])
    tokens = request_tokens(toy.batch(toy.plays([one, other])), 8, TRACKS)
    with torch.inference_mode():
        states = network(TokenTensors.of(tokens)).numpy()
    assert np.abs(states[0, :6] - states[1, :6]).max() < 1e-6
    assert np.abs(states[0, 6:] - states[1, 6:]).max() > 1e-3


def test_the_sampled_gradient_nears_the_full_one_as_negatives_grow() -> None:
    n, rng = 50, np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=n).astype(np.float32))
    proposal = Proposal.of(rng.integers(1, 100, n), 0.5)
    full = torch.softmax(scores, 0).numpy()
    full[4] -= 1

    def bias(negatives: int) -> float:
        ids = proposal.draw((4000, negatives), rng)
        x = scores.clone().requires_grad_()
        drawn = torch.from_numpy(ids)
        loss = sampled_softmax(
            x[4].expand(4000),
            x[drawn],
            torch.from_numpy(proposal.log_expected(ids, negatives)),
            drawn == 4,
        )
        loss.mean().backward()
        assert x.grad is not None
        return float(np.abs(x.grad.numpy() - full).sum())

    few, many = bias(4), bias(256)
    assert many < 0.03
    assert many < few / 3


def test_leaving_out_the_correction_biases_the_gradient() -> None:
    n, rng = 50, np.random.default_rng(1)
    scores = torch.zeros(n)
    counts = np.arange(1, n + 1) ** 2
    proposal = Proposal.of(counts, 0.1)
    ids = proposal.draw((4000, 256), rng)
    drawn = torch.from_numpy(ids)

    def gradient(expected: torch.Tensor) -> np.ndarray:
        x = scores.clone().requires_grad_()
        sampled_softmax(x[0].expand(4000), x[drawn], expected, drawn == 0).mean().backward()
        assert x.grad is not None
        return x.grad.numpy()

    right = gradient(torch.from_numpy(proposal.log_expected(ids, 256)))
    wrong = gradient(torch.full((4000, 256), float(np.log(256 / n))))
    assert np.abs(right[1:] - 1 / n).max() < 0.005
    assert np.abs(wrong[1:] - 1 / n).max() > 0.02


@given(st.lists(st.integers(0, 23), min_size=1, max_size=6), st.integers(2, 7), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_one_pass_predicts_every_play_once(toy: Any, sizes: list[int], length: int, seed: int) -> None:
    plays = toy.plays([np.arange(s) for s in sizes])
    windows = tiles(plays.offsets, length, np.random.default_rng(seed))
    predicted = [np.arange(a, b) for a, b in zip(windows.first, windows.last, strict=True)]
    assert sorted(np.concatenate([*predicted, []]).astype(int)) == list(range(plays.rows))
    assert (windows.stops - windows.starts <= length).all()
    assert (windows.last - windows.starts <= length + 1).all()


@given(st.lists(st.integers(0, 23), min_size=1, max_size=6), st.integers(2, 7), st.integers(0, 23))
@settings(max_examples=60, deadline=None)
def test_the_newest_windows_predict_the_newest_plays_once(
    toy: Any, sizes: list[int], length: int, since: int
) -> None:
    plays = toy.plays([np.arange(s) for s in sizes])
    cut = int(toy.plays([np.arange(24)]).start[since])
    windows = newest(plays.offsets, np.diff(plays.before(cut).offsets), length)
    predicted = [np.arange(a, b) for a, b in zip(windows.first, windows.last, strict=True)]
    assert sorted(np.concatenate([*predicted, []]).astype(int)) == list(np.flatnonzero(plays.start >= cut))
    assert (windows.first >= windows.starts).all()
    assert (windows.stops - windows.starts <= length).all()


def test_mixing_candidates_are_distinct_and_never_the_target(toy: Any, data: Any) -> None:
    plays, config = data.plays, toy.config
    proposal = Proposal.of(np.bincount(plays.track, minlength=TRACKS), 0.5)
    evidence = _evidence(plays, data.items, config)
    rows = np.array([0, 5, 29, 30, 47])
    material = Material.of(data.items, evidence, proposal)
    found = gather(plays, rows, material, config, np.random.default_rng(0))
    assert np.array_equal(found.target.numpy(), plays.track[rows])
    for p, target in enumerate(found.target.tolist()):
        head = found.head[p][~found.head_masked[p]].tolist()
        tail = found.tail[~found.tail_masked[p]].tolist()
        assert len(head) == len(set(head))
        assert target not in head + tail
        assert not set(head) & set(tail)
        assert set(found.tail.tolist()) <= set(found.head[p].tolist()) | set(tail) | {target}


def test_features_of_shared_and_of_own_candidates_agree(toy: Any, data: Any) -> None:
    evidence = _evidence(data.plays, data.items, toy.config)
    rng = np.random.default_rng(2)
    histories = toy.plays([rng.integers(0, TRACKS, size) for size in (0, 3, 17)])
    found = evidence(histories, toy.batch(histories).now)
    tracks = rng.integers(0, TRACKS, 30)
    columns = evidence.columns(found, tracks)
    for row in range(3):
        assert np.array_equal(columns[row], evidence.at(found, np.full(30, row), tracks))
    weights = rng.normal(size=(3, evidence.width)).astype(np.float32)
    expected = np.einsum("bmf,bf->bm", columns, weights)
    now = toy.batch(histories).now
    scores = evidence.scores(histories, now, weights)
    assert np.abs(scores[:, tracks] - expected).max() < 1e-4
    for row in range(3):
        one = slice(row, row + 1)
        alone = evidence.scores(histories.take(np.array([row])), now[one], weights[one])
        assert np.allclose(alone, scores[one], atol=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one(toy: Any, data: Any, tmp_path: Any) -> None:
    config = toy.config.model_copy(update={"steps": 24, "mixing_steps": 3, "checkpoint_steps": 10})
    whole = train(data, data.split.end, config)

    class Stop(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done == 15:
            raise Stop

    with pytest.raises(Stop):
        train(data, data.split.end, config, progress=stop, checkpoint_dir=tmp_path)
    seen: list[int] = []
    resumed = train(
        data, data.split.end, config, progress=lambda done, _: seen.append(done), checkpoint_dir=tmp_path
    )
    assert seen[0] == 11
    batch = toy.batch(data.plays)
    assert np.array_equal(resumed.score(batch), whole.score(batch))


def test_a_checkpoint_of_other_settings_is_refused(toy: Any, data: Any, tmp_path: Any) -> None:
    config = toy.config.model_copy(update={"steps": 2, "mixing_steps": 0, "checkpoint_steps": 1})
    train(data, data.split.end, config, checkpoint_dir=tmp_path)
    with pytest.raises(BadInput, match="other settings"):
        train(data, data.split.end, config.model_copy(update={"seed": 1}), checkpoint_dir=tmp_path)


@pytest.mark.parametrize("begun", ["float32", "bfloat16"])
def test_a_run_goes_on_in_the_precision_it_began_with(toy: Any, data: Any, tmp_path: Any, begun: str) -> None:
    config = toy.config.model_copy(update={"steps": 4, "mixing_steps": 0, "checkpoint_steps": 2})
    here = config.model_copy(update={"precision": begun})
    train(data, data.split.end, here, checkpoint_dir=tmp_path)
    automatic = config.model_copy(update={"precision": "auto"})
    model = train(data, data.split.end, automatic, checkpoint_dir=tmp_path)
    assert model.config == here


def test_a_model_says_in_which_precision_it_was_trained(toy: Any, data: Any) -> None:
    config = toy.config.model_copy(update={"steps": 1, "mixing_steps": 0, "precision": "auto"})
    named = train(data, data.split.end, config).config.precision
    assert named == ("bfloat16" if has_bfloat16() else "float32")


def test_a_budget_ends_training_in_time(toy: Any, data: Any) -> None:
    steps: list[int] = []
    config = toy.config.model_copy(update={"budget_s": 2.0})
    train(data, data.split.end, config, progress=lambda done, _: steps.append(done))
    assert len(steps) > 10


def test_unknown_settings_are_rejected() -> None:
    with pytest.raises(ValueError, match="extra"):
        SequenceConfig(**{"embeding_dim": 32})
    with pytest.raises(ValueError, match="multiple"):
        SequenceConfig(embedding_dim=30, num_heads=4)
