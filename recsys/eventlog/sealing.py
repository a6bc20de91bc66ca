"""One line of the log, sealed: its id in clear, everything else readable with its listener's key alone.

{"event_id":"...","kind":"decision","by":"...","sealed":"..."}

Of kinds only those that the server writes stand in clear, so that readers can leave large records out undecoded; all
others say `listener`. `by` names the key in a way that only the home can undo, `sealed` is AES-256-GCM over the rest of
the line, bound to the id.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

from recsys.errors import BadInput
from recsys.events import Event
from recsys.schemas import OF_THE_SERVER, EventKind
from recsys.vault import ListenerKey, Vault

ID_END = len('{"event_id":"00000000-0000-7000-8000-000000000000"')
"""Where the kind stands in an event's line, which begins with the id."""
_ID = slice(len('{"event_id":"'), ID_END - 1)
_BY, _BY_CHARS, _SEALED, _END = b',"by":"', 24, b'","sealed":"', b'"}'
_CLEAR = {kind: f',"kind":"{kind.value}"'.encode() for kind in OF_THE_SERVER}
_OTHERS = b',"kind":"listener"'


def kind_in_clear(kind: EventKind) -> str:
    """What an envelope says of a kind; "" where it says nothing."""
    return kind.value if kind in OF_THE_SERVER else ""


def seal(line: bytes, kind: EventKind, key: ListenerKey, vault: Vault) -> bytes:
    """A line of JSON as it is stored."""
    body = b2a_base64(key.seal(line[ID_END:], line[_ID]), newline=False)
    by = b2a_base64(vault.envelope(key), newline=False)
    return b"".join((line[:ID_END], _CLEAR.get(kind, _OTHERS), _BY, by, _SEALED, body, _END))


def is_sealed(line: bytes) -> bool:
    return line.find(_BY, ID_END, ID_END + 32) > 0


def unsealed(line: bytes, vault: Vault | None) -> bytes | None:
    """The line of JSON that was sealed; None where its listener's key was destroyed.

    Raises:
        BadInput: damaged, or there is no vault to open it with.
    """
    at = line.find(_BY, ID_END, ID_END + 32)
    if at < 0:
        return line
    if vault is None:
        raise BadInput("these records are sealed: open the log of a home with recsys.engines.open_log")
    begin = at + len(_BY)
    try:
        key = vault.named(a2b_base64(line[begin : begin + _BY_CHARS]))
        if key is None:
            return None
        body = a2b_base64(line[begin + _BY_CHARS + len(_SEALED) : -len(_END)])
    except (Error, ValueError):
        raise BadInput("a sealed record is damaged: restore the log from a backup") from None
    return line[:ID_END] + key.open(body, line[_ID])


def decoded(line: bytes, vault: Vault | None) -> Event | None:
    """The event of a line; None where its listener's key was destroyed. Raises BadInput, ValidationError."""
    plain = unsealed(line, vault)
    if plain is None:
        return None
    event = Event.model_validate_json(plain)
    # A record from before there were keys, which could not be sealed (Kafka): a reader has to leave it out by name.
    return None if plain is line and vault is not None and vault.erased(event.user_id) else event
