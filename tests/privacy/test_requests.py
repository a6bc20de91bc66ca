"""An erasure is asked for once, goes on after a crash at any step, and forgets whom it was about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from music.privacy.model import Case, State, Step
from music.privacy.service import Facts, Privacy, Work
from music.privacy.store import Requests
from recsys.errors import BadInput, UnknownId
from recsys.vault import Vault

USER = "Z" * 22
NAMES = ("first", "second", "third")


@dataclass
class Remove:
    """A place that holds listeners; the process dies there while `dies` is set."""

    name: str
    holds: set[str]
    dies: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event | None = None
    calls: list[int] = field(default_factory=list)

    def __call__(self, case: Case) -> Facts:
        self.calls.append(case.now)
        self.begun.set()
        if self.may_end is not None:
            assert self.may_end.wait(60)
        found = case.user_id in self.holds
        self.holds.discard(case.user_id)
        if self.dies:
            raise KeyboardInterrupt
        return {"found": found}


@dataclass
class Refuse:
    """A place that cannot let go of one listener."""

    name: str
    user: str

    def __call__(self, case: Case) -> Facts:
        if case.user_id == self.user:
            raise OSError(f"{case.user_id} is held by another")
        return {}


def privacy(folder: Path, steps: Sequence[Work]) -> Privacy:
    return Privacy(Requests(folder / "privacy"), steps, Vault(folder / "vault"), frozenset({"first"}))


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Does something in a thread meanwhile; its locks are on files of its own, as another process's are."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def asked_and_run(service: Privacy) -> None:
    service.run(service.request(USER, 5).id, lambda: 6)


def spoilt_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("dies", NAMES)
def test_a_run_that_dies_at_any_step_is_ended_by_the_next(tmp_path: Path, dies: str) -> None:
    steps = [Remove(name, {USER, "other"}, dies=name == dies) for name in NAMES]
    with pytest.raises(KeyboardInterrupt):
        asked_and_run(privacy(tmp_path, steps))
    for step in steps:
        step.dies = False
    later = privacy(tmp_path, steps)  # another process
    assert [r.user_id for r in later.requests.open()] == [USER]
    [receipt] = later.resume(lambda: 7).receipts
    assert list(receipt.removed) == list(NAMES)
    assert all(step.holds == {"other"} for step in steps)
    assert [len(step.calls) for step in steps] == [1 + (name == dies) for name in NAMES]
    assert later.resume(lambda: 8).receipts == []


def test_a_request_is_made_once_and_its_first_step_takes_effect_at_once(tmp_path: Path) -> None:
    steps = [Remove(name, {USER}) for name in NAMES]
    service = privacy(tmp_path, steps)
    first, again = service.request(USER, 5), service.request(USER, 9)
    assert first.id == again.id
    assert [len(step.calls) for step in steps] == [1, 0, 0]
    receipt = service.run(first.id, lambda: 10)
    assert service.run(first.id, lambda: 11) == receipt
    assert service.request(USER, 12).state == State.DONE
    assert [len(step.calls) for step in steps] == [1, 1, 1]


def test_what_is_left_says_nothing_of_whom_it_was_about(tmp_path: Path) -> None:
    service = privacy(tmp_path, [Remove("first", {USER})])
    service.run(service.request(USER, 5).id, lambda: 6)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if USER.encode() in path.read_bytes()]
    assert privacy(tmp_path / "elsewhere", []).hashing.listener(USER) != service.requests.all()[0].listener


def test_a_changed_receipt_and_one_of_another_home_are_refused(tmp_path: Path) -> None:
    service = privacy(tmp_path, [Remove("first", {USER})])
    receipt = service.run(service.request(USER, 5).id, lambda: 6)
    service.checked(receipt)
    changed = receipt.model_copy(update={"done_at": 7})
    with pytest.raises(BadInput, match="was changed"):
        service.checked(changed)
    with pytest.raises(BadInput, match="not written by this home"):
        service.checked(changed.model_copy(update={"digest": changed.digested()}))
    with pytest.raises(BadInput, match="not written by this home"):
        privacy(tmp_path / "other", []).checked(receipt)


def test_ids_that_are_none_are_refused(tmp_path: Path) -> None:
    service = privacy(tmp_path, [])
    with pytest.raises(BadInput):
        service.request("me", 5)
    with pytest.raises(UnknownId):
        service.run("0194ce42-9a78-7fef-a3f3-000000000000", lambda: 5)


def test_a_request_that_fails_keeps_no_other_from_its_end_and_is_tried_again(tmp_path: Path) -> None:
    place = Refuse("second", "Y" * 22)
    service = privacy(tmp_path, [Remove("first", set()), place])
    failing, other = (service.request(user, at) for user, at in (("Y" * 22, 5), (USER, 6)))
    (tmp_path / "privacy" / "0194ce42-9a78-7fef-a3f3-000000000000.request.json").write_text("{")
    done = service.resume(lambda: 7)
    assert [receipt.id for receipt in done.receipts] == [other.id]
    assert set(done.failed) == {failing.id, "0194ce42-9a78-7fef-a3f3-000000000000"}
    assert done.failed[failing.id].why == "OSError: (the listener) is held by another"
    assert "test_requests.py" in done.failed[failing.id].where
    noted = privacy(tmp_path, []).requests.get(failing.id)  # another process
    assert noted.problem == done.failed[failing.id].why
    place.user = ""
    assert [receipt.id for receipt in service.resume(lambda: 8).receipts] == [failing.id]
    assert service.requests.get(failing.id).problem is None


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff\0{"), spoilt_by_a_folder])
def test_a_request_that_cannot_be_read_keeps_nobody_from_asking_and_being_erased(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    service = privacy(tmp_path, [Remove(name, {USER}) for name in NAMES])
    broken = service.request("Y" * 22, 5)
    spoil(tmp_path / "privacy" / f"{broken.id}.request.json")
    asked = service.request(USER, 6)
    assert service.request(USER, 7).id == asked.id
    assert [request.id for request in service.requests.open()] == [asked.id]
    assert list(service.requests.unreadable()) == [broken.id]
    assert service.run(asked.id, lambda: 8).id == asked.id
    assert set(service.resume(lambda: 9).failed) == {broken.id}


def test_a_request_that_was_done_and_cannot_be_read_is_made_again_from_its_receipt(tmp_path: Path) -> None:
    service = privacy(tmp_path, [Remove(name, {USER}) for name in NAMES])
    request = service.request(USER, 5)
    receipt = service.run(request.id, lambda: 6)
    ended = service.requests.get(request.id)
    path = tmp_path / "privacy" / f"{request.id}.request.json"
    path.write_text("{")
    again = service.resume(lambda: 7)
    assert (again.receipts, again.failed) == ([], {})
    assert service.requests.get(request.id) == ended
    assert service.requests.receipt(request.id) == receipt
    assert service.request(USER, 8).id == request.id
    path.write_text("{")
    service.requests.put_receipt(receipt.model_copy(update={"done_at": 7}))  # says nothing of what was done
    assert set(service.resume(lambda: 9).failed) == {request.id}


def test_who_asks_while_another_is_erased_is_answered_and_their_first_step_is_done(tmp_path: Path) -> None:
    slow = Remove("second", set(), may_end=threading.Event())
    running = privacy(tmp_path, [Remove("first", set()), slow])
    with beside(lambda: asked_and_run(running)):
        assert slow.begun.wait(60)
        first = Remove("first", {"Y" * 22})
        asking = privacy(tmp_path, [first, Remove("second", set())])
        answers = []
        with beside(lambda: answers.extend(asking.request(user, 9) for user in ("Y" * 22, USER))) as asked:
            asked.join(10)
            answered = not asked.is_alive()
            assert slow.may_end is not None
            slow.may_end.set()
    assert answered
    assert first.holds == set()
    assert first.calls == [9]  # for the other one alone: the run had done it for the first
    assert [answer.user_id for answer in answers] == ["Y" * 22, USER]
    assert running.requests.get(answers[1].id).state == State.DONE
    assert [receipt.id for receipt in asking.resume(lambda: 10).receipts] == [answers[0].id]


def test_a_run_that_finds_a_request_being_made_waits_for_its_first_step_and_does_it_once(
    tmp_path: Path,
) -> None:
    steps = [Remove(name, {USER}) for name in NAMES]
    steps[0].may_end = threading.Event()
    service = privacy(tmp_path, steps)
    with beside(lambda: service.request(USER, 5)):
        assert steps[0].begun.wait(60)
        with beside(lambda: service.resume(lambda: 6)) as run:
            run.join(0.5)
            assert run.is_alive()
            steps[0].may_end.set()
    assert [step.calls for step in steps] == [[5], [6], [6]]
    assert service.requests.all()[0].state == State.DONE


def test_a_request_that_is_read_while_it_is_written_is_whole(tmp_path: Path) -> None:
    service = privacy(tmp_path, [Remove("first", set())])
    request = service.request(USER, 5).after(Step(name="long", at=5, facts={"text": "x" * 2_000_000}))
    written = threading.Event()

    def write() -> None:
        try:
            for _ in range(60):
                service.requests.put(request)
        finally:
            written.set()

    with beside(write):
        while not written.is_set():
            assert service.requests.get(request.id).user_id == USER
