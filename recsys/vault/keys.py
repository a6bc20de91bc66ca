"""One listener's data key: AES-256-GCM with a random nonce a record, and digests that end with the key."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recsys.errors import BadInput

KEY_BYTES = 32
ID_BYTES = 12
_NONCE = 12


class ListenerKey:
    """A data key in memory, with its id: random, so that it says nothing of whose it is.

    A random 96-bit nonce is safe for 2**32 records a key (NIST SP 800-38D): a listener's life is far below.
    """

    __slots__ = ("_aead", "_digesting", "id")

    def __init__(self, key_id: bytes, secret: bytes) -> None:
        self.id = key_id
        self._aead = AESGCM(secret)
        self._digesting = blake2b(key=secret, person=b"recsys digest", digest_size=KEY_BYTES).digest()

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """Nonce and ciphertext; `bound_to` is authenticated beside it and not kept."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, plain, bound_to)

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """What `seal` was given.

        Raises:
            BadInput: it was damaged, or sealed for something else.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to)
        except InvalidTag:
            raise BadInput("a sealed record is damaged: restore the log from a backup") from None

    def digest(self, data: bytes) -> int:
        """64 bits that nobody without the key can make: a plain hash of a record would let guesses be confirmed."""
        return int.from_bytes(blake2b(data, digest_size=8, key=self._digesting).digest(), "little")
