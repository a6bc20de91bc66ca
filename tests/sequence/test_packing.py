"""Rows of several listeners: nothing is lost, nothing leaks, and the result is the padded one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequence.attention import Layout
from models.sequence.blocks import Block, EncoderConfig, rotation, turned
from models.sequence.dropout import dropout
from models.sequence.network import Network
from models.sequence.packing import best_fit, bucketed
from models.sequence.prefetch import ahead
from models.sequence.tokens import gap_before
from models.sequence.windows import tiles, window_batch

TRACKS = 40
SHAPES = [
    EncoderConfig(embedding_dim=16, num_heads=2, max_length=12, **kind)  # type: ignore[arg-type]
    for kind in (
        {"positions": "rotary"},
        {"positions": "relative", "feed_forward": "relu", "expansion": 1},
        {"positions": "relative", "block": "gated", "feed_forward": "swiglu"},
        {"positions": "relative", "block": "pointwise", "feed_forward": "none"},
    )
]


@given(st.lists(st.integers(1, 20), max_size=60))
@settings(max_examples=60, deadline=None)
def test_packed_rows_hold_every_sequence_once_without_overlap(sizes: list[int]) -> None:
    lengths = np.array(sizes, np.int64)
    plan = best_fit(lengths, 20)
    taken = np.zeros((plan.rows, 20), np.int64)
    for row, column, size in zip(plan.row, plan.column, sizes, strict=True):
        taken[row, column : column + size] += 1
    assert taken.sum() == lengths.sum()
    assert taken.max(initial=0) <= 1
    assert plan.rows <= 11 / 9 * -(-lengths.sum() // 10) + 1  # no two rows are half empty


def test_a_sequence_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="21 tokens"):
        best_fit(np.array([3, 21]), 20)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(10, 300), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_buckets_hold_every_sequence_once_within_the_limit(sizes: list[int], tokens: int, seed: int) -> None:
    lengths = np.array(sizes, np.int64)
    batches = bucketed(lengths, tokens, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
    assert all(len(b) == 1 or lengths[b].max() * len(b) <= tokens for b in batches)


def run_rows(config: EncoderConfig, blocks: Any, x: torch.Tensor, layout: Layout) -> torch.Tensor:
    rotary = rotation(12, config.embedding_dim // config.num_heads)
    turn = turned(rotary, layout) if config.positions == "rotary" else None
    for block in blocks:
        x = block(x, layout, turn)
    return x


def two_in_a_row(compute: torch.dtype = torch.float32) -> Layout:
    segment, position = torch.tensor([[0] * 5 + [1] * 7]), torch.tensor([[*range(5), *range(7)]])
    return Layout.packed(segment, position, compute)


def some_blocks(config: EncoderConfig) -> list[Block]:
    torch.manual_seed(0)
    blocks = [Block(config).eval() for _ in range(2)]
    for block in blocks:
        if config.positions == "relative":
            torch.nn.init.normal_(block.near)
    return blocks


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize(("compute", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_a_packed_row_computes_what_padded_rows_do(
    config: EncoderConfig, compute: torch.dtype, near: float
) -> None:
    blocks, x = some_blocks(config), torch.randn(1, 12, 16)
    together = run_rows(config, blocks, x, two_in_a_row(compute))
    for part in (slice(0, 5), slice(5, 12)):
        own = x[:, part]
        alone = run_rows(config, blocks, own, Layout.padded(own.shape[1], compute))
        assert (together[:, part] - alone).abs().max() < near


@pytest.mark.parametrize("config", SHAPES)
def test_nothing_leaks_between_the_listeners_of_a_row(config: EncoderConfig) -> None:
    blocks, x = some_blocks(config), torch.randn(1, 12, 16)
    x.requires_grad_()
    states = run_rows(config, blocks, x, two_in_a_row())
    (first,) = torch.autograd.grad(states[0, :5].square().sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad(states[0, 5:].square().sum(), x, retain_graph=True)
    (early,) = torch.autograd.grad(states[0, 7].square().sum(), x)
    assert not first[0, 5:].any()
    assert not second[0, :5].any()
    assert not early[0, 8:].any()
    assert second[0, 5:].any(1).all()


def test_the_product_network_is_the_same_on_packed_rows(toy: Any) -> None:
    plays = toy.plays(
        [np.random.default_rng(j).integers(0, TRACKS, size) for j, size in enumerate((3, 9, 1, 17))]
    )
    torch.manual_seed(0)
    network = Network(toy.items(TRACKS), np.zeros(TRACKS, np.float32), toy.config).eval()
    with torch.no_grad():
        network.items.track.weight.normal_()
        network.run.weight.normal_()
    windows = tiles(plays.offsets, 8, np.random.default_rng(0))
    arguments = (plays, gap_before(plays), windows, 8, TRACKS)
    padded, packed = window_batch(*arguments), window_batch(*arguments, packed=True)
    assert np.array_equal(padded.row, packed.row)
    assert packed.tokens.track.numel() < padded.tokens.track.numel()
    states = [network(b.tokens, b.layout).flatten(0, 1)[b.slot] for b in (padded, packed)]
    assert (states[0] - states[1]).abs().max() < 1e-5
    for field in fields(padded.tokens):
        columns = [getattr(b.tokens, field.name).flatten()[b.slot] for b in (padded, packed)]
        assert torch.equal(*columns)


def test_dropout_drops_the_stated_share_and_keeps_the_mean() -> None:
    torch.manual_seed(3)
    x = torch.ones(400, 250, requires_grad=True)
    y = dropout(x, 0.25, training=True)
    assert abs(float((y == 0).float().mean()) - 0.25) < 0.01
    assert abs(float(y.detach().mean()) - 1) < 0.01
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slope, y.detach())
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.25, training=True), y)
    assert dropout(x, 0.25, training=False) is x


def test_batches_made_ahead_come_in_order_and_errors_come_through() -> None:
    def broken() -> Any:
        yield from range(10)
        raise KeyError("ten")

    made = ahead(broken(), depth=2)
    assert [next(made) for _ in range(10)] == list(range(10))
    with pytest.raises(KeyError, match="ten"):
        next(made)


def test_a_consumer_that_stops_early_stops_the_making() -> None:
    made: list[int] = []

    def numbers() -> Any:
        for j in range(1_000):
            made.append(j)
            yield j

    for value in ahead(numbers(), depth=2):
        if value == 3:
            break
    assert len(made) < 10
