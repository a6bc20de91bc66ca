"""Looks for a text in every byte of a folder: raw, in usual encodings, and inside parquet files and archives.

found = residue(folder, [user_id])       # paths, relative, that still hold it
"""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

_CHUNK = 8 * 2**20


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
    """
    asked = {"folder": str(folder), "texts": list(texts), "skip": [str(path) for path in skip]}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def _search(folder: Path, texts: Sequence[str], skip: Collection[Path]) -> list[str]:
    forms = [form for text in texts for form in encodings(text)]
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())
    return [
        str(path.relative_to(folder))
        for path in files
        if not any(path == s or s in path.parents for s in skip) and _holds(path, texts, forms)
    ]


def _holds(path: Path, texts: Sequence[str], forms: Sequence[bytes]) -> bool:
    if any(text in path.name for text in texts):
        return True
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if _found(_pieces(file), forms):
                return True
    except FileNotFoundError:  # a server writes and removes files meanwhile
        return False
    try:
        return any(_found(stream, forms) for stream in _inside(path, magic))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, pa.ArrowException):
        return False  # gone, or half written: read raw above


def _found(stream: Iterable[bytes], forms: Sequence[bytes]) -> bool:
    """Whether a form is in a stream, also where it goes from one piece into the next."""
    overlap, before = max(map(len, forms)) - 1, b""
    for piece in stream:
        block = before + piece
        if any(form in block for form in forms):
            return True
        before = block[-overlap:]
    return False


def _pieces(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


def _inside(path: Path, magic: bytes) -> Iterator[Iterator[bytes]]:
    """Streams of what is packed in a file, as far as packing hides it; never a whole one in memory."""
    if magic == b"PAR1":
        yield from _parquet(path)
    elif magic.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            yield _pieces(packed)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    yield _pieces(member)


def _parquet(path: Path) -> Iterator[Iterator[bytes]]:
    """Texts and bytes of each column, a few rows at a time, also those inside lists, maps and structs."""
    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        leaves = [file.schema.column(i) for i in range(len(file.schema))]
        for leaf in leaves:
            if leaf.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
                yield _values(file, leaf.path)


def _values(file: parquet.ParquetFile, column: str) -> Iterator[bytes]:
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        rows = max(1, _CHUNK * about.num_rows // max(about.total_byte_size, 1))
        for batch in file.iter_batches(rows, row_groups=[group], columns=[column], use_threads=False):
            for array in batch.columns:
                held = array.dictionary if pa.types.is_dictionary(array.type) else array
                yield from (buffer.to_pybytes() for buffer in held.buffers() if buffer is not None)


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(_search(Path(told["folder"]), told["texts"], [Path(path) for path in told["skip"]])))
