"""Payloads that GrowthBook encrypted: AES-128-CBC with PKCS 7 padding, `iv.body`, both in base64.

Needs the package `cryptography` (`pip install recsys[flags]`).
"""

from __future__ import annotations

import base64
import binascii


def decrypt(payload: str, key: str) -> str | None:
    """The clear text; None where the key does not fit or the payload is damaged."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7

    iv, delimiter, body = payload.partition(".")
    if not delimiter:
        return None
    try:
        secret, start, data = (base64.b64decode(part, validate=True) for part in (key, iv, body))
        plain = Cipher(algorithms.AES(secret), modes.CBC(start)).decryptor()
        padding = PKCS7(128).unpadder()
        padded = plain.update(data) + plain.finalize()
        return (padding.update(padded) + padding.finalize()).decode()
    except (binascii.Error, ValueError):  # not base64, a wrong length, a wrong padding, not UTF-8
        return None
