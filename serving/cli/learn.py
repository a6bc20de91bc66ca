"""`recsys learn`: the learner of the home feed's learned policies, beside a server or once."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

app = typer.Typer()
ShareOption = Annotated[
    float,
    typer.Option(min=1e-6, max=1, help="Of requests that are learned from; a waiting page takes 16 KB."),
]
MemoryOption = Annotated[
    float, typer.Option(min=0, help="Days of the lake that a new champion's model starts from.")
]


@app.command()
def learn(
    once: Annotated[bool, typer.Option("--once", help="Read what is there, publish, and end.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the log.")] = 300.0,
    share: ShareOption = 1.0,
    memory_days: MemoryOption = 7.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from the event log what the home feed's slots led to, and publish each new state to servers.

    Runs beside `recsys serve` until Ctrl-C. What it learns answers only where `home.learned.rule` is set (by an
    experiment's arm, or the service's settings). A decision counts when its rewards are final: 25 hours later. A new
    champion has other scores: its model is fitted anew to the last days of the lake. A run that is killed goes on where
    it was, and counts nothing twice.
    """
    from recsys.engines import open_log
    from recsys.errors import RecsysError
    from serving.clock import now_ms
    from serving.learning.learner import Learner, champion
    from serving.learning.settings import LearningSettings

    _yield_to_requests()
    place = open_home(home)
    log = open_log(place)
    settings = LearningSettings(share=share, memory_days=memory_days)
    learner = Learner(place, champion(place), settings)
    try:
        while True:
            try:
                release = champion(place, learner.release)
                if release is not learner.release:
                    learner = Learner(place, release, settings)
                found = learner.follow(log, now_ms())
            except (RecsysError, OSError) as error:
                if once:
                    raise
                console.print(f"{error}; again in {every:g} s", highlight=False, markup=False)
                time.sleep(every)
                continue
            if as_json:
                print_json(vars(found))
            else:
                console.print(
                    f"state {found.version}: {found.slots} slots learned, {found.waiting} decisions wait",
                    highlight=False,
                )
            if once:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        return
    finally:
        log.close()


def _yield_to_requests() -> None:
    """Whatever answers requests goes first."""
    import os
    from contextlib import suppress
    from pathlib import Path

    os.nice(19)
    with suppress(OSError):  # where Linux shares CPUs out by session, niceness counts inside one alone
        Path("/proc/self/autogroup").write_text("19")
