"""Session kNN: the tracks of earlier sessions that resemble the current one.

fit: set-based (S-KNN): cosine of the sets of tracks. fit_weighted (V-SKNN): recent plays of the current session weigh
more, linearly in their position, and a neighbour counts by its most recent play in common; rare tracks weigh more
(idf). Both after Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (UMUAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, baskets, last_plays
from recsys.evaluation.protocol import Scores
from recsys.plays import I64
from recsys.types import QueryBatch

BACKOFF = 1e-6


class SessionKnnSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbors: int = 500
    window: int = 20  # last plays of the current session that count


DEFAULT = SessionKnnSettings()


@dataclass(frozen=True)
class SessionKnn:
    sessions: Csr  # (sessions, n) binary
    holders: Csr  # (n, sessions) the same, by track
    size: Scores  # (sessions,) distinct tracks
    rarity: Scores  # (n,) log(sessions / sessions that hold the track)
    popularity: popularity.Popularity
    settings: SessionKnnSettings
    name: str = "session_knn"

    @property
    def weighted(self) -> bool:
        return self.name == "session_knn_weighted"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, _ = last_plays(batch.histories, self.settings.window, one_session=True)
        cuts = np.searchsorted(owner, np.arange(len(batch) + 1))
        scores = np.float32(BACKOFF) * self.popularity.scaled(batch)
        for j in range(len(batch)):
            current = track[cuts[j] : cuts[j + 1]]
            if len(current):
                self._add(scores[j], current)
        return scores

    def _add(self, out: Scores, current: I64) -> None:
        """Adds the votes of the nearest sessions to `out` (n,)."""
        session, similarity = self._similar(current)
        if len(session) > self.settings.neighbors:
            keep = np.argpartition(-similarity, self.settings.neighbors)[: self.settings.neighbors]
            session, similarity = session[keep], similarity[keep]
        votes = np.asarray(similarity @ self.sessions[session]).ravel()
        out += votes * self.rarity if self.weighted else votes

    def _similar(self, current: I64) -> tuple[I64, Scores]:
        """Sessions that share a track with the current one (its plays, oldest first), and how much each counts."""
        tracks, last = np.unique(current[::-1], return_index=True)
        recency = 1 - last / len(current)  # 1 for the newest play
        shared = self.holders[tracks]
        place = np.repeat(np.arange(len(tracks)), np.diff(shared.indptr))
        session, row = np.unique(shared.indices, return_inverse=True)
        if not self.weighted:
            common = np.bincount(row, minlength=len(session))
            return session, (common / np.sqrt(len(tracks) * self.size[session])).astype(np.float32)
        overlap = np.bincount(row, weights=recency[place], minlength=len(session))
        newest = np.zeros(len(session))
        np.maximum.at(newest, row, recency[place])
        return session, (overlap * newest).astype(np.float32)


def fit(
    dataset: Dataset, until_ms: int, settings: SessionKnnSettings = DEFAULT, name: str = "session_knn"
) -> SessionKnn:
    sessions = baskets(dataset.plays.before(until_ms), len(dataset.items), by_session=True)
    holding = np.asarray(sessions.sum(0)).ravel()
    return SessionKnn(
        sessions=sessions,
        holders=sessions.T.tocsr(),
        size=np.asarray(sessions.sum(1)).ravel(),
        rarity=np.log(sessions.shape[0] / np.maximum(holding, 1)).astype(np.float32),
        popularity=popularity.fit(dataset, until_ms),
        settings=settings,
        name=name,
    )


def fit_weighted(dataset: Dataset, until_ms: int, settings: SessionKnnSettings = DEFAULT) -> SessionKnn:
    return fit(dataset, until_ms, settings, "session_knn_weighted")
