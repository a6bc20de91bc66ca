"""Feast over the lake: daily listener profiles, joined to training rows as of their time, and materialised online.

    store = FeatureStore(home)
    store.backfill(dataset, since, until)        # one row a listener and UTC midnight -> lake table
    x = store.training_join(user_ids, now)       # (b, len(PROFILE)), every row back, in order
    store.materialize(until)                     # newest rows -> embedded online store (SQLite)

Feast is imported inside functions (seconds) and never on the request path: a request computes the same
definition, recsys.features.listener.profile, from the listener's window.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.errors import BadInput, Leak, NotReady
from recsys.features.listener import PROFILE, PROFILE_PLAYS, profile
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.plays import I64, Plays

if TYPE_CHECKING:
    from feast import FeatureStore as Feast

TABLE = "listener_profiles"
VIEW = "listener_profile"
TIME = pl.Datetime("us", "UTC")
"""Microseconds: duckdb refuses nanosecond timestamps."""
_NAMES = [f.name for f in PROFILE]


@dataclass
class FeatureStore:
    """One Feast registry and its stores under `home.features`; the offline source is an export of a lake table."""

    home: Home
    _feast: Feast | None = field(default=None, repr=False)

    def backfill(self, data: Dataset, since: int, until: int) -> int:
        """Writes the profiles of every midnight in [since, until] to the lake; returns the number of rows.

        A listener gets a row only for midnights after their first play: before, there is nothing to know.
        """
        nights = np.arange(since // MS_PER_DAY * MS_PER_DAY, until + 1, MS_PER_DAY)
        frames = [profiles_at(data, int(night)) for night in nights]
        rows = pl.concat(frames)
        Lake(self.home.lake).replace(TABLE, rows)
        self.home.features.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(_export(self.home))
        return len(rows)

    def training_join(self, users: Sequence[str], now: I64) -> NDArray[np.float64]:
        """(b, len(PROFILE)) profiles of public user ids as of UTC ms; listeners without any yet get an empty one.

        Raises:
            NotReady: nothing was backfilled.
            BadInput: Feast did not give every row back once.
            Leak: a joined profile is newer than its row.
        """
        asked = pl.DataFrame(
            {"row": np.arange(len(now)), "user_id": users, "event_timestamp": now},
            schema={"row": pl.Int64, "user_id": pl.String, "event_timestamp": pl.Int64},
        ).with_columns(
            event_timestamp=pl.from_epoch("event_timestamp", "ms")
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC")
        )
        job = self.feast.get_historical_features(
            entity_df=asked.to_pandas(), features=[f"{VIEW}:{name}" for name in (*_NAMES, "as_of")]
        )
        joined = pl.DataFrame(job.to_arrow())
        _forget_connection()
        return _checked(joined, asked)

    def profiles(self, data: Dataset, since: int, until: int) -> Callable[[I64, I64], NDArray[np.float64]]:
        """Backfills [since, until]; returns (listener numbers, UTC ms) -> joined profiles, for training examples."""
        self.backfill(data, since, until)
        return lambda users, now: self.training_join([data.user_ids[u] for u in users], now)

    def materialize(self, until: int) -> None:
        """Copies each listener's newest profile as of `until` into the online store."""
        begin = datetime.fromtimestamp(0, UTC)
        with redirect_stdout(StringIO()):  # Feast reports its progress there, where commands print JSON
            self.feast.materialize(begin, datetime.fromtimestamp(until / 1000, UTC), [VIEW])
        _forget_connection()

    def online(self, user_ids: Sequence[str]) -> NDArray[np.float64]:
        """(b, len(PROFILE)) from the online store; NaN rows for unknown listeners."""
        answer = self.feast.get_online_features(
            features=[f"{VIEW}:{name}" for name in _NAMES],
            entity_rows=[{"user_id": user_id} for user_id in user_ids],
        ).to_dict()
        columns = [[np.nan if v is None else v for v in answer[name]] for name in _NAMES]
        return np.array(columns, np.float64).T

    @property
    def feast(self) -> Feast:
        """The registered Feast store.

        Raises:
            NotReady: nothing was backfilled.
        """
        if not _export(self.home).exists():
            raise NotReady(
                "no listener profiles in the lake: run `recsys train ranker` or FeatureStore.backfill"
            )
        if self._feast is None:
            self._feast = _register(self.home)
        return self._feast


def _export(home: Home) -> Path:
    """The lake table as one file: duckdb reads Delta only through an extension that it downloads."""
    return home.features / f"{TABLE}.parquet"


def profiles_at(data: Dataset, night: int) -> pl.DataFrame:
    """Profiles of all listeners with a play before one midnight (UTC ms), as rows of the lake table."""
    windows = _before(data.plays, night)
    known = np.flatnonzero(np.diff(windows.offsets) > 0)
    windows = windows.take(known)
    values = profile(windows, np.full(len(known), night, np.int64), data.items.artist)
    return pl.DataFrame(
        {"user_id": [data.user_ids[j] for j in known], "event_timestamp": np.full(len(known), night)}
        | {name: values[:, j] for j, name in enumerate(_NAMES)}
        | {"as_of": np.full(len(known), night)},
        schema_overrides={"user_id": pl.String},
    ).with_columns(
        event_timestamp=pl.from_epoch("event_timestamp", "ms")
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )


def _before(plays: Plays, night: int) -> Plays:
    """Each listener's last PROFILE_PLAYS plays before a time."""
    stops = plays.offsets[:-1] + np.bincount(plays.owner[plays.start < night], minlength=len(plays))
    return plays.slices(np.maximum(plays.offsets[:-1], stops - PROFILE_PLAYS), stops)


def _checked(joined: pl.DataFrame, asked: pl.DataFrame) -> NDArray[np.float64]:
    """Profiles in the order asked, or an error: some offline stores drop or repeat rows without a word."""
    joined = joined.sort("row")
    if joined["row"].to_list() != asked["row"].to_list():
        raise BadInput(
            f"the feature join gave {len(joined)} rows back for {len(asked)}: no training on such rows"
        )
    late = joined["as_of"].fill_null(0).to_numpy() > asked["event_timestamp"].dt.epoch("ms").to_numpy()
    if late.any():
        raise Leak(f"{int(late.sum())} joined profiles are newer than the rows that would train on them")
    values = joined.select(_NAMES).to_numpy().astype(np.float64)
    nothing = joined["as_of"].is_null().to_numpy()
    values[nothing] = profile(Plays.empty(1), np.zeros(1, np.int64), np.zeros(0, np.int32))[0]
    return values


def _forget_connection() -> None:
    """Feast leaves ibis' default duckdb connection open; kept until exit, duckdb reports every object as leaked."""
    import ibis  # type: ignore[import-untyped]

    ibis.options.default_backend = None


def _register(home: Home) -> Any:
    """Writes the registry: entity `listener`, one view over the lake table, duckdb offline, SQLite online."""
    from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast import FeatureStore as Feast
    from feast.types import Float64, Int64

    # Feast turns these on, and they are for its authors; a caller can do nothing about them.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ibis\.")

    home.features.mkdir(parents=True, exist_ok=True)
    config = RepoConfig(
        project="recsys",
        provider="local",
        registry=str(home.features / "registry.db"),
        online_store={"type": "sqlite", "path": str(home.features / "online.sqlite")},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )
    listener = Entity(name="listener", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        name=TABLE,
        path=str(_export(home)),
        timestamp_field="event_timestamp",
    )
    view = FeatureView(
        name=VIEW,
        entities=[listener],
        ttl=timedelta(0),  # a profile holds until the next
        schema=[*(Field(name=name, dtype=Float64) for name in _NAMES), Field(name="as_of", dtype=Int64)],
        source=source,
        online=True,
    )
    store = Feast(config=config)
    store.apply([listener, source, view])
    return store
