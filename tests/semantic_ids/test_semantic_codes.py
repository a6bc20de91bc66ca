"""Laws of semantic ids: all different, decodable, unmoved by a growing catalog, and like tracks begin alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.semantic_ids.codes import Codebooks, place
from models.semantic_ids.trie import Trie
from models.semantic_ids.vectors import F32
from recsys.errors import BadInput


@st.composite
def clustered(draw: st.DrawFn) -> tuple[F32, tuple[int, ...], int]:
    """Vectors in clumps, many of them equal; sizes of the levels; siblings a cell."""
    seed, n = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 120))
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(draw(st.integers(1, 9)), 5))
    x = centers[rng.integers(0, len(centers), n)] + draw(st.sampled_from([0.0, 0.05])) * rng.normal(
        size=(n, 5)
    )
    sizes = tuple(draw(st.lists(st.integers(2, 7), min_size=1, max_size=3)))
    siblings = max(1, -(-2 * n // int(np.prod(sizes))))  # room for twice as many
    return x.astype(np.float32), sizes, siblings


@settings(max_examples=40, deadline=None)
@given(clustered())
def test_codes_are_unique_within_their_sizes_and_a_growing_catalog_moves_none(
    world: tuple[F32, tuple[int, ...], int],
) -> None:
    x, sizes, siblings = world
    half = len(x) // 2
    books = Codebooks.fit(x, sizes, seed=1, balance_rounds=5)
    first = place(books, x[:half], siblings)
    later = place(books, x[half:], siblings, taken=first)
    codes = np.concatenate([first, later])
    assert len(np.unique(codes, axis=0)) == len(x)
    assert (codes >= 0).all()
    assert (codes < np.array([*sizes, siblings])).all()
    one_by_one = first
    for row in x[half:]:
        one_by_one = np.concatenate([one_by_one, place(books, row[None], siblings, taken=one_by_one)])
    assert np.array_equal(one_by_one, codes), "codes do not depend on how many tracks come at once"


@settings(max_examples=40, deadline=None)
@given(clustered())
def test_every_code_leads_to_its_track_and_every_node_counts_the_tracks_below_it(
    world: tuple[F32, tuple[int, ...], int],
) -> None:
    x, sizes, siblings = world
    codes = place(Codebooks.fit(x, sizes, balance_rounds=0), x, siblings)
    trie = Trie.of(codes, sizes)
    for track, code in enumerate(codes):
        node = 0
        for level in range(len(sizes)):
            node = int(trie.depths[level].child[node, code[level]])
            assert node == trie.node[track, level + 1]
        assert track in trie.tracks(np.array([node]))[0]
    weight = np.arange(len(x)) + 1.0
    allowed = np.arange(len(x)) % 3 == 0
    for depth, (mass, open_) in enumerate(zip(trie.masses(weight), trie.open(allowed), strict=True)):
        nodes = trie.node[:, depth]
        assert np.allclose(mass, np.bincount(nodes, weight))
        assert np.array_equal(open_, np.bincount(nodes, allowed) > 0)


def test_more_tracks_than_codes_are_refused() -> None:
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    books = Codebooks.fit(x, (2, 2), balance_rounds=0)
    codes = place(books, x[:8], 2)
    assert len(np.unique(codes, axis=0)) == 8, "every code of the tree was given out"
    with pytest.raises(BadInput, match="no code is free"):
        place(books, x[8:], 2, taken=codes)


def test_each_level_brings_the_decoded_vectors_nearer() -> None:
    x = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    books = Codebooks.fit(x, (16, 16, 16), balance_rounds=10)
    codes = books.encode(x)
    left = [
        ((x - Codebooks(books.centroids[:n], books.prices[:n]).decode(codes)) ** 2).sum() for n in (1, 2, 3)
    ]
    assert left[0] > left[1] > left[2]


def test_prices_even_out_the_use_of_codes() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.05, (900, 4)), rng.normal(0, 3, (100, 4))]).astype(np.float32)

    def used(rounds: int) -> float:
        share = np.bincount(Codebooks.fit(x, (16,), 0, rounds).encode(x)[:, 0], minlength=16) / len(x)
        return float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))

    assert used(30) > 1.5 * used(0)
