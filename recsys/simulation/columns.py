"""Arrow columns straight from numpy buffers. `pyarrow.array` would import pandas: a third of a second a worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def vector(values: NDArray[np.generic], kind: pa.DataType, valid: Mask | None = None) -> pa.Array:
    """Numbers or times as an Arrow array of `kind`; null where not `valid`."""
    data = np.ascontiguousarray(
        values, dtype=np.dtype(f"i{kind.bit_width // 8}") if _whole(kind) else np.float64
    )
    return pa.Array.from_buffers(kind, len(data), [_bits(valid), pa.py_buffer(data)])


def flags(values: Mask, valid: Mask | None = None) -> pa.Array:
    """Booleans."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [_bits(valid), _bits(np.asarray(values, bool))])


def numbers(values: NDArray[np.generic], kind: pa.DataType | None = None) -> pa.Array:
    """Whole numbers, null where -1."""
    return vector(values, kind or pa.int64(), np.asarray(values) != -1)


def strings(words: Sequence[str]) -> pa.Array:
    encoded = [word.encode() for word in words]
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in encoded])]).astype(np.int32)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def chosen(number: NDArray[np.generic], words: Sequence[str]) -> pa.Array:
    """words[number], dictionary-encoded; null where -1."""
    return pa.DictionaryArray.from_arrays(numbers(number, pa.int8()), strings(words))


def _whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))


def _bits(mask: Mask | None) -> pa.Buffer | None:
    """Arrow's bitmap: one bit a row, least significant first."""
    return None if mask is None else pa.py_buffer(np.packbits(mask, bitorder="little"))
