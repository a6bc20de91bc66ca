"""The state of an unfinished training run on disk: written whole, refused if of another config."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.network import Network
from recsys.errors import BadInput
from recsys.files import write_whole

FILE = "semantic_checkpoint.pt"


def store(
    folder: Path, config: SemanticConfig, step: int, network: Network, optimizer: torch.optim.Optimizer
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    body = io.BytesIO()
    state = {"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "config": config.model_dump_json()}, body)
    write_whole(folder / FILE, body.getvalue())


def restore(
    folder: Path | None, config: SemanticConfig, network: Network, optimizer: torch.optim.Optimizer
) -> int:
    """Fills network and optimizer with the newest state; steps done by then, 0 where there is none.

    Raises:
        BadInput: the folder holds a run with another config, or an unreadable one.
    """
    if folder is None or not (folder / FILE).exists():
        return 0
    path = folder / FILE
    try:
        found = torch.load(path, weights_only=True)
        theirs, step = found["config"], int(found["step"])
        if theirs == config.model_dump_json():
            network.load_state_dict(found["network"])
            optimizer.load_state_dict(found["optimizer"])
    except Exception as error:
        raise BadInput(f"cannot read the checkpoint {path}: delete it to start again ({error})") from error
    if theirs != config.model_dump_json():
        raise BadInput(f"{path} is a run with other settings: use another checkpoint folder or delete it")
    return step
