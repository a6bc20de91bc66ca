"""Who comes without an id gets one with a key of its own, and waits for no disk to have it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from recsys.home import Home
from recsys.types import Context
from recsys.vault import Newcomers, Vault
from serving.service import Service


def warm(vault: Vault, newcomers: Newcomers) -> str:
    """An id whose key was made ahead."""
    deadline = time.monotonic() + 60
    while not vault.holds(vault.listener(made := newcomers.take())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return made


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Nobody else can make a key meanwhile."""
    with closing(sqlite3.connect(folder / "listeners.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_the_keys_of_newcomers_are_durable_before_their_ids_are_given_and_end_one_by_one(
    tmp_path: Path,
) -> None:
    vault = Vault(tmp_path)
    newcomers = Newcomers(vault)
    first, second = warm(vault, newcomers), warm(vault, newcomers)
    elsewhere = Vault(tmp_path)
    names = {vault.envelope(vault.key(user)): user for user in (first, second)}
    assert [elsewhere.named(name) is not None for name in names] == [True, True]
    assert vault.destroy(first, 5)
    after = Vault(tmp_path)
    assert [after.named(name) is not None for name in names] == [False, True]


def test_many_who_come_at_once_get_ids_of_their_own(tmp_path: Path) -> None:
    newcomers = Newcomers(Vault(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: newcomers.take(), range(500)))
    assert len(set(ids)) == 500


def settled(newcomers: Newcomers) -> str:
    """An id that is taken once no keys are being made."""
    deadline = time.monotonic() + 60
    while any(thread.name == "keys for newcomers" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return newcomers.take()


def test_keys_are_made_ahead_again_once_the_key_store_can_be_opened_again(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    newcomers, path, away = Newcomers(vault), tmp_path / "listeners.sqlite", tmp_path / "away"
    path.rename(away)
    path.mkdir()
    made = {newcomers.take(), settled(newcomers), settled(newcomers)}
    assert len(made) == 3
    settled(newcomers)
    path.rmdir()
    away.rename(path)
    assert warm(vault, newcomers) not in made


def test_a_vault_that_a_thread_never_used_is_closed_without_opening_it(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    (tmp_path / "listeners.sqlite").unlink()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(vault.close).result()
    assert not (tmp_path / "listeners.sqlite").exists()


def test_who_comes_while_no_thread_can_be_started_gets_an_id_and_keys_are_made_later(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    newcomers = Newcomers(vault)
    before = threading.stack_size(2**47)  # more than a process can address
    try:
        made = {newcomers.take() for _ in range(3)}
    finally:
        threading.stack_size(before)
    assert len(made) == 3
    assert warm(vault, newcomers) not in made


def test_an_answer_without_an_id_waits_for_no_key(tiny_home: Home) -> None:
    with Service.open(tiny_home, background=False) as service:
        service.home(None, 5, Context())  # the first begins to make keys ahead
        warm(service.forgetting._vault, service.forgetting._newcomers)
        with busy(tiny_home.vault):
            began = time.monotonic()
            answers = [service.home(None, 5, Context()) for _ in range(3)]
            answers.append(service.home(answers[0]["user_id"], 5, Context(incognito=True)))
            took = time.monotonic() - began
        assert took < 10  # the key store lets a writer wait 30 s
        assert service.unlogged == 0
        assert len({answer["user_id"] for answer in answers}) == 4
