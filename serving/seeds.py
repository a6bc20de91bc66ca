"""Which release an incremental training may start from.

release = find(home, "latest")      # or a version or an alias; refused where somebody it learned from was erased
model = two_tower(release, items)
"""

from __future__ import annotations

from models.two_tower.model import TwoTower
from recsys.errors import NotReady
from recsys.home import Home
from recsys.items import Items
from recsys.marks import Marks
from serving.registry import Registered, Registry

LATEST = "latest"


def find(home: Home, name: str) -> Registered:
    """A release by version or alias; `latest` is the newest one that may be started from.

    Raises:
        UnknownId: no such release.
        NotReady: `latest`, and there is none.
        ReleaseRefused: it is marked as having learned from somebody who was erased since.
    """
    registry, marks = Registry(home), Marks(home.releases)
    if name != LATEST:
        release = registry.get(name)
        marks.refuse_seed(release.version)
        return release
    marked = marks.all()
    for release in registry.list():
        if release.version not in marked:
            return release
    raise NotReady("no release to start from: train from scratch, without --from")


def two_tower(release: Registered, items: Items) -> TwoTower:
    """Its two-tower model over the catalog of today. Raises ReleaseRefused where its files are damaged."""
    return TwoTower.load(release.folder / "two_tower", items)
