"""Where requests and receipts lie: one file each (0600), replaced whole.

Files and not tables: a request names a listener until it is done, and then nothing of that name may stay in a page
that a database keeps for later.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
from pydantic import ValidationError

from music.privacy.model import Receipt, Request, State
from recsys.errors import BadInput, UnknownId
from recsys.files import alone
from recsys.ids import is_event_id


@dataclass(frozen=True)
class Requests:
    """The folder of one home."""

    folder: Path

    def alone(self) -> AbstractContextManager[None]:
        """For making a request and for its steps that take effect at once: short, of all processes."""
        return alone(self.folder / "lock")

    def running(self) -> AbstractContextManager[None]:
        """For the rest of an erasure, one at a time, of all processes. Taken before `alone`, never inside it."""
        return alone(self.folder / "run.lock")

    def put(self, request: Request) -> None:
        """Durable once this returns; what the file said before is overwritten first."""
        self._write(self._request(request.id), request.model_dump_json(indent=1))

    def get(self, request_id: str) -> Request:
        """Raises UnknownId, BadInput."""
        path = self._request(request_id)
        try:
            return Request.model_validate_json(self._read(path, request_id))
        except ValidationError as error:
            raise BadInput(f"{path} is no request ({error.errors()[0]['msg']}): restore it") from None

    def ids(self) -> list[str]:
        """Of all requests, oldest first: they are UUIDv7."""
        return [path.name.partition(".")[0] for path in sorted(self.folder.glob("*.request.json"))]

    def all(self) -> list[Request]:
        """Those that can be read, oldest first: one that cannot keeps nobody from another."""
        return self._read_all()[0]

    def unreadable(self) -> dict[str, str]:
        """Why the others cannot, by id."""
        return self._read_all()[1]

    def of(self, listener: str) -> Request | None:
        """The request about a listener, by keyed hash; None also where its file cannot be read."""
        return next((request for request in self.all() if request.listener == listener), None)

    def open(self) -> list[Request]:
        """Requests that are not done, of those that can be read."""
        return [request for request in self.all() if request.state != State.DONE]

    def put_receipt(self, receipt: Receipt) -> Path:
        path = self._receipt(receipt.id)
        self._write(path, orjson.dumps(receipt.model_dump(), option=orjson.OPT_INDENT_2).decode())
        return path

    def receipt(self, request_id: str) -> Receipt:
        """Raises UnknownId, BadInput."""
        return read_receipt(self._read(self._receipt(request_id), request_id))

    def _read_all(self) -> tuple[list[Request], dict[str, str]]:
        found, unreadable = [], {}
        for request_id in self.ids():
            try:
                found.append(self.get(request_id))
            except UnknownId:  # removed meanwhile
                continue
            except (BadInput, OSError) as error:
                unreadable[request_id] = str(error)
        return found, unreadable

    def _request(self, request_id: str) -> Path:
        return self.folder / f"{checked(request_id)}.request.json"

    def _receipt(self, request_id: str) -> Path:
        return self.folder / f"{checked(request_id)}.receipt.json"

    def _read(self, path: Path, request_id: str) -> bytes:
        try:
            while True:
                with path.open("rb") as file:
                    body = file.read()
                    # Replaced meanwhile: what was read may be blanked already.
                    if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        return body
        except FileNotFoundError:
            raise UnknownId(f"no {path.suffixes[0][1:]} {request_id}: see `recsys privacy list`") from None

    def _write(self, path: Path, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with path.open("r+b") if path.exists() else nullcontext() as old:
            beside.replace(path)
            if old is not None:  # the name is the new file's by now: a crash here loses nothing
                _blank(old)


def _blank(file: BinaryIO) -> None:
    """Overwrites a file that no name leads to any more."""
    file.write(b" " * os.fstat(file.fileno()).st_size)
    file.flush()
    os.fsync(file.fileno())


def read_receipt(text: bytes) -> Receipt:
    """A receipt from JSON. Raises BadInput."""
    try:
        return Receipt.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(f"not a receipt: {error.errors()[0]['msg']}") from None


def checked(request_id: str) -> str:
    """The id; raises BadInput where it could not be one."""
    if not is_event_id(request_id):
        raise BadInput("a request's id is a lower-case hyphenated UUID")
    return request_id
