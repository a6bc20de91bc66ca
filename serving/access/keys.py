"""API keys of one home: `keys.json`, mode 0600, holds digests only; a token is shown once, when it is made.

    token = KeyFile(home.root).create("web", {Scope.EVENTS})
    KeyFile(home.root).book().holder(token)

A token is 256 random bits, so one round of SHA-256 is enough to store it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import BadInput, UnknownId
from recsys.files import alone
from serving.access.settings import parse_rate

PREFIX = "rsk"
OPERATOR = "operator"
PAGE = "page"
_NOBODY = "0" * 64


class Scope(StrEnum):
    """What a key may do; `admin` may do everything."""

    EVENTS = "events:write"
    CATALOG = "catalog:write"
    DECISIONS = "decisions:read"
    RECOMMENDATIONS = "recommendations:read"
    ADMIN = "admin"


class Key(BaseModel):
    """One key as the file holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # the public half of the token
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256 of the whole token, hex
    scopes: tuple[Scope, ...]
    created_at: datetime
    rate: str | None = None  # like "50/second"; None: the server's default


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    page_secret: str  # signs the page's cookies
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class KeyBook:
    """The keys as of one reading of the file; made for look-ups."""

    page_secret: str = ""  # empty: no cookie is valid
    by_id: dict[str, Key] = field(default_factory=dict)

    def holder(self, token: str) -> Key | None:
        """The key that `token` is, None for any other text. Compares in constant time."""
        parts = token.split("_", 2)
        key = self.by_id.get(parts[1]) if len(parts) == 3 else None
        same = hmac.compare_digest(_digest(token), key.digest if key else _NOBODY)
        return key if same else None


class KeyFile:
    """The file `keys.json` of a home. Changes are atomic and ordered by a lock; readers need none."""

    def __init__(self, root: Path) -> None:
        self.path = root / "keys.json"
        self.operator_token = root / "operator.token"

    def create(self, name: str, scopes: Collection[Scope], rate: str | None = None) -> str:
        """A new key's token; nothing can show it a second time.

        Raises:
            BadInput: no scope, a name that is taken or malformed, a rate that cannot be read.
        """
        if not scopes:
            raise BadInput(f"a key needs a scope, one of {', '.join(Scope)}")
        with self._locked() as content:
            if name in {PAGE, *(key.name for key in content.keys)}:
                raise BadInput(f"the name {name!r} is taken; revoke that key first, or choose another name")
            token, key = _new_key(name, scopes, rate)
            self._write(content.model_copy(update={"keys": (*content.keys, key)}))
        return token

    def revoke(self, name: str) -> None:
        """Ends a key; `page` ends all cookies of the page. Servers notice within a second.

        Raises:
            UnknownId: no key of that name.
        """
        with self._locked() as content:
            if name == PAGE:
                self._write(content.model_copy(update={"page_secret": secrets.token_urlsafe(32)}))
                return
            kept = tuple(key for key in content.keys if key.name != name)
            if len(kept) == len(content.keys):
                raise UnknownId(f"no key {name!r}; `recsys key list` shows the names")
            self._write(content.model_copy(update={"keys": kept}))
            if name == OPERATOR:
                self.operator_token.unlink(missing_ok=True)

    def list(self) -> list[Key]:
        """All keys, oldest first."""
        return sorted(self._read().keys, key=lambda key: key.created_at) if self.path.exists() else []

    def prepare(self) -> Path:
        """At a server's first start: an operator key with every right; its token goes to `operator.token` (0600).

        Returns the path of that token's file. A home that has keys already is left as it is.
        """
        if not self.path.exists():
            with self._locked() as content:
                if not self.path.exists():  # nobody was faster
                    token, key = _new_key(OPERATOR, {Scope.ADMIN}, None)
                    _replace(self.operator_token, token + "\n")
                    self._write(content.model_copy(update={"keys": (key,)}))
        return self.operator_token

    def book(self) -> KeyBook:
        """The keys for look-ups; empty where there is no file.

        Raises:
            BadInput: the file is damaged.
        """
        if not self.path.exists():
            return KeyBook()
        content = self._read()
        return KeyBook(content.page_secret, {key.id: key for key in content.keys})

    def _read(self) -> _Content:
        try:
            return _Content.model_validate_json(self.path.read_bytes())
        except (ValidationError, OSError) as error:
            raise BadInput(
                f"{self.path} cannot be read as keys; restore it, or remove it and make new keys"
            ) from error

    def _write(self, content: _Content) -> None:
        _replace(self.path, content.model_dump_json(indent=1) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[_Content]:
        with alone(self.path.with_suffix(".lock")):
            yield self._read() if self.path.exists() else _Content(page_secret=secrets.token_urlsafe(32))


def _new_key(name: str, scopes: Collection[Scope], rate: str | None) -> tuple[str, Key]:
    number = secrets.token_hex(8)
    token = f"{PREFIX}_{number}_{secrets.token_urlsafe(32)}"
    if rate is not None:
        parse_rate(rate)
    try:
        key = Key(
            name=name,
            id=number,
            digest=_digest(token),
            scopes=tuple(sorted(set(scopes))),
            created_at=datetime.now(UTC),
            rate=rate,
        )
    except ValidationError:
        raise BadInput(f"{name!r} cannot name a key: use up to 40 of a-z 0-9 _ . -") from None
    return token, key


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _replace(path: Path, text: str) -> None:
    """Writes a private file (0600) in one step: a reader sees the old or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)
