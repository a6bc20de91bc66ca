"""Looks for a text in every byte of a folder: raw, in usual encodings, and inside parquet files and archives.

found = residue(folder, [user_id])       # paths, relative, that still hold it
"""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar

import pyarrow as pa
from pyarrow import parquet

from recsys.errors import BadInput

_CHUNK = 8 * 2**20
_ZIP_END, _ZIP_TAIL = b"PK\x05\x06", 2**16 + 22  # zipfile's own look takes a read error for "no archive"
_GONE = (FileNotFoundError, NotADirectoryError)
_MALFORMED = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, UnicodeError, pa.ArrowInvalid),
)
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Searched:
    """Names of files, relative."""

    found: list[str]
    unread: dict[str, str]  # with why


def encodings(text: str) -> list[bytes]:
    """The bytes that a text has as UTF-8, UTF-16, hex and base64 (at any place of a longer text)."""
    raw = text.encode()
    forms = [raw, text.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()]
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        forms.append(coded[(0, 2, 3)[shift] : len(coded) - 4])  # without letters that neighbours share
    return forms


def residue(folder: Path, texts: Sequence[str], skip: Collection[Path] = ()) -> list[str]:
    """Files under a folder that hold one of the texts in any form.

    Read by a process of its own: closing a database's file drops every lock that this process holds on it.

    Raises:
        BadInput: a file could not be read, so that what it holds is not known.
    """
    asked = {"folder": str(folder), "texts": list(texts), "skip": [str(path) for path in skip]}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True)
    searched = Searched(**json.loads(done.stdout))
    for name, why in searched.unread.items():
        more = f", and {len(searched.unread) - 1} more" if len(searched.unread) > 1 else ""
        raise BadInput(f"{name} cannot be searched ({why}){more}: see that disk, or remove what is damaged")
    return searched.found


def _search(folder: Path, texts: Sequence[str], skip: Collection[Path]) -> Searched:
    forms, done = [form for text in texts for form in encodings(text)], Searched([], {})

    def missed(name: str, error: Exception) -> None:
        if not isinstance(error, _GONE):  # a server writes and removes files meanwhile
            done.unread[name] = f"{type(error).__name__}: {error}"

    for place, folders, names in os.walk(folder, onerror=lambda error: missed(error.filename, error)):
        folders.sort()
        for path in (Path(place, name) for name in sorted(names)):
            if any(path == s or s in path.parents for s in skip):
                continue
            try:
                if not stat.S_ISREG(path.lstat().st_mode):
                    continue
                if any(text in path.name for text in texts) or _holds(path, forms):
                    done.found.append(str(path.relative_to(folder)))
            except Exception as error:
                missed(str(path.relative_to(folder)), error)
    return done


def _holds(path: Path, forms: Sequence[bytes]) -> bool:
    """Whether a file holds one of the forms; what is malformed is searched as far as it can be read.

    Raises:
        Exception: whatever else kept it from being read: then what it holds is not known.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if _found(_pieces(file), forms):
            return True
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ZIP_TAIL))
        zipped = _ZIP_END in file.read()
    return any(_matches(stream, forms) for stream in _whole(_inside(path, magic, zipped)))


def _matches(stream: Iterable[bytes], forms: Sequence[bytes]) -> bool:
    """`_found`; a part that is malformed ends its own search alone."""
    return _found(_whole(stream), forms)


def _whole(parts: Iterable[_Part]) -> Iterator[_Part]:
    """The parts up to where what they come from is malformed."""
    try:
        yield from parts
    except _MALFORMED:
        return
    except OSError as error:
        if (
            error.errno is not None
        ):  # the disk's; without a number it is a decoder's word for bytes that make no sense
            raise


def _found(stream: Iterable[bytes], forms: Sequence[bytes]) -> bool:
    """Whether a form is in a stream, also where it goes from one piece into the next."""
    overlap, before = max(map(len, forms)) - 1, b""
    for piece in stream:
        block = before + piece
        if any(form in block for form in forms):
            return True
        before = block[-overlap:]
    return False


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


def _unpacked(file: gzip.GzipFile | zipfile.ZipExtFile) -> Iterator[bytes]:
    """What comes before a break is handed out before it is met."""
    while piece := file.read1(_CHUNK):
        yield piece


def _inside(path: Path, magic: bytes, zipped: bool) -> Iterator[Iterator[bytes]]:
    """Streams of what is packed in a file, as far as packing hides it; never a whole one in memory."""
    if magic == b"PAR1":
        yield from _parquet(path)
    elif magic.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            yield _unpacked(packed)
    elif zipped:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                yield _member(archive, member)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    del member.CRC  # else a damaged member is refused before its last bytes are handed out
    with archive.open(member) as packed:
        assert isinstance(packed, zipfile.ZipExtFile)
        yield from _unpacked(packed)


def _parquet(path: Path) -> Iterator[Iterator[bytes]]:
    """Texts and bytes of each column, a few rows at a time, also those inside lists, maps and structs."""
    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        leaves = [file.schema.column(i) for i in range(len(file.schema))]
        for leaf in leaves:
            if leaf.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
                for group in range(file.num_row_groups):
                    yield _values(file, leaf.path, group)


def _values(file: parquet.ParquetFile, column: str, group: int) -> Iterator[bytes]:
    about = file.metadata.row_group(group)
    rows = max(1, _CHUNK * about.num_rows // max(about.total_byte_size, 1))
    for batch in file.iter_batches(rows, row_groups=[group], columns=[column], use_threads=False):
        for array in batch.columns:
            for held in (array, *_dictionaries(array)):
                yield from (buffer.to_pybytes() for buffer in held.buffers() if buffer is not None)


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """Values that codes at any depth stand for: the buffers of an array hold all but those."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield array.dictionary
        yield from _dictionaries(array.dictionary)
    elif isinstance(kind, pa.BaseExtensionType):
        yield from _dictionaries(array.storage)
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from _dictionaries(array.field(i))
    elif pa.types.is_nested(kind):  # lists and maps of any layout
        yield from _dictionaries(array.values)


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(asdict(_search(Path(told["folder"]), told["texts"], [Path(p) for p in told["skip"]]))))
