"""Starts and stops experiments: one key of the file is changed, its comments stay, and a new version is kept.

start(folder, store, "ranker", now, space), stop(folder, store, "ranker", now, space)
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import yaml

from experiments.config import Config
from experiments.experiment import FOREVER, Experiment
from experiments.fields import millis
from experiments.parameters import Space
from experiments.running import checked, source_files
from experiments.source import Source, Sources, child
from experiments.store import Store
from recsys.errors import BadInput, UnknownId
from recsys.files import write_whole


def start(folder: Path, store: Store, name: str, now: int, space: Space | None = None) -> Config:
    """Makes an experiment active from now on, or from its own start, if that is still to come.

    Raises:
        UnknownId: no such experiment.
        BadInput: it runs already, or is over; or the files are wrong as they stand.
    """
    experiment = _known(checked(source_files(folder), space, None, now), name)
    begins, ends = millis(experiment.start, 0), millis(experiment.end, FOREVER)
    if ends <= now:
        raise BadInput(f"{name} is over since {experiment.end}: run it again under another name and salt")
    changes = {} if experiment.active else {"active": "true"}
    if not experiment.active and begins <= now and not experiment.ramp:
        changes["start"] = written(now)
    if not changes:
        raise BadInput(f"{name} is active already" + (f", from {experiment.start}" if begins else ""))
    return _edited(folder, store, name, changes, f"started {name}", now, space)


def stop(folder: Path, store: Store, name: str, now: int, space: Space | None = None) -> Config:
    """Ends an experiment now (one that has not begun becomes a draft again); raises like `start`."""
    experiment = _known(checked(source_files(folder), space, None, now), name)
    if not experiment.active:
        raise BadInput(f"{name} is a draft: it does not run")
    if millis(experiment.end, FOREVER) <= now:
        raise BadInput(f"{name} is over since {experiment.end}")
    begun = millis(experiment.start, 0) < now
    changes = {"stopped": written(now)} if begun else {"active": "false"}
    return _edited(folder, store, name, changes, f"stopped {name}", now, space)


def written(now: int) -> str:
    """UTC ms as the config writes times."""
    return datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _known(config: Config, name: str) -> Experiment:
    found = config.experiment(name)
    if found is None:
        names = ", ".join(e.name for e in config.experiments) or "there is none"
        raise UnknownId(f"no experiment is called {name}: {names}")
    return found


def _edited(
    folder: Path, store: Store, name: str, changes: dict[str, str], why: str, now: int, space: Space | None
) -> Config:
    """Changes the file in memory, checks everything as it would then be, and only then writes."""
    with store.locked():
        sources, runs = source_files(folder), store.newest_config()
        # An edit by hand that services refuse must not come in with this one.
        _known(checked(sources, space, runs, now), name)
        number, place = next(
            (n, i)
            for n, file in enumerate(sources.files)
            for i, one in enumerate((file.data or {}).get("experiments") or ())
            if one["name"] == name
        )
        file = sources.files[number]
        for key, value in changes.items():
            file = Source.parse(_with(file, place, key, value), file.path)
        files = (*sources.files[:number], file, *sources.files[number + 1 :])
        config = checked(Sources(files), space, runs, now)
        write_whole(file.path, file.text.encode())
        store.keep(config, {one.path.name: one.text for one in files}, why, now)
    return config


def _with(file: Source, place: int, key: str, value: str) -> str:
    """The text of a file with one key of its experiment number `place` set; everything else stays as it is."""
    experiments = child(file.node, "experiments")
    item = child(experiments[1], place) if experiments is not None else None
    if item is None or not isinstance(item[1], yaml.MappingNode):
        raise BadInput(f"{file.path}: an experiment is gone; try again")
    found = child(item[1], key)
    if found is not None:
        begin, end = found[1].start_mark.index, found[1].end_mark.index
        gap = "" if file.text[begin - 1] == " " else " "  # `key:` without a value ends at its colon
        return file.text[:begin] + gap + value + file.text[end:]
    name_key, name_value = next(pair for pair in item[1].value if pair[0].value == "name")
    end = name_value.end_mark.index  # a name is short: it ends on the line that it begins on
    if item[1].flow_style:
        return f"{file.text[:end]}, {key}: {value}{file.text[end:]}"
    line_end = file.text.find("\n", end)
    line_end = len(file.text) if line_end < 0 else line_end
    indent = " " * name_key.start_mark.column
    return f"{file.text[:line_end]}\n{indent}{key}: {value}{file.text[line_end:]}"
