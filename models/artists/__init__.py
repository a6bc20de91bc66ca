"""Which artists are alike: by who hears them, smoothed by track vectors where few do.

near = train(plays, items, two_tower.unit_vectors, ArtistConfig())
near.ids[a], near.score[a]  # best first
"""

from models.artists.config import ArtistConfig
from models.artists.neighbors import ArtistNeighbors, artist_vectors, train

__all__ = ["ArtistConfig", "ArtistNeighbors", "artist_vectors", "train"]
