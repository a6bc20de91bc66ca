"""The home's master key: wraps the listeners' keys, and hides whose they are. One file, mode 0600.

RECSYS_MASTER_KEY_FILE names another place for it, so that it need not lie in the home and in the home's backups.
"""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from hmac import new as hmac
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recsys.errors import BadInput
from recsys.files import sync_folder

VARIABLE = "RECSYS_MASTER_KEY_FILE"
_BYTES = 32
_NONCE = 12


@dataclass(frozen=True)
class Master:
    """What is derived from the master key, each for one purpose."""

    wrapping: bytes
    naming: bytes
    envelope: bytes
    signing: bytes

    @classmethod
    def of(cls, secret: bytes) -> Master:
        parts = (blake2b(key=secret, person=purpose, digest_size=_BYTES).digest() for purpose in _PURPOSES)
        return cls(*parts)

    def tag(self, user_id: str) -> bytes:
        """(16 bytes) the name of a listener in the key store: nobody without the master key can guess whose it is."""
        return hmac(self.naming, user_id.encode(), "sha256").digest()[:16]

    def sign(self, data: bytes) -> str:
        """A keyed hash that only this home can make."""
        return hmac(self.signing, data, "sha256").hexdigest()

    def wrap(self, key: bytes, bound_to: bytes) -> bytes:
        """A key under the master key; it can be unwrapped only in the row it was made for."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self.wrapping).encrypt(nonce, key, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """What `wrap` was given.

        Raises:
            BadInput: another master key, or a damaged row.
        """
        try:
            return AESGCM(self.wrapping).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], bound_to)
        except InvalidTag:
            raise BadInput(
                f"a listener's key cannot be unwrapped: restore the master key of this home ({VARIABLE})"
            ) from None


_PURPOSES = (b"recsys wrapping", b"recsys naming", b"recsys envelope", b"recsys signing")


def master_of(folder: Path, made: bool) -> Master:
    """The master key of a vault's folder; a new vault makes one.

    Args:
        made: whether the vault holds keys already, so that a missing master key is a loss, not a beginning.

    Raises:
        BadInput: it is missing or malformed.
    """
    path = Path(os.environ.get(VARIABLE) or folder / "master.key")
    if not path.exists():
        if made:
            raise BadInput(
                f"{path} is missing: restore the master key, without it the event log cannot be read"
            )
        _offer(path, base64.b64encode(secrets.token_bytes(_BYTES)) + b"\n")
    try:
        secret = base64.b64decode(path.read_bytes(), validate=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a master key: {error}") from None
    if len(secret) != _BYTES:
        raise BadInput(f"{path} is no master key: {_BYTES} random bytes in base64")
    return Master.of(secret)


def _offer(path: Path, body: bytes) -> None:
    """A new file of mode 0600, whole and durable; where another is first, of this home or one beside it, theirs stays.

    Raises:
        BadInput: it cannot be made there.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(name, path)  # unlike a rename it never takes the place of a key that is in use
        finally:
            os.unlink(name)
        sync_folder(path.parent)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be made ({error.strerror}): put {_BYTES} random bytes in base64 there"
        ) from None
