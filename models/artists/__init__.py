"""Which artists are alike: by whom they are heard, and where nobody is known to hear them, by how they sound.

near = train(plays, items, two_tower.unit_vectors, ArtistConfig())
near.ids[a], near.score[a]  # best first
"""

from models.artists.config import ArtistConfig
from models.artists.neighbors import ArtistNeighbors, artist_vectors, train

__all__ = ["ArtistConfig", "ArtistNeighbors", "artist_vectors", "train"]
