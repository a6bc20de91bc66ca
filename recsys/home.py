"""Where everything a run writes lives: one folder, `RECSYS_HOME` (default `./var`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recsys.engine_urls import EngineUrls


@dataclass(frozen=True)
class Home:
    """Paths inside one home folder; nothing is created until `make()` is called."""

    root: Path

    @classmethod
    def of(cls, path: Path | str | None = None) -> Home:
        return cls(Path(path or os.environ.get("RECSYS_HOME") or "var").resolve())

    def make(self) -> Home:
        for folder in (self.lake, self.releases, self.log, self.work, self.reports):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def lake(self) -> Path:
        """Delta tables, one folder each."""
        return self.root / "lake"

    @property
    def releases(self) -> Path:
        """One folder per release version, each complete and verified by digest."""
        return self.root / "releases"

    @property
    def work(self) -> Path:
        """Outputs of stages on their way into a release (trained models, indices), and stage markers."""
        return self.root / "work"

    @property
    def log(self) -> Path:
        """The embedded event log's segments."""
        return self.root / "log"

    @property
    def vault(self) -> Path:
        """The listeners' keys; private, and not to be copied where the log is."""
        return self.root / "vault"

    @property
    def privacy(self) -> Path:
        """Erasures: requests, receipts, and which decisions are gone."""
        return self.root / "privacy"

    @property
    def world(self) -> Path:
        """The simulator's hidden state, behind the truth wall."""
        return self.root / "world"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def features(self) -> Path:
        """Feast's registry and stores."""
        return self.root / "features"

    @property
    def engines(self) -> EngineUrls:
        """Which engines hold the log, the listener states and the catalog."""
        return EngineUrls.of(self.root)

    @property
    def catalog_url(self) -> str:
        return self.engines.catalog or f"sqlite:///{self.root / 'catalog.sqlite'}"

    @property
    def state_db(self) -> Path:
        """The embedded online store of listener states."""
        return self.root / "state.sqlite"

    @property
    def mlflow_url(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.sqlite'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"
