"""The files of a trained model: arrays and JSON with their digests, never code; refused unless whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recsys.errors import ReleaseRefused
from recsys.files import sha256

FORMAT = 1
State: TypeAlias = dict[str, NDArray[Any]]
_NAMES = ("weights.npz", "vocabulary.json", "settings.json")


def write(folder: Path, state: State, vocabulary: str, settings: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / _NAMES[0], **state)  # type: ignore[arg-type]
    (folder / _NAMES[1]).write_text(vocabulary)
    (folder / _NAMES[2]).write_text(settings)
    digests = {name: sha256(folder / name) for name in _NAMES}
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "sha256": digests}, indent=1))


def read(folder: Path) -> tuple[State, dict[str, list[str]], dict[str, Any]]:
    """Weights, vocabulary and settings.

    Raises:
        ReleaseRefused: a file is missing or is not the one that was written, or the format is another.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name in _NAMES:
            if manifest["format"] != FORMAT or manifest["sha256"][name] != sha256(folder / name):
                raise ReleaseRefused(_message(folder, f"{name} is damaged or of another version"))
        with np.load(folder / _NAMES[0], allow_pickle=False) as arrays:
            state = {name: arrays[name] for name in arrays.files}
        vocabulary, settings = (json.loads((folder / name).read_text()) for name in _NAMES[1:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseRefused(_message(folder, f"cannot be read ({type(error).__name__})")) from error
    return state, vocabulary, settings


def fill(network: nn.Module, state: State, folder: Path) -> None:
    """Loads weights into a network. Raises ReleaseRefused where they do not fit it."""
    try:
        network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except RuntimeError as error:
        raise ReleaseRefused(_message(folder, "weights do not fit the settings")) from error


def _message(folder: Path, what: str) -> str:
    return f"two-tower model in {folder}: {what}; train it again or roll back to an earlier release"
