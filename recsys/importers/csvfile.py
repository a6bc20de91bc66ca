"""CSV files as they come: plain or .gz, comma, semicolon or tab; broken rows are refused one by one."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import polars as pl

from recsys.errors import BadInput
from recsys.importers.listens import Tally

_ROWS = 100_000


def csv_parts(path: Path, tally: Tally) -> Iterator[pl.DataFrame]:
    """A CSV file with a header, in bounded parts of text columns."""
    rows = csv_rows(path, tally)
    header = next(rows, None)
    if header is None:
        tally.problems.append(f"{path.name} is empty")
        return
    yield from table_parts(header, rows, tally)


def table_parts(header: list[str], rows: Iterator[list[str]], tally: Tally) -> Iterator[pl.DataFrame]:
    """Frames of text columns; rows of another length than the header are refused."""
    if len(set(header)) < len(header):
        raise BadInput(f"two columns have one name in the header {','.join(header)}: rename one")
    part: list[list[str]] = []
    for row in rows:
        if len(row) != len(header):
            tally.read += 1
            tally.refuse("wrong number of columns")
            continue
        part.append(row)
        if len(part) == _ROWS:
            yield _frame(header, part)
            part = []
    if part:
        yield _frame(header, part)


def _frame(header: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String()))


def csv_rows(path: Path, tally: Tally) -> Iterator[list[str]]:
    """All rows, the header among them."""
    try:
        with path.open("rb") as raw:
            opened = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
            with io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="") as file:
                yield from _rows(file, tally, raw.tell)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        tally.problems.append(f"{path.name} ends early or is damaged ({error}): what came before was read")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from None


def _rows(file: TextIO, tally: Tally, position: Callable[[], int]) -> Iterator[list[str]]:
    first = file.readline()
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(chain([first], file), delimiter=delimiter, strict=True)
    line = reported = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # an open quote swallows lines up to the field limit: all of them are lost
            tally.read += reader.line_num - line
            tally.refuse("broken quoting or an oversized field", reader.line_num - line)
            row = []
        line = reader.line_num
        if line % 10_000 == 0:
            tally.progress(position() - reported)
            reported = position()
        if row:
            yield row
