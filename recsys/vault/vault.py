"""The keys of one home, cached in memory; a destroyed key is let go of in every process within STALE_SECONDS of use."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from recsys.errors import BadInput, Erased
from recsys.files import write_whole
from recsys.home import Home
from recsys.vault.keys import ID_BYTES, KEY_BYTES, ListenerKey
from recsys.vault.master import VARIABLE, master_of
from recsys.vault.store import KeyRows, Row

STALE_SECONDS = 0.2
"""How often at most a process looks whether a key was destroyed: none is used later than this after."""
_KEPT = 100_000
_SALT = 4
_STAMP = "epoch"


def erasures(home: Home) -> str:
    """Changes with every erasure of a home; "" before the first."""
    try:
        return (home.vault / _STAMP).read_text()
    except FileNotFoundError:
        return ""


class Vault:
    """Keys by listener and by key id; safe for several threads and processes.

    An envelope names its key as E(id, salt), one block of AES under a key of the home: without that key two records
    of one listener cannot be told to belong together, neither before nor after an erasure.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the vault in a folder, or makes one.

        Raises:
            BadInput: the master key is missing or malformed.
            LogUnavailable: the folder cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "listeners.sqlite"
        self._master = master_of(folder, path.exists() and path.stat().st_size > 0)
        self._rows = KeyRows(path)
        if not self._rows.check(self.fingerprint.encode()):
            raise BadInput(f"{path} holds keys of another master key: restore this home's own ({VARIABLE})")
        self._stamp, self._mine, self._lock = folder / _STAMP, threading.local(), threading.Lock()
        self._by_user: dict[str, ListenerKey] = {}
        self._by_id: dict[bytes, ListenerKey | None] = {}
        self._gone: frozenset[bytes] = frozenset()
        self._seen: tuple[int, ...] | None = None
        self._epoch, self._next_look = -1, 0.0
        self._look()

    @classmethod
    def of_home(cls, home: Home) -> Vault:
        return cls(home.vault)

    @property
    def epoch(self) -> int:
        """Grows with every erasure; whoever keeps something in memory drops it when this has changed."""
        if time.monotonic() >= self._next_look:
            self._look()
        return self._epoch

    def prepare(self, user_ids: Collection[str]) -> None:
        """Makes sure that listeners have keys, before records of theirs are sealed.

        Raises:
            Erased: one of them was erased.
        """
        self._look()
        epoch = self._epoch
        unknown = [user_id for user_id in user_ids if user_id not in self._by_user]
        if not unknown:
            return
        tags = {self._master.tag(user_id): user_id for user_id in unknown}
        found, gone = self._rows.of_tags(list(tags))
        if not gone and len(found) < len(tags):
            made, gone = self._rows.add([self._new(tag) for tag in tags if tag not in found])
            found |= made
        if gone:
            raise Erased("a listener of this batch was erased: nothing more is recorded of them")
        keys = {tags[tag]: self._unwrapped(row) for tag, row in found.items()}
        with self._lock:
            if self._epoch == epoch:  # else one of them may be destroyed by now
                for user_id, key in keys.items():
                    self._keep(user_id, key)

    def key(self, user_id: str) -> ListenerKey:
        """The key of a listener; made where there is none. Raises Erased."""
        while (
            found := self._by_user.get(user_id)
        ) is None:  # dropped again where another was erased meanwhile
            self.prepare([user_id])
        return found

    def named(self, envelope: bytes) -> ListenerKey | None:
        """The key that an envelope names; None once it was destroyed."""
        if time.monotonic() >= self._next_look:
            self._look()
        epoch = self._epoch
        key_id = bytes(self._cipher[1].update(envelope))[:ID_BYTES]
        try:
            return self._by_id[key_id]
        except KeyError:
            row = self._rows.of_id(key_id)  # a key is committed before the first record that it seals
            found = None if row is None else self._unwrapped(row)
            with self._lock:
                if self._epoch == epoch:  # else it may be destroyed by now
                    self._by_id[key_id] = found
                    _trim(self._by_id)
            return found

    def envelope(self, key: ListenerKey) -> bytes:
        """(16 bytes) how a record names its key, another one each time."""
        return bytes(self._cipher[0].update(key.id + os.urandom(_SALT)))

    def erased(self, user_id: str) -> bool:
        """Whether a listener was erased."""
        if time.monotonic() >= self._next_look:
            self._look()
        return bool(self._gone) and self._master.tag(user_id) in self._gone

    def erased_of(self, user_ids: Collection[str]) -> set[str]:
        """Those of some listeners who were erased, as the key store says now: `erased` may be STALE_SECONDS late."""
        tags = {self._master.tag(user_id): user_id for user_id in user_ids}
        return {tags[tag] for tag in self._rows.of_tags(list(tags))[1]}

    def listener(self, user_id: str) -> str:
        """A listener's name where the id may not stand: a keyed hash, in hex."""
        return self._master.tag(user_id).hex()

    def seal(self, text: str) -> str:
        """A keyed hash of a text, in hex."""
        return self._master.sign(text.encode())

    def holds(self, listener: str) -> bool:
        """Whether there is a key of a listener, named as `listener` does."""
        return bool(self._rows.of_tags([bytes.fromhex(listener)])[0])

    def refuses(self, listener: str) -> bool:
        """Whether a listener was erased, named as `listener` does."""
        return bytes.fromhex(listener) in self._rows.erased_tags()

    def destroy(self, user_id: str, at: int) -> bool:
        """Destroys a listener's key and refuses them from now on; whether they had one. `at`: UTC ms."""
        found = self._rows.destroy(self._master.tag(user_id), at)
        write_whole(self._stamp, str(time.time_ns()).encode())
        self._look()
        return found

    @property
    def fingerprint(self) -> str:
        """Tells one master key from another, and nothing else of it."""
        return self._master.sign(b"recsys vault")[:32]

    @property
    def identity(self) -> str:
        """Tells this key store from any other, in hex: homes may share a master key, never a key store."""
        return self._rows.identity().hex()

    @property
    def note(self) -> str:
        """What a log notes of the vault that seals it: identity and fingerprint."""
        return f"{self.identity} {self.fingerprint}"

    def is_noted(self, note: str) -> bool:
        """Whether a log's note means this vault. Where it is refused, nothing is changed.

        A key store without identity, a backup from before there were any, takes that of a log of its master key.
        """
        identity, _, master = note.partition(" ")
        if identity == self.fingerprint:  # what logs noted before vaults had an identity
            return True
        if master == self.fingerprint:
            return self._rows.identity(bytes.fromhex(identity)).hex() == identity
        return self._rows.known_identity().hex() == identity  # noted without the fingerprint, for a while

    def close(self) -> None:
        """Closes this thread's connection; a later call opens it again."""
        self._rows.close()

    @property
    def _cipher(self) -> tuple[Any, Any]:
        """This thread's block cipher, both ways; one block at a time, each a random one, so ECB is a permutation."""
        found: tuple[Any, Any] | None = getattr(self._mine, "cipher", None)
        if found is None:
            cipher = Cipher(algorithms.AES(self._master.envelope), modes.ECB())
            found = self._mine.cipher = (cipher.encryptor(), cipher.decryptor())
        return found

    def _look(self) -> None:
        """Drops every cached key where somebody was erased since the last look."""
        try:
            stat = os.stat(self._stamp)
            seen: tuple[int, ...] = (stat.st_ino, stat.st_mtime_ns)
        except FileNotFoundError:
            seen = ()
        if seen != self._seen:
            gone = self._rows.erased_tags()
            with self._lock:
                self._by_user, self._by_id = {}, {}
                self._gone, self._seen = gone, seen
                self._epoch += 1
        self._next_look = time.monotonic() + STALE_SECONDS

    def _new(self, tag: bytes) -> Row:
        key_id = os.urandom(ID_BYTES)
        return tag, key_id, self._master.wrap(os.urandom(KEY_BYTES), tag + key_id)

    def _unwrapped(self, row: Row) -> ListenerKey:
        tag, key_id, wrapped = row
        return ListenerKey(key_id, self._master.unwrap(wrapped, tag + key_id))

    def _keep(self, user_id: str, key: ListenerKey) -> None:
        self._by_user[user_id] = key
        self._by_id[key.id] = key
        _trim(self._by_user)
        _trim(self._by_id)


def _trim(cache: dict[Any, Any]) -> None:
    """Drops the oldest one, where there are too many."""
    if len(cache) > _KEPT:
        del cache[next(iter(cache))]
