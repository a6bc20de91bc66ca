"""The state of an unfinished training run on disk: written whole, refused if of another config.

config = settled(config, folder)      # "auto" precision becomes what the run in `folder` began with
found = restore(folder, config)
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel

from models.sequence.precision import settled_precision
from recsys.errors import BadInput

FILE = "sequence_checkpoint.pt"
Config = TypeVar("Config", bound=BaseModel)


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


def settled(config: Config, folder: Path | None) -> Config:
    """The config with its precision named: where it is "auto" that of the run begun in `folder`, or of this processor.

    So a run goes on as it began on another machine too, and the model says what it was trained with.

    Raises:
        BadInput: an unreadable checkpoint.
    """
    asked = config.precision  # type: ignore[attr-defined]
    if asked == "auto" and folder is not None and (folder / FILE).exists():
        asked = json.loads(_read(folder / FILE)["config"]).get("precision", asked)
    return config.model_copy(update={"precision": settled_precision(asked)})


def restore(folder: Path, config: BaseModel) -> Checkpoint | None:
    """The newest state, or None where there is none; `config` as `settled` returns it.

    Raises:
        BadInput: the folder holds a run with another config, or an unreadable one.
    """
    path = folder / FILE
    if not path.exists():
        return None
    found = _read(path)
    theirs = json.loads(found.pop("config"))
    if theirs.get("precision") == "auto":  # of before precisions were settled
        theirs["precision"] = settled_precision("auto")
    if theirs != config.model_dump(mode="json"):
        raise BadInput(f"{path} is a run with other settings: use another checkpoint folder or delete it")
    return Checkpoint(**found)


def _read(path: Path) -> dict[str, Any]:
    """The fields of a Checkpoint, and the config's JSON."""
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True)
        if found.keys() != {*(part.name for part in fields(Checkpoint)), "config"}:
            raise ValueError("it holds something else")
    except Exception as error:
        raise BadInput(f"cannot read the checkpoint {path}: delete it to start again ({error})") from error
    return found
