"""The registry of releases: MLflow's model registry on the embedded store; aliases champion, challenger.

MLflow takes seconds to import, so it is imported where it is used and never on the request path. A stamp file
tells running servers that an alias has moved.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.errors import UnknownId
from recsys.home import Home
from recsys.marks import Mark, Marks
from recsys.release import MANIFEST, Manifest, read_manifest, seal
from serving.clock import now_ms

MODEL = "recsys"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Registered:
    """One registered release."""

    version: str
    folder: Path
    aliases: tuple[str, ...]
    run_id: str | None
    tags: dict[str, str]
    mark: Mark | None = None  # it learned from somebody who was erased since


@dataclass(frozen=True)
class Registry:
    """Releases of one home folder."""

    home: Home

    @property
    def stamp(self) -> Path:
        """Changes whenever an alias moves."""
        return self.home.releases / ".aliases"

    def folder(self, version: str) -> Path:
        """Where a version lies; by name, so that a home folder can be moved or copied whole."""
        return self.home.releases / f"v{version}"

    def register(self, folder: Path, run_id: str | None, tags: dict[str, str]) -> Registered:
        """Registers a sealed release folder; its version is MLflow's."""
        from mlflow.exceptions import MlflowException

        client = self._client()
        with contextlib.suppress(MlflowException):  # it exists already
            client.create_registered_model(MODEL)
        made = client.create_model_version(MODEL, source=str(folder), run_id=run_id, tags=tags)
        return Registered(str(made.version), folder, (), run_id, tags)

    def next_version(self) -> str:
        """The version that the next registered release will get."""
        return str(max((int(r.version) for r in self.list()), default=0) + 1)

    def list(self) -> list[Registered]:
        """All releases, newest first."""
        client = self._client()
        aliases, marks = self._aliases(), Marks(self.home.releases).all()
        found = client.search_model_versions(f"name = '{MODEL}'")
        rows = [
            Registered(
                str(v.version),
                self.folder(str(v.version)),
                tuple(sorted(a for a, version in aliases.items() if version == str(v.version))),
                v.run_id,
                dict(v.tags or {}),
                marks.get(str(v.version)),
            )
            for v in found
        ]
        return sorted(rows, key=lambda r: -int(r.version))

    def get(self, name: str) -> Registered:
        """A release by version or alias.

        Raises:
            UnknownId: no such version or alias.
        """
        for release in self.list():
            if name == release.version or name in release.aliases:
                return release
        raise UnknownId(f"no release {name!r}: see `recsys release list`")

    def promote(self, version: str, alias: str = CHAMPION) -> None:
        """Points `alias` at a version; the old champion becomes `previous`.

        Raises:
            ReleaseRefused: the release's mark has expired.
        """
        release = self.get(version)
        Marks(self.home.releases).refuse_expired(release.version, now_ms())
        client = self._client()
        current = self._aliases().get(CHAMPION)
        if alias == CHAMPION and current not in (None, release.version):
            client.set_registered_model_alias(MODEL, PREVIOUS, current)
        client.set_registered_model_alias(MODEL, alias, release.version)
        self._touch()

    def rollback(self) -> Registered:
        """Makes the previous champion the champion again, and the other way round.

        Raises:
            UnknownId: there is no previous champion.
            ReleaseRefused: its mark has expired.
        """
        aliases = self._aliases()
        if PREVIOUS not in aliases:
            raise UnknownId("no previous champion to roll back to: see `recsys release list`")
        Marks(self.home.releases).refuse_expired(aliases[PREVIOUS], now_ms())
        client = self._client()
        client.set_registered_model_alias(MODEL, CHAMPION, aliases[PREVIOUS])
        client.set_registered_model_alias(MODEL, PREVIOUS, aliases[CHAMPION])
        self._touch()
        return self.get(CHAMPION)

    def _aliases(self) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        try:
            model = self._client().get_registered_model(MODEL)
        except MlflowException:
            return {}
        return {alias: str(version) for alias, version in model.aliases.items()}

    def _touch(self) -> None:
        self.home.releases.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(repr(sorted(self._aliases().items())))

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.home.mlflow_url, registry_uri=self.home.mlflow_url)


def enter(home: Home, folder: Path, manifest: Manifest) -> Registered:
    """Logs a sealed release as an MLflow run and registers it; no alias moves."""
    with run(home, "release", {"version": manifest.version}, manifest.data) as mlflow:
        mlflow.log_artifact(str(folder / MANIFEST))
        run_id = mlflow.active_run().info.run_id
    tags = {"digest": manifest.digest, "until": str(manifest.until)}
    Marks(home.releases).admit(manifest.version, manifest.data)
    return Registry(home).register(folder, run_id, tags)


def derived(home: Home, source: Registered, change: Callable[[Path], None], **facts: Any) -> Registered:
    """Registers a copy of a release whose files `change` has altered; no alias moves.

    Args:
        change: gets the copy's folder before it is sealed.
        facts: of the manifest, where they are not those of the source: data, until, config, metrics.
    """
    registry, old = Registry(home), read_manifest(source.folder)
    version = registry.next_version()
    target = registry.folder(version)
    shutil.rmtree(target, ignore_errors=True)  # what a run that was killed has left
    shutil.copytree(source.folder, target)
    (target / MANIFEST).unlink()
    change(target)
    known = {name: getattr(old, name) for name in ("data", "until", "config", "metrics")} | facts
    made = enter(home, target, seal(target, version, **known))
    Marks(home.releases).inherit(made.version, source.version)
    return made


@contextlib.contextmanager
def run(home: Home, name: str, config: dict[str, Any], data: dict[str, int]) -> Iterator[Any]:
    """An MLflow run on the home's embedded store with its config and data version logged; yields `mlflow`."""
    import mlflow

    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(home.mlflow_url)
    mlflow.set_registry_uri(home.mlflow_url)
    if mlflow.get_experiment_by_name(MODEL) is None:
        mlflow.create_experiment(MODEL, artifact_location=home.mlflow_artifacts.as_uri())
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(run_name=name):
        mlflow.log_params({k: str(v)[:500] for k, v in config.items()})
        mlflow.set_tags({f"lake.{table}": str(version) for table, version in data.items()})
        yield mlflow
