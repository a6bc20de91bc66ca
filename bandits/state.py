"""What a bandit has learned, in one file: arrays and a JSON header with a digest; refused whole when damaged.

version = save(path, model)          # e.g. "3f0c9a1b22d4": the same content always has the same version
model = load(path)

The version is what a Decision records (`versions["bandit"]`), so an answer names the state that gave its propensities.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from bandits.bootstrap import BootstrapModel
from bandits.linear import LinearModel
from bandits.logistic import LogisticModel
from bandits.neural_linear import NeuralLinear
from recsys.errors import BadInput
from recsys.files import write_whole

FORMAT = 1
_HEADER = "header"
KINDS: dict[str, Any] = {m.kind: m for m in (LinearModel, LogisticModel, BootstrapModel, NeuralLinear)}
Arrays = dict[str, NDArray[Any]]


class Learned(Protocol):
    """A model whose state can be kept."""

    @property
    def kind(self) -> str: ...

    @property
    def settings(self) -> BaseModel: ...

    def arrays(self) -> Arrays: ...

    def restore(self, arrays: Arrays) -> None: ...


def version(model: Learned) -> str:
    """12 hexadecimal digits that name this state: kind, settings and every number learned."""
    return _digest(model.kind, model.settings.model_dump(mode="json"), model.arrays())[:12]


def save(path: Path, model: Learned, more: Arrays | None = None) -> str:
    """Writes the state, whole or not at all; returns its version.

    Args:
        more: arrays of the caller that belong to the same moment (bandits.stream keeps its pending decisions there).
    """
    arrays = {f"model.{name}": array for name, array in model.arrays().items()}
    arrays |= {f"more.{name}": array for name, array in (more or {}).items()}
    settings = model.settings.model_dump(mode="json")
    header = {
        "format": FORMAT,
        "kind": model.kind,
        "settings": settings,
        "version": version(model),
        "digest": _digest(model.kind, settings, arrays),
    }
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, **{_HEADER: np.frombuffer(orjson.dumps(header), np.uint8)}, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, body.getvalue())
    return str(header["version"])


def load(path: Path, basis: str | None = None) -> Any:
    """The model as it was saved; see `load_with`."""
    return load_with(path, basis)[0]


def load_with(path: Path, basis: str | None = None) -> tuple[Any, Arrays]:
    """The model as it was saved, and the caller's arrays.

    Args:
        basis: what makes the features now; None: not asked.

    Raises:
        BadInput: no file, truncated, altered, of another format or kind, or learned over another basis.
    """
    header, arrays = _read(path)
    if header.get("format") != FORMAT or header.get("kind") not in KINDS:
        raise BadInput(
            f"{path.name} is a bandit state of format {header.get('format')}, kind {header.get('kind')!r}; "
            f"this version reads format {FORMAT} of {sorted(KINDS)}: fit anew from the log"
        )
    if _digest(header["kind"], header["settings"], arrays) != header["digest"]:
        raise BadInput(
            f"{path.name} was altered after it was written: restore a copy, or fit anew from the log"
        )
    kind = KINDS[header["kind"]]
    try:
        model = kind(kind.Settings(**header["settings"]))
        model.restore({k[6:]: v for k, v in arrays.items() if k.startswith("model.")})
    except (ValidationError, KeyError, ValueError) as reason:
        raise BadInput(
            f"{path.name} does not fit its own settings ({reason}): fit anew from the log"
        ) from None
    if basis is not None and model.settings.basis != basis:
        raise BadInput(
            f"{path.name} was learned over features of {model.settings.basis!r}, these are of {basis!r}: "
            "fit anew from the log"
        )
    return model, {k[5:]: v for k, v in arrays.items() if k.startswith("more.")}


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Arrays = {name: file[name] for name in file.files}
        header: dict[str, Any] = orjson.loads(arrays.pop(_HEADER).tobytes())
    except FileNotFoundError:
        raise BadInput(f"there is no bandit state {path.name}: save one first") from None
    except Exception as reason:  # a damaged container makes its reader raise anything
        message = f"{path.name} cannot be read as a bandit state ({type(reason).__name__})"
        raise BadInput(f"{message}: restore a copy, or fit anew from the log") from None
    if not isinstance(header, dict) or not {"digest", "settings"} <= set(header):
        raise BadInput(f"{path.name} has no header of a bandit state: fit anew from the log")
    return header, arrays


def _digest(kind: str, settings: dict[str, Any], arrays: Arrays) -> str:
    found = hashlib.sha256(orjson.dumps([kind, settings], option=orjson.OPT_SORT_KEYS))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()
