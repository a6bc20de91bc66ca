"""A sequence model's files: config and digests (sequence.json), weights (.pt), successor counts (.npz).

Nothing is unpickled but tensors; every file is checked against its digest before it is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from models.sequence.config import SequenceConfig
from models.sequence.cooccurrence import Sparse, Successors
from models.sequence.evidence import EvidenceModel
from models.sequence.model import SequenceModel
from models.sequence.network import Network
from recsys.errors import ReleaseRefused
from recsys.files import sha256
from recsys.items import Items

FORMAT = 2
MANIFEST, WEIGHTS, COUNTS = "sequence.json", "sequence.pt", "sequence_successors.npz"


def save(model: SequenceModel, folder: Path) -> None:
    """Writes the model into `folder` (created)."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.network.state_dict(), folder / WEIGHTS)
    successors = model.evidence.successors
    arrays = {
        "total": successors.total,
        "plays": successors.plays,
        **_columns("near", successors.near),
        **_columns("next", successors.next),
    }
    np.savez(folder / COUNTS, allow_pickle=False, **arrays)
    manifest = {
        "format": FORMAT,
        "config": model.config.model_dump(),
        "items": items_digest(model.items),
        "files": {name: sha256(folder / name) for name in (WEIGHTS, COUNTS)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))


def load(folder: Path, items: Items) -> SequenceModel:
    """Reads a saved model for the items it was trained on.

    Raises:
        ReleaseRefused: a file is missing, truncated or swapped, or the items are others.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = manifest["files"]
        for name in (WEIGHTS, COUNTS):
            if sha256(folder / name) != files[name]:
                raise ReleaseRefused(
                    f"{folder / name} is not the file this model was saved with: train again"
                )
        if manifest["format"] != FORMAT or manifest["items"] != items_digest(items):
            raise ReleaseRefused(f"the sequence model in {folder} is for other items or of another version")
        config = SequenceConfig(**manifest["config"])
        network = Network(items, np.zeros(len(items), np.float32), config)
        network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
        evidence = EvidenceModel.of(
            _successors(folder, len(items)), items, config.rule_window, config.rule_decay
        )
    except ReleaseRefused:
        raise
    except Exception as error:
        raise ReleaseRefused(f"cannot read the sequence model in {folder}: train again ({error})") from error
    return SequenceModel(config, items, network, evidence)


def items_digest(items: Items) -> str:
    """Identifies the tracks a dense model belongs to: their ids, in order."""
    return hashlib.sha256("\n".join(items.track_ids).encode()).hexdigest()


def _columns(name: str, matrix: Sparse) -> dict[str, np.ndarray]:
    return {
        f"{name}_data": matrix.data.astype(np.float32),
        f"{name}_indices": matrix.indices.astype(np.int32),
        f"{name}_indptr": matrix.indptr.astype(np.int64),
    }


def _successors(folder: Path, tracks: int) -> Successors:
    from scipy import sparse

    with np.load(folder / COUNTS) as arrays:
        near, following = (
            sparse.csr_matrix(
                (arrays[f"{name}_data"], arrays[f"{name}_indices"], arrays[f"{name}_indptr"]),
                shape=(tracks, tracks),
            )
            for name in ("near", "next")
        )
        return Successors(near, following, arrays["total"], arrays["plays"])
