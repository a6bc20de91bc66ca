"""A release in memory: verified by digest, every part loaded together, ready to be swapped in as one thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artists import ArtistNeighbors
from models.semantic_ids import SemanticIds
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from ranking.light import LightRanker
from ranking.model import Ranker
from recsys.errors import ReleaseRefused
from recsys.features.stats import ItemStats
from recsys.index import Index
from recsys.items import Items
from recsys.release import Manifest, verify
from recsys.types import ModelRef
from serving.watch.reference import Reference


@dataclass(frozen=True)
class Retrieval:
    """What candidates come from; the part of a release that the ranker is trained on."""

    items: Items
    stats: ItemStats
    two_tower: TwoTower
    index: Index
    sequence: SequenceModel
    semantic: SemanticIds | None = field(
        default=None, kw_only=True
    )  # a source more, in releases that have it

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """(countries+1, n) decayed plays by territory; the last row is worldwide."""
        return np.ascontiguousarray(self.stats.territory.T)


@dataclass(frozen=True)
class LoadedRelease(Retrieval):
    """All parts of one release version."""

    manifest: Manifest
    ranker: Ranker
    light: LightRanker
    reference: Reference | None = None  # what drift is measured against; older releases have none
    artists: ArtistNeighbors | None = None  # older releases have none
    revision: int | None = None  # of the catalog that the parts follow; None: as the release was built

    @property
    def ref(self) -> ModelRef:
        return ModelRef("recsys", self.manifest.version, self.manifest.digest)

    @classmethod
    def load(cls, folder: Path) -> LoadedRelease:
        """Loads a sealed release.

        Raises:
            ReleaseRefused: a file is missing, changed, unexpected or unreadable.
        """
        manifest = verify(folder)
        try:
            return cls._load(folder, manifest)
        except Exception as error:  # parsers of damaged or foreign files raise a dozen types
            raise ReleaseRefused(f"release {manifest.version}: {type(error).__name__}: {error}") from error

    @classmethod
    def _load(cls, folder: Path, manifest: Manifest) -> LoadedRelease:
        items = Items.load(folder / "items")
        semantic, artists = folder / "semantic", folder / "artists"
        return cls(
            manifest=manifest,
            items=items,
            stats=ItemStats.load(folder / "stats"),
            two_tower=TwoTower.load(folder / "two_tower", items),
            index=Index.load(folder / "index"),
            sequence=SequenceModel.load(folder / "sequence", items),
            semantic=SemanticIds.load(semantic, items) if semantic.exists() else None,
            ranker=Ranker.load(folder / "ranking"),
            light=LightRanker.load(folder / "light"),
            reference=Reference.read(folder),
            artists=ArtistNeighbors.load(artists, items) if artists.exists() else None,
        )
