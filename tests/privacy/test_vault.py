"""The keys that seal the log: none is lost with the process that made it, and another vault is never taken for ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import BadInput
from recsys.eventlog import LocalEventLog
from recsys.ids import public_id
from recsys.vault import Vault
from recsys.vault.master import VARIABLE
from serving.privacy.residue import residue
from tests.eventlog.samples import play

ROOT = Path(__file__).parents[2]
SERVER = """
    import os, signal, sys
    from pathlib import Path
    from recsys.vault import Vault
    vault = Vault(Path(sys.argv[1]))
    vault.prepare([sys.argv[2]])
    print("one", flush=True)
    sys.stdin.readline()
    vault.prepare([sys.argv[3]])
    print("two", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_key_outlives_its_process_whoever_opened_and_searched_the_vault_meanwhile(tmp_path: Path) -> None:
    one, two = public_id("test", "one"), public_id("test", "two")
    folder = tmp_path / "vault"
    command = [sys.executable, "-c", textwrap.dedent(SERVER), str(folder), one, two]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == "one\n"
    beside = Vault(folder)
    assert beside.holds(beside.listener(one))
    assert residue(tmp_path, [one]) == []
    beside.close()  # the last connection that this process has
    server.stdin.write("\n")
    server.stdin.flush()
    assert server.stdout.readline() == "two\n"
    server.wait(timeout=60)
    after = Vault(folder)
    assert after.holds(after.listener(two))


def test_homes_that_share_a_new_master_key_agree_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turn in range(10):
        key = tmp_path / f"{turn}.key"
        monkeypatch.setenv(VARIABLE, str(key))
        homes = [tmp_path / f"{turn}-{i}" for i in range(6)]
        start = threading.Barrier(len(homes))

        def opened(folder: Path, start: threading.Barrier = start) -> str:
            start.wait()
            return Vault(folder).fingerprint

        with ThreadPoolExecutor(len(homes)) as pool:
            assert len(set(pool.map(opened, homes))) == 1
        assert [Vault(folder).holds("00" * 16) for folder in homes] == [False] * 6  # each opens again
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))


def test_a_master_key_that_cannot_be_made_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing" / "master.key"))
    with pytest.raises(BadInput, match="32 random bytes"):
        Vault(tmp_path / "vault")


def test_keys_of_another_master_key_are_refused(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    Vault(ours).prepare([public_id("test", "one")])
    Vault(other)
    shutil.copy(other / "master.key", ours / "master.key")
    with pytest.raises(BadInput, match="another master key"):
        Vault(ours)


def test_a_log_whose_key_store_is_gone_is_refused_where_the_master_key_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept.key"))
    events = [play(i) for i in range(6)]
    LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "vault")).append(events)
    with pytest.raises(BadInput, match="another vault"):
        LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "new"))
    note = tmp_path / "log" / "vault"
    note.write_text(Vault(tmp_path / "vault").fingerprint)  # as logs noted it before
    for _ in range(2):
        again = LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "vault"))
        assert [record.event for record in again.read()] == events
    with pytest.raises(BadInput, match="another vault"):
        LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "new"))


def test_a_log_whose_vault_is_gone_is_refused_and_reads_again_with_it(tmp_path: Path) -> None:
    events = [play(i) for i in range(6)]
    LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "vault")).append(events)
    with pytest.raises(BadInput, match="another vault"):
        LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "new"))
    again = LocalEventLog(tmp_path / "log", vault=Vault(tmp_path / "vault"))
    assert [record.event for record in again.read()] == events


def from_before_identities(store: Path) -> None:
    """Makes a key store what it was before key stores had identities."""
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        assert connection.execute("DELETE FROM master WHERE one = 2").rowcount == 1


def test_a_key_store_restored_from_before_identities_reads_the_log_of_its_master_key(tmp_path: Path) -> None:
    vault, log, backup = tmp_path / "vault", tmp_path / "log", tmp_path / "backup"
    events = [play(i) for i in range(6)]
    LocalEventLog(log, vault=Vault(vault)).append(events)
    shutil.copy(vault / "listeners.sqlite", backup)
    from_before_identities(backup)
    (log / "vault").write_text(Vault(vault).fingerprint)  # the home is upgraded after the backup was made
    LocalEventLog(log, vault=Vault(vault))
    identity = Vault(vault).identity
    shutil.copy(backup, vault / "listeners.sqlite")
    again = LocalEventLog(log, vault=Vault(vault))
    assert [record.event for record in again.read()] == events
    assert Vault(vault).identity == identity


def test_a_restored_key_store_that_meets_the_log_of_another_first_still_reads_its_own(tmp_path: Path) -> None:
    for home in ("ours", "theirs"):
        LocalEventLog(tmp_path / home / "log", vault=Vault(tmp_path / home / "vault")).append([play(0)])
    from_before_identities(tmp_path / "ours" / "vault" / "listeners.sqlite")
    with pytest.raises(BadInput, match="another vault"):
        LocalEventLog(tmp_path / "theirs" / "log", vault=Vault(tmp_path / "ours" / "vault"))
    again = LocalEventLog(tmp_path / "ours" / "log", vault=Vault(tmp_path / "ours" / "vault"))
    assert [record.event for record in again.read()] == [play(0)]


def test_a_log_that_noted_the_identity_alone_notes_the_master_key_too(tmp_path: Path) -> None:
    vault, log = tmp_path / "vault", tmp_path / "log"
    LocalEventLog(log, vault=Vault(vault)).append([play(0)])
    (log / "vault").write_text(Vault(vault).identity)
    LocalEventLog(log, vault=Vault(vault))
    from_before_identities(vault / "listeners.sqlite")
    assert [record.event for record in LocalEventLog(log, vault=Vault(vault)).read()] == [play(0)]
