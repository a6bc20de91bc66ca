"""The command line: `recsys --help`. Each command is a thin cover of a function that notebooks can call too."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point: one-line errors for everything that is the caller's or the data's fault."""
    # libgomp's spinning threads starve each other on shared cores; this must stand before any native import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from recsys.errors import RecsysError
    from serving.cli.app import app

    try:
        app()
    except RecsysError as error:
        print(f"recsys: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
