"""Looks for a text in every byte of a folder: raw, in usual encodings, and inside parquet files and archives.

found = residue(folder, [user_id])       # paths, relative, that still hold it
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl

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
    overlap = max(map(len, forms))
    try:
        with path.open("rb") as file:
            before = b""
            while chunk := file.read(_CHUNK):
                block = before + chunk
                if any(form in block for form in forms):
                    return True
                before = block[-overlap:]
        return any(form in inner for inner in _inside(path, texts) for form in forms)
    except FileNotFoundError:  # a server writes and removes files meanwhile
        return False
    except (zipfile.BadZipFile, zlib.error, pl.exceptions.PolarsError):  # half written: read raw above
        return False


def _inside(path: Path, texts: Sequence[str]) -> Iterator[bytes]:
    """What is packed in a file, as far as packing hides it."""
    if path.suffix == ".parquet":
        yield from _parquet(path, texts)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif path.suffix == ".gz":
        yield zlib.decompressobj(31).decompress(path.read_bytes())


def _parquet(path: Path, texts: Sequence[str]) -> Iterator[bytes]:
    """Values of text columns that hold one of the texts (checkpoints of Delta have them inside structs)."""
    frame = pl.read_parquet(path, hive_partitioning=False)
    if "_delta_log" in path.parts:
        yield frame.write_ndjson().encode()
        return
    for name, kind in frame.schema.items():
        if kind == pl.String:
            held = frame[name].drop_nulls().str.contains_any(list(texts))
            if held.any():
                yield "\n".join(texts).encode()


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(_search(Path(told["folder"]), told["texts"], [Path(path) for path in told["skip"]])))
