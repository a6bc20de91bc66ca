"""Plain statements about why a track is shown; each code is given only where its sentence is true.

played_before         the track is in the listener's taste window, not as a skip
artist:ID             so are at least two plays of its artist
taste                 a model of what the listener has been playing proposed it
popular_near_you      it has been played in the request's country, which is known, and is among the most played there
popular_everywhere    the same over all countries, where the request's is not known
explore               none of these
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.types import QueryBatch
from serving.parts.selectors import Bools, Reason, Reasons
from serving.parts.window import unskipped

TASTE_SOURCES = ("two_tower", "sequence")
ARTIST_PLAYS = 2


def popular(items: Items) -> Reasons:
    """Reasons of tracks that the source `popular` proposed."""

    def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
        played, code = played_a_lot(batch, j, own), _popular_code(items, batch, j)
        return lambda row: code if played[row] else "explore"

    return reasons


def played_a_lot(_batch: QueryBatch, _j: int, own: Candidates) -> Bools:
    """(n,) proposed by the source `popular`, and played at all: a young territory has fewer tracks than it asks for."""
    column = own.columns.get("source:popular", np.zeros(len(own)))
    return own.proposed_by("popular") & (np.asarray(column, np.float32) > 0)


def _popular_code(items: Items, batch: QueryBatch, j: int) -> str:
    known = int(batch.country[j]) < len(items.countries)
    return "popular_near_you" if known else "popular_everywhere"


def made_for_you(items: Items) -> Reasons:
    """The first true statement of the list above."""

    def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
        past = unskipped(batch, j)
        played, artists = set(past.tolist()), Counter(items.artist[past].tolist())
        near = np.any([own.proposed_by(source) for source in TASTE_SOURCES], axis=0)
        crowd = popular(items)(batch, j, own)

        def reason(row: int) -> str:
            track = int(own.ids[row])
            artist = int(items.artist[track])
            if track in played:
                return "played_before"
            if artists[artist] >= ARTIST_PLAYS:
                return f"artist:{items.artist_ids[artist]}"
            return "taste" if played and near[row] else crowd(row)

        return reason

    return reasons
