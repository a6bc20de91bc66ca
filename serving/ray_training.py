"""Trains the sequence model on Ray: Ray Data deals the lake's listeners to workers, Ray Train runs and restarts them.

recsys train sequence --workers 4      # on this machine, or on the cluster that RAY_ADDRESS names

The code that trains is models.sequence.train, as in one process: a worker reads its own listeners' events, cuts the
windows that one process would cut, takes those of its listeners, and adds its gradient to the others'. Ray Train starts
all workers anew from the last checkpoint when one of them dies.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from models.sequence.config import SequenceConfig
from models.sequence.team import ProcessTeam
from recsys.dataset import Dataset, Split, dense, load_items, plays_frame, trainable
from recsys.errors import NotReady
from recsys.features.registers import TASTE, in_taste
from recsys.files import write_whole
from recsys.lake import Lake
from recsys.schemas import TABLES, EventKind, conform

BLOCKS_PER_WORKER = 4
"""Listeners are dealt in this many parts a worker: one very large part would keep the others waiting."""
RESTARTS = 3
"""How often a run goes on after workers died; then the error is the user's to see."""
EVENTS = {name: kind for name, kind in TABLES["events"].items() if name != "payload"}
CURVE, PROGRESS, REFUSED = "curve.json", "progress.json", "refused.txt"

Curve = list[tuple[int, dict[str, float]]]


@dataclass(frozen=True)
class Job:
    """What every worker of a run is told; pickled to it."""

    lake: str  # the same address on every node
    versions: dict[str, int]
    until_ms: int
    config: dict[str, Any]
    storage: str  # on a file system that every node sees


def train_on_ray(
    lake: Lake,
    versions: dict[str, int],
    until_ms: int,
    config: SequenceConfig,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Curve:
    """Trains with `config.workers` workers on plays before `until_ms`, and writes the model's files to `folder`.

    The result is that of one process up to the order of sums and the draws of dropout. Returns the steps and what was
    measured at them, as train() logs it.

    Args:
        folder: on a file system that every node sees; checkpoints lie beside it while the run lasts.
        progress: called with (steps done, steps in all), from another thread.

    Raises:
        NotReady: no plays to train on, or the workers failed too often; the message says why.
    """
    if not lake.has("events"):
        raise NotReady(f"no events under {lake.root}: run `recsys simulate` or `recsys import` first")
    storage = folder.with_name(f"{folder.name}.ray").absolute()
    shutil.rmtree(storage, ignore_errors=True)  # of a run whose driver was killed: perhaps with other data
    storage.mkdir(parents=True)
    job = Job(str(lake.root), versions, until_ms, config.model_dump(mode="json"), str(storage))
    try:
        with _cluster(config.workers), _watched(storage / PROGRESS, progress):
            checkpoint = _fit(job, config.workers, _dealt(lake, versions.get("events"), config.workers))
            checkpoint.to_directory(str(folder))
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    curve = orjson.loads((folder / CURVE).read_bytes())
    (folder / CURVE).unlink()
    return [(step, metrics) for step, metrics in curve]


def _fit(job: Job, workers: int, parts: dict[str, Any]) -> Any:
    """The run's last checkpoint: the trained model's files."""
    from ray.train import (
        CheckpointConfig,
        DataConfig,
        FailureConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
    )
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config=asdict(job),
        datasets=parts,
        dataset_config=DataConfig(datasets_to_split=[]),  # they are dealt by listener already
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name="sequence",
            storage_path=job.storage,
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise NotReady(f"training on Ray failed: {str(error).strip().splitlines()[-1]}") from error
    refused = Path(job.storage) / REFUSED
    if refused.exists():
        raise NotReady(refused.read_text())
    return result.checkpoint


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """The cluster that this process has joined, that RAY_ADDRESS names, or one of this machine for the run."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:  # one more CPU than workers hold, for Ray Data
        ray.init(address="local", num_cpus=workers + 1, include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _dealt(lake: Lake, version: int | None, workers: int) -> dict[str, Any]:
    """The events table as one dataset a worker; all events of a listener are in one of them."""
    import ray.data
    from deltalake import DeltaTable

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    files = DeltaTable(lake.uri("events"), version=version).file_uris()
    ray.data.DataContext.get_current().enable_progress_bars = False
    events = ray.data.from_items([{"file": file} for file in files]).map_batches(
        _read, batch_size=8, batch_format="pyarrow"
    )
    dealt = events.repartition(BLOCKS_PER_WORKER * workers, keys=["user_id"]).materialize()
    return {_part(rank): part for rank, part in enumerate(dealt.split(workers))}


def _read(files: Any) -> Any:
    """What trains of some of the table's files: plays, and what was said of the taste profile."""
    kept = [kind.value for kind in (EventKind.PLAY_END, *TASTE)]
    rows = [pl.scan_parquet(file).filter(pl.col("kind").is_in(kept)) for file in files["file"].to_pylist()]
    return pl.concat([conform(part.collect(), "events").drop("payload") for part in rows]).to_arrow()


def _part(rank: int) -> str:
    return f"events-{rank}"


def _work(told: dict[str, Any]) -> None:
    """One worker: its listeners' plays, then training. What trying again cannot mend is handed over, not raised."""
    import ray.train

    job, team = Job(**told), ProcessTeam()
    with tempfile.TemporaryDirectory() as place:
        saved = ray.train.get_checkpoint()
        if saved is not None:
            saved.to_directory(place)
            if (Path(place) / CURVE).exists():  # the model itself: a worker died after all was handed over
                return
        try:
            _train(job, team, _own_plays(job, team), Path(place))
        except NotReady as refused:  # in all workers alike
            if team.rank == 0:
                (Path(job.storage) / REFUSED).write_text(str(refused))


def _train(job: Job, team: ProcessTeam, dataset: Dataset, local: Path) -> None:
    """Trains; the first of the team hands over checkpoints and the model."""
    import ray.train

    from models.sequence.train import train

    curve: Curve = []

    def hand_over(folder: Path, step: int) -> None:
        mine = ray.train.Checkpoint.from_directory(str(folder)) if team.rank == 0 else None
        ray.train.report({"step": step}, checkpoint=mine)

    def tell(done: int, total: int) -> None:
        if team.rank == 0:
            write_whole(Path(job.storage) / PROGRESS, orjson.dumps([done, total]))

    model = train(
        dataset,
        job.until_ms,
        SequenceConfig.model_validate(job.config),
        log=lambda step, metrics: curve.append((step, metrics)),
        progress=tell,
        checkpoint_dir=local,
        team=team,
        saved=hand_over,
    )
    with tempfile.TemporaryDirectory() as final:
        if team.rank == 0:
            model.save(Path(final))
            (Path(final) / CURVE).write_bytes(orjson.dumps(curve))
        hand_over(Path(final), curve[-1][0] if curve else 0)


def _own_plays(job: Job, team: ProcessTeam) -> Dataset:
    """All tracks, all listeners' numbers, and the plays of this worker's listeners."""
    import ray.train

    items = load_items(Lake(job.lake), job.versions)
    shard = ray.train.get_dataset_shard(_part(team.rank))
    blocks = [pl.DataFrame(b) for b in shard.iter_batches(batch_size=None, batch_format="pyarrow")]
    events = pl.concat([pl.DataFrame(schema=EVENTS), *blocks])
    frame = plays_frame(trainable(in_taste(events.lazy())))
    own = team.gather(frame["user_id"].unique().to_list())
    user_ids = pl.Series("user_id", sorted(user for part in own for user in part), pl.String)
    plays, country = dense(frame, items, user_ids)
    never = Split(job.until_ms, job.until_ms, job.until_ms)
    return Dataset(items, plays, user_ids.to_list(), country, never, job.versions)


@contextmanager
def _watched(file: Path, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """Reads the workers' progress now and then, in a thread."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(1.0):
            if progress is not None and file.exists():
                progress(*orjson.loads(file.read_bytes()))

    thread = threading.Thread(target=look, name="ray-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
