"""Per-listener keys: what the event log seals its records with, and what an erasure destroys (crypto-shredding).

vault = Vault.of_home(home)
vault.prepare(user_ids)                     # keys of new listeners are made, in one transaction
line = vault.key(user_id).seal(plain, bound_to)
vault.destroy(user_id)                      # from then on nothing sealed for them can be read, wherever copies lie
"""

from recsys.vault.keys import ListenerKey
from recsys.vault.newcomers import Newcomers
from recsys.vault.vault import STALE_SECONDS, Vault, erasures

__all__ = ["STALE_SECONDS", "ListenerKey", "Newcomers", "Vault", "erasures"]
