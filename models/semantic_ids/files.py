"""The files of a trained model: arrays and JSON with their digests, never code; refused unless whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.semantic_ids.codes import Codebooks
from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.ids import Ids
from models.semantic_ids.model import SemanticIds
from models.semantic_ids.network import Network
from models.semantic_ids.vectors import TABLES, Space
from recsys.errors import ReleaseRefused
from recsys.files import sha256
from recsys.items import Items

FORMAT = 1
_WEIGHTS, _CODES, _NAMES = "semantic_weights.npz", "semantic_codes.npz", "semantic_names.json"
_MANIFEST = "semantic.json"


def save(model: SemanticIds, folder: Path) -> None:
    """Writes the model into `folder` (created)."""
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {name: value.numpy() for name, value in model.network.state_dict().items()}
    np.savez(folder / _WEIGHTS, allow_pickle=False, **state)
    space, books, ids = model.space, model.books, model.ids
    arrays: dict[str, Any] = {"codes": ids.codes, "plays": ids.plays, "own": space.own, "sound": space.sound}
    arrays |= {f"mean_{table}": space.means[table] for table in TABLES}
    arrays |= {f"book_{level}": book for level, book in enumerate(books.centroids)}
    arrays |= {f"price_{level}": price for level, price in enumerate(books.prices)}
    np.savez(folder / _CODES, allow_pickle=False, **arrays)
    names = {"ids": ids.tracks, "tracks": space.tracks, "tables": space.names}
    (folder / _NAMES).write_text(json.dumps(names))
    manifest = {
        "format": FORMAT,
        "config": model.config.model_dump(),
        "files": {name: sha256(folder / name) for name in (_WEIGHTS, _CODES, _NAMES)},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def load(folder: Path, items: Items) -> SemanticIds:
    """Reads a saved model for a catalog.

    Raises:
        ReleaseRefused: a file is missing or is not the one that was written, or the format is another.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        for name in (_WEIGHTS, _CODES, _NAMES):
            if manifest["format"] != FORMAT or manifest["files"][name] != sha256(folder / name):
                raise ReleaseRefused(_message(folder, f"{name} is damaged or of another version"))
        config = SemanticConfig(**manifest["config"])
        names = json.loads((folder / _NAMES).read_text())
        space, books, ids = _codes(folder, names, config)
        network = Network(books.sizes, space.dim, config)
        with np.load(folder / _WEIGHTS, allow_pickle=False) as stored:
            network.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    except ReleaseRefused:
        raise
    except Exception as error:  # parsers of damaged or foreign files raise a dozen types
        raise ReleaseRefused(_message(folder, f"cannot be read ({type(error).__name__})")) from error
    return SemanticIds(network, space, books, ids, config, items)


def _codes(folder: Path, names: dict[str, Any], config: SemanticConfig) -> tuple[Space, Codebooks, Ids]:
    with np.load(folder / _CODES, allow_pickle=False) as stored:
        levels = range(len(config.levels))
        books = Codebooks(
            tuple(stored[f"book_{level}"] for level in levels),
            tuple(stored[f"price_{level}"] for level in levels),
        )
        space = Space(
            tracks=names["tracks"],
            own=stored["own"],
            names=names["tables"],
            means={table: stored[f"mean_{table}"] for table in TABLES},
            sound=stored["sound"],
            collaborative_weight=config.collaborative_weight,
            content_weight=config.content_weight,
        )
        return space, books, Ids(names["ids"], stored["codes"], stored["plays"])


def _message(folder: Path, what: str) -> str:
    return f"semantic ids in {folder}: {what}; train them again or roll back to an earlier release"
