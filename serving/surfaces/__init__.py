"""The surfaces of the product, one file each: which parts, in which order, and what comes back.

SURFACES[Surface.HOME].build(kit)      # the ladder over one release
"""

from recsys.schemas import Surface
from serving.surfaces import (
    because,
    continuation,
    daily_mixes,
    discovery,
    home,
    next_up,
    radio,
    recommendations,
    release_radar,
    similar_artists,
    similar_tracks,
)
from serving.surfaces.surface import SurfaceSpec

_ALL = (
    home.SPEC,
    radio.SPEC,
    daily_mixes.SPEC,
    discovery.SPEC,
    release_radar.SPEC,
    because.SPEC,
    similar_tracks.SPEC,
    similar_artists.SPEC,
    continuation.SPEC,
    next_up.SPEC,
    recommendations.SPEC,
)
SURFACES: dict[Surface, SurfaceSpec] = {spec.surface: spec for spec in _ALL}
