"""An erasure's steps over one home, in order (docs/privacy.md has the table of places)."""

from __future__ import annotations

from music.privacy.service import Privacy
from music.privacy.store import Requests
from recsys.home import Home
from recsys.vault import Vault
from serving.privacy.releases import Releases
from serving.privacy.settings import PrivacySettings, from_environment
from serving.privacy.steps import Again, Features, Key, Learned, Log, Look, Online, Rows, Scan, Trained


def privacy_of(home: Home, settings: PrivacySettings | None = None, vault: Vault | None = None) -> Privacy:
    """The requests of a home, with the steps that serve them."""
    given, keys = settings or from_environment(), vault or Vault.of_home(home)
    steps = (
        Key(home, keys),
        Look(home),
        Log(home, keys),
        Online(home),
        Learned(home),
        Rows(home),
        Features(home),
        Trained(home),
        Releases(home, given),
        Again(home),
        Scan(home),
    )
    return Privacy(Requests(home.privacy), steps, keys, at_once=frozenset({"key"}))
