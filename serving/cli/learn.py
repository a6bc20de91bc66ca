"""`recsys learn`: the learner of the home feed's learned policies, beside a server or once."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

app = typer.Typer()


@app.command()
def learn(
    once: Annotated[bool, typer.Option("--once", help="Read what is there, publish, and end.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the log.")] = 300.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from the event log what the home feed's slots led to, and publish each new state to servers.

    Runs beside `recsys serve` until Ctrl-C. What it learns answers only where `home.learned.rule` is set (by an
    experiment's arm, or the service's settings). A decision counts when its rewards are final: 25 hours later. A new
    champion has other scores: its model is fitted anew to the last days of the lake. A run that is killed goes on where
    it was, and counts nothing twice.
    """
    import os
    from contextlib import suppress
    from pathlib import Path

    from recsys.engines import open_log
    from serving.clock import now_ms
    from serving.learning.learner import Learner, champion

    os.nice(19)  # whatever answers requests goes first
    with suppress(OSError):  # where Linux shares CPUs out by session, niceness counts inside one alone
        Path("/proc/self/autogroup").write_text("19")
    place = open_home(home)
    log = open_log(place)
    release = champion(place)
    learner = Learner(place, release)
    try:
        while True:
            release = champion(place, release)
            if release is not learner.release:
                learner = Learner(place, release)
            found = learner.follow(log, now_ms())
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
