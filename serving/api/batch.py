"""`POST /v1/events/batch`: what offline players kept, as NDJSON, optionally gzipped, worked through while it arrives.

At most one chunk of events and one line are in memory, however large the body and however well it was compressed.
Each chunk is durable before the next is read, so whatever ends a request early, the counts in its answer are true.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from recsys.errors import BadInput
from serving.api.schemas import MAX_EVENTS
from serving.api.strict import loads

MAX_LINES = 50_000
MAX_LINE = 256 * 1024
MAX_UNPACKED = 64 * 1024 * 1024
SHOWN_REFUSALS = 100
_PIECE = 256 * 1024


class TooMuch(BadInput):
    """More lines or bytes than one batch may have; what came before is durable."""


@dataclass
class Intake:
    """One batch on its way in: `feed` its bytes in order, then `finish`; `counts` is true at any time.

    Both raise BadInput for bytes that are not what was announced, TooMuch, and LogUnavailable.
    """

    ingest: Callable[[list[Any]], dict[str, Any]]
    gzipped: bool
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    lines: int = 0  # that are done with, from the first on; empty ones too
    reasons: list[dict[str, Any]] = field(default_factory=list)
    _unpacked: int = 0
    _rest: bytes = b""
    _read: int = 0
    _chunk: list[tuple[int, bytes]] = field(default_factory=list)
    _inflate: Any = None
    _ended: bool = True

    def feed(self, data: bytes) -> None:
        for piece in self._unpack(data) if self.gzipped else (data,):
            self._take_in(piece)

    def finish(self) -> None:
        """The body is complete."""
        while self.gzipped and not self._ended:
            piece = self._inflate.decompress(b"", _PIECE)  # what zlib still holds
            self._ended = self._inflate.eof
            if not piece and not self._ended:
                raise BadInput("the gzip body ends early; send it again")
            self._take_in(piece)
        if self._rest:
            self._split(b"\n")
        self._take()
        if not self.accepted + self.duplicates + self.refused:
            raise BadInput("the batch holds no event; send one JSON object a line")

    def counts(self) -> dict[str, Any]:
        """What became of the lines so far; JSON-able."""
        names = ("lines", "accepted", "duplicates", "refused", "reasons")
        return {name: getattr(self, name) for name in names}

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        """Bounded pieces of the unpacked body; several gzip members may follow each other."""
        while data:
            if self._ended:
                self._inflate, self._ended = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), False
            try:
                yield self._inflate.decompress(data, _PIECE)
            except zlib.error:
                raise BadInput("the body is not gzip, though Content-Encoding says so") from None
            self._ended = self._inflate.eof
            data = self._inflate.unused_data if self._ended else self._inflate.unconsumed_tail

    def _take_in(self, piece: bytes) -> None:
        self._unpacked += len(piece)
        if self._unpacked > MAX_UNPACKED:
            raise TooMuch(f"more than {MAX_UNPACKED >> 20} MiB unpacked; send smaller batches")
        self._split(piece)

    def _split(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if len(line) > MAX_LINE:
                raise TooMuch(f"line {self._read + 1} is longer than {MAX_LINE >> 10} KiB")
            if self._read == MAX_LINES:
                raise TooMuch(f"more than {MAX_LINES} lines; send the rest as another batch")
            self._read += 1
            if line.strip():
                self._chunk.append((self._read, line))
            if len(self._chunk) == MAX_EVENTS:
                self._take()
        if len(self._rest) > MAX_LINE:
            raise TooMuch(f"line {self._read + 1} is longer than {MAX_LINE >> 10} KiB")

    def _take(self) -> None:
        """Makes the waiting lines durable."""
        bodies, numbers, bad = [], [], []
        for number, line in self._chunk:
            try:
                bodies.append(loads(line))
                numbers.append(number)
            except BadInput as error:
                bad.append((number, str(error)))
        nothing: dict[str, Any] = {"accepted": 0, "duplicates": 0, "refused": []}
        answer = self.ingest(bodies) if bodies else nothing
        bad += [(numbers[r["index"]], r["reason"]) for r in answer["refused"]]
        self.accepted += answer["accepted"]
        self.duplicates += answer["duplicates"]
        self.refused += len(bad)
        room = SHOWN_REFUSALS - len(self.reasons)
        self.reasons += [{"line": n, "reason": reason} for n, reason in sorted(bad)[:room]]
        self.lines, self._chunk = self._read, []
