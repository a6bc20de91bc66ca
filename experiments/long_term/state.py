"""A surrogate in one JSON file with a digest: refused whole when damaged, of another format, or of other signals.

version = save(path, surrogate); surrogate = load(path)
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pydantic import ValidationError

from experiments.long_term.features import NAMES, Shape
from experiments.long_term.surrogate import Surrogate, SurrogateSettings
from recsys.errors import BadInput, NotReady
from recsys.files import write_whole

FORMAT = 1


def save(path: Path, surrogate: Surrogate) -> str:
    """Writes it, whole or not at all; returns its version, 12 digits of the digest of all that was learned."""
    body = _body(surrogate)
    digest = _digest(body)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, orjson.dumps(body | {"digest": digest}))
    return digest[:12]


def version(surrogate: Surrogate) -> str:
    """The same, without writing."""
    return _digest(_body(surrogate))[:12]


def load(path: Path) -> Surrogate:
    """What `save` wrote.

    Raises:
        NotReady: there is none.
        BadInput: it is damaged, or was made by another version.
    """
    if not path.exists():
        raise NotReady(f"there is no surrogate {path.name}: learn one with `recsys experiment surrogate`")
    again = "learn it anew with `recsys experiment surrogate`"
    try:
        body: dict[str, Any] = orjson.loads(path.read_bytes())
        digest = body.pop("digest")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise BadInput(f"{path.name} cannot be read as a surrogate: {again}") from None
    if digest != _digest(body):
        raise BadInput(f"{path.name} was altered after it was written: {again}")
    if body.get("format") != FORMAT or body.get("columns") != list(NAMES):
        raise BadInput(f"{path.name} was learned by another version, over other signals: {again}")
    try:
        return _surrogate(body)
    except (ValidationError, KeyError, ValueError) as reason:
        raise BadInput(f"{path.name} does not fit its own settings ({reason}): {again}") from None


def _body(surrogate: Surrogate) -> dict[str, Any]:
    shape = surrogate.shape
    return {
        "format": FORMAT,
        "columns": list(NAMES),
        "settings": surrogate.settings.model_dump(mode="json"),
        "usual": shape.usual,
        "center": shape.center.tolist(),
        "scale": shape.scale.tolist(),
        "weights": surrogate.weights.tolist(),
        "covariance": surrogate.covariance.tolist(),
        "gap": None if np.isnan(surrogate.gap) else surrogate.gap,
        "policies": list(surrogate.policies),
        "units": surrogate.units,
    }


def _surrogate(body: dict[str, Any]) -> Surrogate:
    settings = SurrogateSettings(**body["settings"])
    shape = Shape(settings.days, body["usual"], np.array(body["center"]), np.array(body["scale"]))
    gap = float("nan") if body["gap"] is None else float(body["gap"])
    weights, covariance = np.array(body["weights"]), np.array(body["covariance"])
    k = 1 + len(NAMES)
    if weights.shape != (settings.folds, k) or covariance.shape != (k, k):
        raise ValueError("its weights have another shape")
    return Surrogate(settings, shape, weights, covariance, gap, tuple(body["policies"]), int(body["units"]))


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
