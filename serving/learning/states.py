"""Learned states of a home by version: written once, never changed, and a pointer to the newest.

states = States(home)
version = states.publish(model)                       # atomically: a server sees the old one or the new one
taught = states.load(version, basis)                  # Taught, or BadInput in words
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandits.linear import LinearModel
from bandits.state import load, save
from bandits.state import version as version_of
from recsys.errors import BadInput
from recsys.files import alone, write_whole
from recsys.home import Home
from serving.learning.features import DIM, FORM
from serving.loaded import LoadedRelease


@dataclass(frozen=True)
class Taught:
    """A model that answers are drawn from, and the version that their Decisions name."""

    model: LinearModel
    version: str

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(dim,) posterior mean."""
        return self.model.mean(np.eye(self.model.settings.dim))[:, 0]


@dataclass(frozen=True)
class States:
    """The folder `bandits/home` of a home."""

    home: Home

    @property
    def folder(self) -> Path:
        return self.home.root / "bandits" / "home"

    @property
    def pointer(self) -> Path:
        """A small file with the newest version."""
        return self.folder / "current"

    @property
    def memory(self) -> Path:
        """What the learner needs to go on: sums over everybody, and events that wait for their rewards."""
        return self.folder / "learner.npz"

    def alone(self) -> AbstractContextManager[None]:
        """One process at a time keeps, publishes or forgets."""
        return alone(self.folder / ".lock")

    def forget(self) -> list[str]:
        """Ends what was learned so far: servers stop using it, the learner begins anew; versions that are left.

        Old versions stay for the replay of answers that were drawn from them, until they are swept.
        """
        with self.alone():
            self.memory.unlink(missing_ok=True)
            self.pointer.unlink(missing_ok=True)
            return sorted(path.stem for path in self.folder.glob("*.npz"))

    def path(self, version: str) -> Path:
        return self.folder / f"{version}.npz"

    def publish(self, model: LinearModel) -> str:
        """Keeps a state and makes it the newest; its version."""
        version = version_of(model)
        if not self.path(version).exists():
            save(self.path(version), model)
        if self.current() != version:
            write_whole(self.pointer, version.encode())
        return version

    def current(self) -> str:
        """The newest version; "" where nothing has been learned."""
        return self.pointer.read_text().strip() if self.pointer.exists() else ""

    def load(self, version: str, basis: str) -> Taught:
        """A state that was learned over the features of `basis`.

        Raises:
            BadInput: no such state, damaged, learned over another release, or of other features.
        """
        if not version.isalnum():
            raise BadInput(f"{version!r} is no version of a learned state: publish one with `recsys learn`")
        model = load(self.path(version), basis)
        if not isinstance(model, LinearModel) or model.settings.dim != DIM or model.settings.arms != 1:
            raise BadInput(f"state {version} is not one of the home feed's model: run `recsys learn`")
        if version_of(model) != version:
            raise BadInput(f"state {version} holds another state: restore a copy, or run `recsys learn`")
        taught = Taught(model, version)
        _ = taught.weights  # solved here, before threads share it
        return taught


def basis(release: LoadedRelease) -> str:
    """What makes the features: the release whose scores they are, and the form of the features."""
    return f"{release.manifest.digest[:16]}/{FORM}"
