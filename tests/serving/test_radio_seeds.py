"""What a station starts from: every kind of seed, words of any form, and what is refused."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.errors import BadInput, UnknownId
from recsys.items import MS_PER_DAY, Items
from serving.parts.words import WordIndex
from serving.recommender import Recommender
from serving.service import Service
from serving.surfaces.stations import Station
from tests.serving.radio_walks import walk


@pytest.fixture(scope="module")
def recommender(tiny_service: Service) -> Recommender:
    return tiny_service._fleet._by_version["1"]


@pytest.fixture(scope="module")
def items(recommender: Recommender) -> Items:
    return recommender.release.items


@pytest.fixture(scope="module")
def now(recommender: Recommender) -> int:
    return recommender.release.manifest.until + MS_PER_DAY


def test_every_kind_of_seed_starts_a_station_near_it(
    recommender: Recommender, items: Items, now: int
) -> None:
    row = items.frame.filter(pl.col("genre").str.starts_with("rock/")).row(3, named=True)
    seeds = [
        f"track:{row['track_id']}",
        f"artist:{row['artist_id']}",
        f"album:{row['album_id']}",
        f"playlist:{row['track_id']},{'x' * 22}",
        f"genre:{row['genre']}",
        "genre:rock",
        f"genre:{row['genre'].split('/')[1].upper()}",
        f"words:{row['artist_name'].upper()}",
    ]
    for seed in seeds:
        heard, _ = walk(recommender, Station("s", seed, "u", now), 1)
        same = [items.frame["genre"][int(items.number(t))].startswith("rock/") for t in heard]
        assert np.mean(same) >= 0.5, seed


def test_a_genre_station_stays_in_its_genre(recommender: Recommender, items: Items, now: int) -> None:
    heard, relaxed = walk(recommender, Station("s", "genre:rock", "u", now), 3)
    assert not relaxed
    assert {items.frame["genre"][int(items.number(t))].split("/")[0] for t in heard} == {"rock"}


def test_words_find_titles_with_a_misspelt_letter_too(recommender: Recommender, items: Items) -> None:
    title = items.frame["title"][7]
    assert title in {items.frame["title"][t] for t in recommender.words.search(title, 5)}
    word = max(title.split(), key=len)
    misspelt = word[:-2] + "q" + word[-1]
    assert any(word in items.frame["title"][t] for t in recommender.words.search(misspelt, 50))


def test_words_find_what_is_new_or_renamed_once_the_catalog_has_changed(
    recommender: Recommender, items: Items
) -> None:
    words = WordIndex(items)
    assert words.search("zanzibar") == []
    title = items.frame["title"].to_list()
    renamed = replace(items, frame=items.frame.with_columns(title=pl.Series(["Zanzibar Nights", *title[1:]])))
    later = words.over(renamed)
    assert later.search("zanzibar") == [0]
    assert 0 not in later.search(title[0], 50)
    longer = replace(
        renamed, frame=renamed.frame.vstack(renamed.frame[:1]), artist=np.append(items.artist, 0)
    )
    assert sorted(later.over(longer).search("zanzibar nights")) == [0, len(items)]
    assert later.search("zanzibar") == [0]


HOSTILE = [
    *(
        '"',
        "(((((((((",
        "title:",
        "a AND (b OR",
        "*",
        "~~~~",
        "[a TO b]",
        "\\",
        "number:1",
        "/.*/",
        "NOT NOT NOT",
        "-",
    ),
    *(
        "\u202e\u0000x",
        "a" * 200,
        "^2",
        "\U0001f600 \u0301\u0301",
        "{",
        "a:b:c:d",
        "+",
        "\u0130",
        "\ufeff",
        "'; DROP --",
    ),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_words(recommender: Recommender, text: str) -> None:
    with suppress(UnknownId, BadInput):
        assert recommender.station(f"words:{text}").tracks


def test_an_unknown_seed_is_refused_with_a_way_out(recommender: Recommender) -> None:
    with pytest.raises(UnknownId, match=r"unknown genre 'polka'.*classical.*leaves such as"):
        recommender.station("genre:polka")
    for seed in ("album:" + "x" * 22, "artist:" + "x" * 22, "playlist:" + "x" * 22, "words:qqqqzzzzxxxx"):
        with pytest.raises(UnknownId):
            recommender.station(seed)
    for seed in ("genre:", "words: ", "mood:sad", "albumx"):
        with pytest.raises(BadInput, match="seed must be"):
            recommender.station(seed)
