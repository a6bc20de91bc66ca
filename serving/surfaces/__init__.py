"""The surfaces of the product, one file each: which parts, in which order, and what comes back.

SURFACES[Surface.HOME].build(kit)      # the ladder over one release
"""

from recsys.schemas import Surface
from serving.surfaces import daily_mixes, home, radio
from serving.surfaces.surface import SurfaceSpec

SURFACES: dict[Surface, SurfaceSpec] = {
    spec.surface: spec for spec in (home.SPEC, radio.SPEC, daily_mixes.SPEC)
}
