"""JSON arrays and JSON lines, read piece by piece from files and zip archives; a cut end loses only itself."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from recsys.errors import BadInput
from recsys.importers.listens import Tally

_CHUNK = 1 << 20
_LONGEST = 1 << 20  # characters of one row
_SPACE = " \t\r\n,"
_TORN = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)


def json_rows(paths: list[Path], wanted: Callable[[str], bool], tally: Tally) -> Iterator[dict[str, Any]]:
    """Objects of all wanted files (and members of zip archives), as arrays or lines, whichever they are.

    Raises:
        BadInput: a file that cannot be opened, or an archive without a wanted member.
    """
    for path in paths:
        try:
            if path.suffix.lower() == ".zip":
                yield from _zip_rows(path, wanted, tally)
            else:
                with path.open("rb") as raw:
                    opened = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
                    yield from _file_rows(opened, path.name, tally)
            tally.progress(path.stat().st_size)
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror or error}") from None


def _zip_rows(path: Path, wanted: Callable[[str], bool], tally: Tally) -> Iterator[dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(name for name in archive.namelist() if wanted(name))
            if not members:
                raise BadInput(f"{path} holds no listening history: is it the right export?")
            for name in members:
                with archive.open(name) as raw:
                    yield from _file_rows(raw, name, tally)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path} is not a whole zip archive ({error}): download it again") from None


def _file_rows(raw: Any, name: str, tally: Tally) -> Iterator[dict[str, Any]]:
    """Objects of one file; a row that is no object is refused, a broken end is noted."""
    with _text(raw) as file:
        try:
            for row in _values(file):
                tally.read += 1
                if isinstance(row, dict):
                    yield row
                else:
                    tally.refuse("not JSON" if isinstance(row, _Broken) else "not a JSON object")
        except (*_TORN, ValueError) as error:
            tally.problems.append(f"{name} ends early or is damaged ({error}): what came before was read")


@contextmanager
def _text(raw: Any) -> Iterator[TextIO]:
    with io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace") as file:
        yield file


class _Broken:
    """Stands for a line that is not JSON."""


def _values(file: TextIO) -> Iterator[Any]:
    start = file.read(_CHUNK).lstrip()
    return _array_values(file, start[1:]) if start.startswith("[") else _line_values(file, start)


def _array_values(file: TextIO, buffer: str) -> Iterator[Any]:
    """Elements of a JSON array whose opening bracket has been read; raises ValueError where it breaks off."""
    decoder = json.JSONDecoder()
    at, ended = 0, False
    while True:
        while at < len(buffer) and buffer[at] in _SPACE:
            at += 1
        if buffer[at : at + 1] == "]":
            return
        try:
            value, stop = decoder.raw_decode(buffer, at)
            if stop == len(buffer) and not ended:
                raise json.JSONDecodeError("may go on", buffer, at)
        except (json.JSONDecodeError, RecursionError):
            if ended or len(buffer) - at > _LONGEST + _CHUNK:
                raise ValueError("the array breaks off or a row is no JSON") from None
            more = file.read(_CHUNK)
            buffer, at, ended = buffer[at:] + more, 0, not more
            continue
        yield value
        at = stop


def _line_values(file: TextIO, start: str) -> Iterator[Any]:
    """One value a line; lines that are not JSON, or too long, come as _Broken."""
    buffer = start
    while True:
        *lines, buffer = buffer.split("\n")
        for line in lines:
            if line.strip():
                yield _parsed(line)
        if len(buffer) > _LONGEST:
            yield _Broken()
            buffer = _skip_line(file)
        more = file.read(_CHUNK)
        if not more:
            break
        buffer += more
    if buffer.strip():
        yield _parsed(buffer)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _Broken()


def _skip_line(file: TextIO) -> str:
    """Drops the rest of an overlong line."""
    while more := file.read(_CHUNK):
        _, found, rest = more.partition("\n")
        if found:
            return rest
    return ""
