"""An erasure that cannot end is shown to operators: by the command, in the list, in the server's status and log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.engines import open_log, open_store
from recsys.home import Home
from recsys.steady_store import SteadyStore
from recsys.vault import Vault
from serving.cli.app import app
from serving.privacy.forgetting import Forgetting
from serving.privacy.wiring import privacy_of

STUCK, OTHER = "Y" * 22, "Z" * 22
BROKEN = "0194ce42-9a78-7fef-a3f3-000000000000"


def asked(home: Home) -> list[str]:
    """Two requests, the first of which finds a byte that it cannot remove."""
    home.root.mkdir(parents=True)
    (home.root / "notes.txt").write_text(f"somebody wrote {STUCK} here")
    return [privacy_of(home).request(user, at).id for at, user in enumerate((STUCK, OTHER), 5)]


def test_the_command_says_what_failed_and_ends_the_others(tmp_path: Path) -> None:
    home = Home.of(tmp_path / "home")
    stuck, _ = asked(home)
    run = CliRunner().invoke
    done = run(app, ["privacy", "resume", "--home", str(home.root)])
    assert done.exit_code == 1
    assert f"{stuck} is not done: notes.txt still holds" in done.output
    assert "1 erasures done" in done.output
    shown = run(app, ["privacy", "list", "--json", "--home", str(home.root)])
    assert "notes.txt still holds" in shown.output
    assert STUCK not in done.output + shown.output
    (home.root / "notes.txt").unlink()
    again = run(app, ["privacy", "resume", "--home", str(home.root)])
    assert (again.exit_code, again.output) == (0, "1 erasures done\n")


def test_a_request_that_cannot_be_read_is_listed_and_counted_and_the_server_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home.of(tmp_path / "home")
    privacy_of(home).request(OTHER, 5)
    (home.privacy / f"{BROKEN}.request.json").write_text("{")
    run = CliRunner().invoke
    shown = run(app, ["privacy", "list", "--json", "--home", str(home.root)])
    assert [row["state"] for row in json.loads(shown.output)] == ["running", "unreadable"]
    assert f"{BROKEN}.request.json is no request" in json.loads(shown.output)[1]["problem"]
    log, store = open_log(home), SteadyStore(open_store(home))
    forgetting = Forgetting(home, store, [], Vault.of_home(home))
    assert forgetting.status(log) == {"open": 1, "failed": 0, "unreadable": 1, "shredded": 0}
    with caplog.at_level(logging.ERROR):
        forgetting.resume()
    assert forgetting.status(log) == {"open": 0, "failed": 0, "unreadable": 1, "shredded": 0}
    [line] = [record.getMessage() for record in caplog.records]
    assert BROKEN in line
    log.close()
    store.close()


def test_the_server_logs_and_counts_what_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Home.of(tmp_path / "home")
    stuck, _ = asked(home)
    log, store = open_log(home), SteadyStore(open_store(home))
    forgetting = Forgetting(home, store, [], Vault.of_home(home))
    with caplog.at_level(logging.ERROR):
        forgetting.resume()
    [line] = [record.getMessage() for record in caplog.records]
    assert stuck in line
    assert "notes.txt still holds" in line
    assert STUCK not in line
    assert forgetting.status(log) == {"open": 1, "failed": 1, "unreadable": 0, "shredded": 0}
    log.close()
    store.close()
