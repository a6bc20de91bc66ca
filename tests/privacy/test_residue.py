"""The search for what is left of a listener: every packing, any place, in little memory."""

from __future__ import annotations

import gzip
import os
import string
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

from recsys.errors import BadInput
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


CODED = pa.array(["x", USER, "x"]).dictionary_encode()
COLUMNS = {
    "text": pa.array(["x", None, f"by {USER}."]),
    "coded": pa.array(["x", "y", USER.encode().hex()]),
    "bytes": pa.array([b"x", b"y", USER.encode()]),
    "list": pa.array([["x"], [], ["y", USER]]),
    "struct": pa.array([{"who": {"id": "x"}}, {"who": {"id": USER}}, None]),
    "map": pa.array([[("x", "y")], [("z", USER)], []], pa.map_(pa.string(), pa.string())),
    "with.dot": pa.array(["x", USER, "y"]),
    "dictionary": CODED,
    "list of coded": pa.ListArray.from_arrays([0, 1, 1, 3], CODED),
    "large list of coded": pa.LargeListArray.from_arrays([0, 1, 1, 3], CODED),
    "fixed list of coded": pa.FixedSizeListArray.from_arrays(CODED, 1),
    "struct of coded": pa.StructArray.from_arrays([CODED, pa.array([1, 2, 3])], ["id", "n"]),
    "map of coded": pa.MapArray.from_arrays([0, 1, 1, 3], pa.array(["x", "y", "z"]), CODED),
    "lists of structs of lists of coded": pa.ListArray.from_arrays(
        [0, 1, 1, 3], pa.StructArray.from_arrays([pa.ListArray.from_arrays([0, 1, 1, 3], CODED)], ["ids"])
    ),
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


def test_categories_that_polars_writes_are_searched_at_any_depth(tmp_path: Path) -> None:
    users = pl.Series("user", [USER] * 50 + ["x"] * 50, dtype=pl.Categorical)
    shapes = {"flat": users, "list": users.implode(), "struct": users.to_frame().to_struct("user")}
    for name, column in shapes.items():
        pl.DataFrame({"user": column}).write_parquet(tmp_path / name, compression="gzip", statistics=False)
        assert USER.encode() not in (tmp_path / name).read_bytes()
    assert residue(tmp_path, [USER]) == ["flat", "list", "struct"]


def test_files_that_are_half_written_end_no_search(tmp_path: Path) -> None:
    for name, write in {"a.gz": gzipped_twice, "b.zip": zipped}.items():
        write(tmp_path / name, os.urandom(100_000))
        os.truncate(tmp_path / name, 50_000)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and then the power went")
    (tmp_path / "d.txt").write_text(USER)
    assert residue(tmp_path, [USER]) == ["d.txt"]


def with_bad_member(path: Path) -> None:
    """The first member's packed bytes are nonsense, the second's sum is wrong."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", "x" * 1000)
        archive.writestr("second", f"by {USER}")
        sum_of_second = archive.infolist()[1].CRC.to_bytes(4, "little")
    body = path.read_bytes()
    packed = zipfile.ZipFile(path).read("first") and body.index(b"first") + len("first")
    path.write_bytes((body[:packed] + b"\xff" * 5 + body[packed + 5 :]).replace(sum_of_second, b"\0\0\0\0"))


def with_bad_column(path: Path) -> None:
    """The first column's pages are nonsense."""
    table = pa.table({"a": ["x" * 90 + str(i) for i in range(99)], "b": ["y", "z", USER] * 33})
    parquet.write_table(table, path, compression="gzip", use_dictionary=False, write_statistics=False)
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    body = bytearray(path.read_bytes())
    for at in range(column.data_page_offset, column.data_page_offset + column.total_compressed_size):
        body[at] = 0xFF
    path.write_bytes(body)


def test_what_is_damaged_is_searched_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    with_bad_member(tmp_path / "a.zip")
    with_bad_column(tmp_path / "b.parquet")
    whole = gzip.compress(bytes(50_000) + USER.encode() + string.ascii_lowercase.encode() * 900)
    (tmp_path / "c.gz").write_bytes(whole[:-20])
    (tmp_path / "d.parquet").write_bytes(b"PAR1" + USER.encode())
    (tmp_path / "e.zip").write_bytes(b"PK\x03\x04" + USER.encode() + b"PK\x05\x06")
    (tmp_path / "f.gz").write_bytes(b"\x1f\x8b" + USER.encode())
    names = ["a.zip", "b.parquet", "c.gz", "d.parquet", "e.zip", "f.gz"]
    assert not [n for n in names[:3] if USER.encode() in (tmp_path / n).read_bytes()]
    assert residue(tmp_path, [USER]) == names
    assert residue(tmp_path, [OTHER]) == []


FAILING_DISK = """
    import errno, gzip
    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")
    gzip._PaddedFile.read = fails
"""


def test_a_file_that_the_disk_does_not_give_is_not_taken_for_one_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, home = tmp_path / "disk", tmp_path / "home"
    disk.mkdir()
    home.mkdir()
    (disk / "sitecustomize.py").write_text(textwrap.dedent(FAILING_DISK))  # as the searching process starts
    (home / "a.gz").write_bytes(gzip.compress(USER.encode()))
    assert residue(home, [USER]) == ["a.gz"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(disk), str(ROOT), str(ROOT / "platform")]))
    with pytest.raises(BadInput, match=r"a\.gz cannot be searched .*Input/output error"):
        residue(home, [USER])


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(folder), USER],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])},
        text=True,
    )


IN_LITTLE_MEMORY = """
    import resource, sys
    from pathlib import Path
    from serving.privacy.residue import residue
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 200 * 2**20,) * 2)
    print(residue(Path(sys.argv[1]), [sys.argv[2]]))
"""


def test_a_column_that_memory_does_not_suffice_for_is_not_taken_for_one_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve more than they use
    value = pa.array(["x" * 250 * 2**20 + USER])
    parquet.write_table(pa.table({"a": value}), tmp_path / "a.parquet", compression="gzip")
    del value
    done = run(IN_LITTLE_MEMORY, tmp_path)
    assert done.stdout == ""
    assert "BadInput: a.parquet cannot be searched" in done.stderr


MEASURE = """
    import resource, sys
    from pathlib import Path
    from serving.privacy.residue import residue
    found = residue(Path(sys.argv[1]), [sys.argv[2]])
    print(found, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, sep="|")
"""


def searched(folder: Path) -> tuple[str, int]:
    """(what was found, MiB that the search took at most)."""
    done = run(MEASURE, folder)
    done.check_returncode()
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
