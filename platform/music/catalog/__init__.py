"""The catalog domain: what there is to play, and where and when it may be shown.

catalog = Catalog.open("sqlite:///var/catalog.sqlite")
catalog.track(track_id)
"""

from music.catalog.api import router
from music.catalog.service import Catalog

__all__ = ["Catalog", "router"]
