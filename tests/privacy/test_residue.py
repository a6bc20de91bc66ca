"""The search for what is left of a listener: every packing, any place, in little memory."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.privacy.residue import _CHUNK, encodings, residue

ROOT = Path(__file__).parents[2]
USER, OTHER = "Zq8rT2mW5xK9bN4cV7pL3s", "a" * 22
Write = Callable[[Path, bytes], object]


def zipped(path: Path, body: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", b"nothing")
        archive.writestr("second", body)


def gzipped_twice(path: Path, body: bytes) -> None:
    path.write_bytes(gzip.compress(b"nothing") + gzip.compress(body))


WRITERS = [Path.write_bytes, gzipped_twice, zipped]


@pytest.mark.parametrize("write", WRITERS)
def test_an_id_across_the_border_of_two_pieces_is_found_in_any_form(tmp_path: Path, write: Write) -> None:
    for number, coded in enumerate(encodings(USER)):
        body = b"-" * (_CHUNK - 9) + coded + b"-" * 100
        write(tmp_path / f"held {number}", body)
        write(tmp_path / f"free {number}", body.replace(coded, coded[:-1]))
    assert residue(tmp_path, [USER]) == [f"held {number}" for number in range(7)]


COLUMNS = {
    "text": pa.array(["x", None, f"by {USER}."]),
    "coded": pa.array(["x", "y", USER.encode().hex()]),
    "bytes": pa.array([b"x", b"y", USER.encode()]),
    "list": pa.array([["x"], [], ["y", USER]]),
    "struct": pa.array([{"who": {"id": "x"}}, {"who": {"id": USER}}, None]),
    "map": pa.array([[("x", "y")], [("z", USER)], []], pa.map_(pa.string(), pa.string())),
    "with.dot": pa.array(["x", USER, "y"]),
    "dictionary": pa.array(["x", USER, "x"]).dictionary_encode(),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_an_id_in_any_kind_of_parquet_column_is_found(tmp_path: Path, name: str) -> None:
    table = pa.table({"n": [1, 2, 3], "a.b": ["x", "y", "z"], name: COLUMNS[name]})
    table = pa.concat_tables([table] * 20).combine_chunks()
    for kind, shown in {"held": table, "free": table.drop([name])}.items():
        path = tmp_path / f"{kind}.parquet"
        parquet.write_table(shown, path, compression="gzip", row_group_size=7, write_statistics=False)
        assert USER.encode() not in path.read_bytes()
    assert residue(tmp_path, [USER]) == ["held.parquet"]
    assert residue(tmp_path, [OTHER]) == []


def test_categories_that_polars_writes_are_searched(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": pl.Series([USER] * 50 + ["x"] * 50, dtype=pl.Categorical)})
    frame.write_parquet(tmp_path / "held.parquet")
    assert residue(tmp_path, [USER]) == ["held.parquet"]


def test_files_that_are_half_written_end_no_search(tmp_path: Path) -> None:
    for name, write in {"a.gz": gzipped_twice, "b.zip": zipped}.items():
        write(tmp_path / name, os.urandom(100_000))
        os.truncate(tmp_path / name, 50_000)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and then the power went")
    (tmp_path / "d.txt").write_text(USER)
    assert residue(tmp_path, [USER]) == ["d.txt"]


MEASURE = """
    import resource, sys
    from pathlib import Path
    from serving.privacy.residue import residue
    found = residue(Path(sys.argv[1]), [sys.argv[2]])
    print(found, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, sep="|")
"""


def searched(folder: Path) -> tuple[str, int]:
    """(what was found, MiB that the search took at most)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), str(folder), USER],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])},
        text=True,
    )
    found, _, most = done.stdout.strip().partition("|")
    return found, int(most)


def test_a_search_takes_little_memory_however_large_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    _, least = searched(tmp_path / "none")
    large = tmp_path / "large"
    large.mkdir()
    body = bytes(160 * 2**20) + USER.encode()
    (large / "a.gz").write_bytes(gzip.compress(body, 1))
    zipped(large / "b.zip", body)
    payload = pa.array(["x" * 200_000] * 800 + [USER])
    parquet.write_table(pa.table({"payload": payload}), large / "c.parquet", compression="zstd")
    del body, payload
    found, most = searched(large)
    assert found == "['a.gz', 'b.zip', 'c.parquet']"
    assert most - least < 80
