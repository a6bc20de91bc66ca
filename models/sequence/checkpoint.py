"""The state of an unfinished training run on disk: written whole, refused if of another config."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from recsys.errors import BadInput

FILE = "sequence_checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    """After `step` steps (the product: of its first stage) and `epoch` passes (plain ids), `seconds` into the run."""

    step: int
    seconds: float
    network: dict[str, Any]
    optimizer: dict[str, Any]
    average: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0


def store(folder: Path, config: BaseModel, state: Checkpoint) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE}.partial"
    torch.save({**vars(state), "config": config.model_dump_json()}, partial)
    os.replace(partial, folder / FILE)


def restore(folder: Path, config: BaseModel) -> Checkpoint | None:
    """The newest state, or None where there is none.

    Raises:
        BadInput: the folder holds a run with another config, or an unreadable one.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = torch.load(path, weights_only=True)
        theirs = found.pop("config")
        state = Checkpoint(**found)
    except Exception as error:
        raise BadInput(f"cannot read the checkpoint {path}: delete it to start again ({error})") from error
    if theirs != config.model_dump_json():
        raise BadInput(f"{path} is a run with other settings: use another checkpoint folder or delete it")
    return state
